"""Byte code for what is deployed: Lambda mounts layers and code read-only, so what is not compiled here is compiled by every cold start.

Byte code is of one minor version of Python, on every architecture; an interpreter of another version passes it over, as
the version is in the file's name. It is "unchecked": valid whatever the source's time is, which unpacking changes.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# It also says where it is, as a shim of pyenv's is no interpreter.
_PROBE = """
import importlib.util, json, sys
print(json.dumps({
    "path": sys.executable, "implementation": sys.implementation.name, "version": "%d.%d" % sys.version_info[:2],
    "magic": importlib.util.MAGIC_NUMBER.hex(), "standard": sorted(sys.stdlib_module_names),
}))
"""

# In order and in one process, as marshal writes a string otherwise once something else refers to it.
_COMPILE = """
import pathlib, py_compile, sys
root, mounted_at = pathlib.Path(sys.argv[1]), sys.argv[2]
for source in sorted(root.rglob("*.py")):
    py_compile.compile(
        str(source), dfile=f"{mounted_at}/{source.relative_to(root).as_posix()}", doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
"""
# With no environment beside them: no variable, no package and no folder of whoever builds gets in.
_OPTIONS = ("-P", "-s", "-S", "-B")

_PROBE_S = 20


class ByteCodeError(Exception):
    """A file does not compile, or the interpreter that compiles is missing or of another version; the message names it."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A CPython that compiles: its path, its version as "3.13", what marks its byte code, and its standard library."""

    path: Path
    version: str
    magic: str
    standard_library: frozenset[str]

    @classmethod
    def running(cls) -> Self:
        return cls(
            Path(sys.executable),
            f"{sys.version_info.major}.{sys.version_info.minor}",
            importlib.util.MAGIC_NUMBER.hex(),
            sys.stdlib_module_names,
        )

    @classmethod
    def at(cls, path: str) -> Self | None:
        """The CPython at `path`; None where there is none that runs."""
        try:
            done = subprocess.run(  # noqa: S603 (an interpreter of this machine)
                [path, *_OPTIONS, "-c", _PROBE], capture_output=True, check=True, timeout=_PROBE_S
            )
            found = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        if found["implementation"] != "cpython":
            return None
        return cls(Path(found["path"]), found["version"], found["magic"], frozenset(found["standard"]))


def find_compiler(version: str, named: str | None = None) -> Compiler | None:
    """A CPython of `version` ("3.13"): the one at `named`, or else the first that this machine has; None without one.

    Raises ByteCodeError where the named one does not run or is of another version.
    """
    if named is not None:
        found = Compiler.at(named)
        if found is None or found.version != version:
            what = "no CPython that runs" if found is None else f"Python {found.version}"
            raise ByteCodeError(
                f"setting 'byte_code_python': {named!r} is {what}; allowed: a CPython {version}"
            )
        return found
    running = Compiler.running()
    if running.version == version:
        return running
    found_here = (Compiler.at(path) for path in _candidates(version))
    return next((found for found in found_here if found is not None and found.version == version), None)


def missing(version: str) -> str:
    """What there is to say where no interpreter was found."""
    return (
        f"no Python {version} was found on this machine, so layers and functions have no byte code: every cold start"
        f" compiles all that it imports, which makes it several times as long (docs/performance.md)."
        f" Looked for python{version} on the PATH, pyenv's and uv's; another is named by byte_code_python"
    )


def compile_tree(root: Path, compiler: Compiler, mounted_at: str) -> None:
    """Write byte code beside every source under `root`, which will stand at `mounted_at`. The same files give the same bytes.

    Raises ByteCodeError with the name of a file that does not compile.
    """
    done = subprocess.run(  # noqa: S603 (an interpreter of this machine)
        [str(compiler.path), *_OPTIONS, "-c", _COMPILE, str(root), mounted_at],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # PyCompileError says the file, the line and what is wrong there.
        error = done.stderr.strip().partition("PyCompileError: ")[2] or done.stderr.strip()
        raise ByteCodeError(f"byte code for Python {compiler.version}: {error}")


def _candidates(version: str) -> Iterator[str]:
    name = f"python{version}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if found := shutil.which(name, path=folder):
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/{name}")))
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv:
        done = subprocess.run(  # noqa: S603 (our own tool)
            [uv, "python", "find", "--no-project", "--managed-python", "--no-python-downloads", version],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            yield done.stdout.strip()
