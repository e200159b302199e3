"""Layers and code without Docker: wheels for the functions' platform and our sources, with byte code, in `.build/<kind>/<hash>/`.

The hash covers the pins or sources, the target, what compiled them and this recipe, so an unchanged layer costs a `stat`, and a machine that
builds it again gets the same asset.
"""

import hashlib
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.byte_code import Compiler, compile_tree
from infra.handler_imports import missing_imports

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "layers/dependencies/requirements.txt"
SHARED = ROOT / "layers/shared"
CLIENT_REQUIREMENTS = ROOT / "layers/client/requirements.txt"
CLIENT_PACKAGE = ROOT / "layers/client/python/result_aggregator_client"
FUNCTIONS = ROOT / "functions"
BUILD = ROOT / ".build/layers"
CODE = ROOT / ".build/code"

# Lambda: all layers and the function's own code together, unzipped.
UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024

# Raise it when what `_strip` keeps changes, as the content does then without a change of the pins.
RECIPE = "3"

# 4 of botocore's 30 MB are enough: the service models of what the functions call. A function that needs
# another service fails at client creation with UnknownServiceError, and its name belongs here.
BOTOCORE_SERVICES = frozenset({"cloudwatch", "dynamodb", "s3", "sts"})

_UNUSED_DIRECTORIES = frozenset({"__pycache__", "tests", "test", "bin", "wrapt-stubs", "examples"})
_UNUSED_SUFFIXES = frozenset({".pyi", ".pyc", ".pyx", ".c", ".h", ".cpp"})
# METADATA names the distribution and its version for scanners (Amazon Inspector reads layers) and
# importlib.metadata; the rest of a dist-info serves installers only.
_KEPT_DIST_INFO = frozenset({"METADATA"})

# Where Lambda mounts them.
_LAYERS_AT = "/opt/python"
_CODE_AT = "/var/task"

# What an interpreter, a linter or an installer leaves beside sources.
_LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", ".*_cache")

# ELF e_machine of the architectures Lambda has.
_ELF_MACHINE = {"arm64": 183, "x86_64": 62}
_WHEEL_MACHINE = {"arm64": "aarch64", "x86_64": "x86_64"}


class LayerError(Exception):
    """A layer could not be built, or what was built cannot run where it is meant to."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a layer runs: `python` as "3.13", `architecture` as Lambda names it.

    `is_host` is for the local stage: functions run in an interpreter like this one, whatever its system is.
    """

    python: str
    architecture: str
    is_host: bool = False
    compiler: Compiler | None = None

    @classmethod
    def host(cls) -> Self:
        running = Compiler.running()
        machine = f"{sys.platform} {platform.machine()}"
        return cls(running.version, machine, is_host=True, compiler=running)

    @classmethod
    def on_this_processor(cls, compiler: Compiler) -> Self:
        """As Lambda would run it if its processor were this machine's: to run here what is deployed."""
        machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
        return cls(compiler.version, machine, compiler=compiler)

    @property
    def byte_code(self) -> str:
        """What marks its byte code. Two releases of one minor version compile to what either can run."""
        return self.compiler.magic if self.compiler else "none"


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What is uploaded, each a folder named by the hash of what went into it; `functions` goes by folder of `functions/`.

    Without `shared` the functions' code brings what the two layers hold.
    """

    dependencies: Path
    shared: Path | None
    functions: Mapping[str, Path]
    client: Path | None = None


def build(target: Target, *, layers_in_code: bool = False, client: bool = True) -> Artefacts:
    """All that is deployed. Raises LayerError and ByteCodeError, with the name of the file at fault."""
    dependencies = build_dependencies(target)
    standard_library = target.compiler.standard_library if target.compiler else sys.stdlib_module_names
    folders = sorted(path.parent for path in FUNCTIONS.glob("*/handler.py"))
    for folder in folders:
        path = [folder, SHARED / "python", dependencies / "python"]
        missing = [found for part in path[:2] for found in missing_imports(part, path, standard_library)]
        if missing:
            raise LayerError(f"{missing[0]}, which is in no layer of the function {folder.name}")
    if layers_in_code:
        functions = {folder.name: build_code(folder.name, dependencies, target) for folder in folders}
    else:
        functions = {folder.name: build_function(folder.name, target) for folder in folders}
    shared = None if layers_in_code else build_shared(target)
    # What one function has of it; where its code brings the layers, that was checked as it was built.
    if shared:
        for function in functions.values():
            check_size([dependencies, shared, function])
    return Artefacts(dependencies, shared, functions, build_client(target) if client else None)


def build_dependencies(target: Target, *, requirements: Path = REQUIREMENTS, build: Path = BUILD) -> Path:
    """The folder of the dependency layer (it holds `python/`), built unless it is there already.

    Raises LayerError when a wheel is missing for the target, has the wrong platform, or the sum is too large.
    """
    return _build(target, requirements, None, build)


def build_client(target: Target, *, build: Path = BUILD) -> Path:
    """The folder of the layer for other teams' functions: the client of the API and what it needs but botocore.

    It holds no compiled code, so it serves every architecture. Raises LayerError.
    """
    return _build(target, CLIENT_REQUIREMENTS, CLIENT_PACKAGE, build)


def build_shared(target: Target, *, build: Path = CODE) -> Path:
    """The folder of the layer with the shared package (it holds `python/`). Raises ByteCodeError."""
    return _build_sources(SHARED / "python", target, build, into="python", at=_LAYERS_AT)


def build_function(folder: str, target: Target, *, build: Path = CODE) -> Path:
    """The folder of a function's own code. Raises ByteCodeError."""
    return _build_sources(FUNCTIONS / folder, target, build, into="", at=_CODE_AT)


def _build_sources(source: Path, target: Target, build: Path, *, into: str, at: str) -> Path:
    key = hashlib.sha256(f"{RECIPE} {target.byte_code} {into} {at} ".encode())
    _add_files(key, source)

    def make(unfinished: Path) -> None:
        shutil.copytree(source, unfinished / into, ignore=_LEFTOVERS, copy_function=shutil.copyfile)
        if target.compiler:
            compile_tree(unfinished / into, target.compiler, at)

    return _built(build / key.hexdigest()[:32], make)


def build_code(folder: str, dependencies: Path, target: Target, *, build: Path = CODE) -> Path:
    """A function's own code with what its layers hold beside it, for an emulator that applies no layers.

    What comes first on Lambda's path wins: the function's own files before the shared package before the dependencies.
    Raises LayerError over Lambda's limit.
    """
    parts = [SHARED / "python", FUNCTIONS / folder]
    key = hashlib.sha256(f"{RECIPE} {folder} {dependencies.name} {target.byte_code} ".encode())
    for part in parts:
        _add_files(key, part)

    def make(unfinished: Path) -> None:
        shutil.copytree(dependencies / "python", unfinished)
        for part in parts:
            shutil.copytree(part, unfinished, dirs_exist_ok=True, ignore=_LEFTOVERS)
        if target.compiler:
            compile_tree(unfinished, target.compiler, _CODE_AT)

    return _built(build / key.hexdigest()[:32], make)


def _add_files(key: "hashlib._Hash", part: Path) -> None:
    for source in sorted(part.rglob("*")):
        name = source.relative_to(part)
        if source.is_file() and not _LEFTOVERS("", [*name.parts]):
            key.update(f"{name.as_posix()} {source.stat().st_size} ".encode() + source.read_bytes())


def _build(target: Target, requirements: Path, package: Path | None, build: Path) -> Path:
    key = hashlib.sha256()
    key.update(requirements.read_bytes())
    key.update(
        f"{target.python} {target.architecture} {target.is_host} {target.byte_code} {RECIPE}"
        f" {sorted(BOTOCORE_SERVICES)}".encode()
    )
    for source in _sources(package):
        key.update(f"{source.name} {source.stat().st_size} ".encode() + source.read_bytes())

    def make(unfinished: Path) -> None:
        packages = unfinished / "python"
        packages.mkdir(parents=True)
        _install(requirements, target, packages)
        _strip(packages)
        for source in _sources(package):
            copy = packages / source.relative_to(source.parent.parent)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, copy)
        check_platform(packages, target)
        if target.compiler:
            compile_tree(packages, target.compiler, _LAYERS_AT)

    return _built(build / key.hexdigest()[:32], make)


def _built(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, which is named by the hash of what goes into it, made unless it is there already."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="incomplete-") as work:
        unfinished = Path(work) / "whole"
        make(unfinished)
        check_size([unfinished])
        try:
            # Only what is whole ever gets the name; a parallel build that was faster wins.
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def _sources(package: Path | None) -> list[Path]:
    """The files of a flat package, without what an interpreter leaves beside them."""
    return sorted(path for path in package.iterdir() if path.is_file()) if package else []


def check_platform(packages: Path, target: Target) -> None:
    """Raise LayerError unless every compiled extension under `packages` is for `target`."""
    if target.is_host:
        return  # An interpreter installs nothing for another one than itself.
    wanted = _ELF_MACHINE[target.architecture]
    tag = "cpython-" + target.python.replace(".", "")
    for extension in sorted(packages.rglob("*.so*")):
        header = extension.read_bytes()[:20]
        machine = struct.unpack_from("<H", header, 18)[0] if header[:4] == b"\x7fELF" else None
        name = extension.name
        if machine != wanted:
            raise LayerError(
                f"{name} is built for ELF machine {machine}, {target.architecture} needs {wanted}"
            )
        if "cpython-" in name and tag not in name:
            raise LayerError(f"{name} is not built for Python {target.python}")


def check_size(layers: Iterable[Path]) -> int:
    """The unzipped size of `layers` together, in bytes; raises LayerError over Lambda's limit."""
    total = sum(file.stat().st_size for layer in layers for file in layer.rglob("*") if file.is_file())
    if total > UNZIPPED_LIMIT_BYTES:
        raise LayerError(f"the layers are {total} bytes unzipped; Lambda allows {UNZIPPED_LIMIT_BYTES}")
    return total


def _install(requirements: Path, target: Target, packages: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    command = [uv, "pip", "install", "--python", sys.executable, "--quiet"] if uv else [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps",
    ]  # fmt: skip
    # Wheels only: a source distribution could run anything, and would build for this machine.
    command += [
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--requirement",
        str(requirements),
        "--target",
        str(packages),
    ]
    if not target.is_host:
        command += _platform_options(target, uv=uv is not None)
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own command)
    if result.returncode:
        raise LayerError(f"installing {requirements.name} for {target} failed:\n{result.stderr.strip()}")


def _platform_options(target: Target, *, uv: bool) -> list[str]:
    machine = _WHEEL_MACHINE[target.architecture]
    if uv:
        # Amazon Linux 2023 has glibc 2.34, so a wheel for 2.28 or older runs there.
        return ["--python-platform", f"{machine}-manylinux_2_28", "--python-version", target.python]
    return [
        f"--platform=manylinux2014_{machine}",
        f"--platform=manylinux_2_28_{machine}",
        f"--python-version={target.python}",
        "--implementation=cp",
    ]


def _strip(packages: Path) -> None:
    for path in list(_unneeded(packages)):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def _unneeded(packages: Path) -> Iterator[Path]:
    for path in packages.rglob("*"):
        if path.is_dir():
            if path.name in _UNUSED_DIRECTORIES:
                yield path
        elif path.suffix in _UNUSED_SUFFIXES or (_in_dist_info(path) and path.name not in _KEPT_DIST_INFO):
            yield path
    yield packages / ".lock"
    for package in ("boto3", "botocore"):
        for service in (packages / package / "data").glob("*"):
            if service.is_dir() and service.name not in BOTOCORE_SERVICES:
                yield service


def _in_dist_info(path: Path) -> bool:
    return any(parent.suffix == ".dist-info" for parent in path.parents)
