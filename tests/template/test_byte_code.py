"""Byte code of what is deployed, and what happens where no interpreter can compile it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import app
from infra import layers
from infra.byte_code import ByteCodeError, Compiler, compile_tree, find_compiler
from infra.context import as_context, load_settings
from infra.handler_imports import missing_imports
from infra.layers import LayerError, Target, build_dependencies, build_function, build_shared
from tests.template.given import NEW_CLUSTER, context

if TYPE_CHECKING:
    from infra.settings import Settings

ROOT = Path(__file__).parents[2]
RUNNING = Compiler.running()
# Of Lambda's version where this machine has it: any version's byte code is to be the same each time.
COMPILER = find_compiler("3.13") or RUNNING
LAMBDA = Target("3.13", "arm64", compiler=COMPILER)
# One that does not run these tests, so that it would have to be looked for.
ANOTHER = "3.14" if RUNNING.version != "3.14" else "3.13"

_UNCHECKED = (1).to_bytes(4, "little")

_BUILD = """
import sys
from pathlib import Path
from infra.byte_code import Compiler
from infra.layers import Target, build_client, build_dependencies, build_function, build_shared
target, build = Target("3.13", "arm64", compiler=Compiler.at(sys.argv[1])), Path(sys.argv[2])
built = [build_dependencies(target, build=build), build_client(target, build=build), build_shared(target, build=build)]
for folder in [*built, *(build_function(name, target, build=build) for name in ("query", "ingest_essays"))]:
    print(folder)
"""


def settings(stage: str, **overrides: str) -> Settings:
    return load_settings({**context(), "stage": stage, **NEW_CLUSTER.get(stage, {}), **overrides}, {})


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any other interpreter than the one that runs; the folder of pyenv's there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    return tmp_path / "pyenv"


def test_every_source_has_byte_code_that_needs_no_check(tmp_path: Path) -> None:
    """What unpacking does to the times makes none of it stale."""
    for folder in (build_shared(LAMBDA, build=tmp_path), build_function("query", LAMBDA, build=tmp_path)):
        sources = sorted(folder.rglob("*.py"))
        assert sources
        for source in sources:
            (byte_code,) = source.parent.glob(f"__pycache__/{source.stem}.*.pyc")

            assert byte_code.name == f"{source.stem}.cpython-{COMPILER.version.replace('.', '')}.pyc"
            assert byte_code.read_bytes()[4:8] == _UNCHECKED


def test_two_builds_in_two_processes_and_folders_are_one_asset(tmp_path: Path) -> None:
    """Names are what the CDK takes for the assets' hashes, and the same name means the same bytes."""
    built = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, str(COMPILER.path), str(tmp_path / f"folder-{seed}" / seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        built.append([Path(line) for line in done.stdout.splitlines()])

    first, second = built
    assert [folder.name for folder in first] == [folder.name for folder in second]
    assert [_digest(folder) for folder in first] == [_digest(folder) for folder in second]
    assert all(list(folder.rglob("*.pyc")) for folder in first)


def test_byte_code_is_part_of_the_name(tmp_path: Path) -> None:
    """Else a machine without the interpreter would deploy what is slow under the name of what is fast."""
    without = Target("3.13", "arm64")

    assert build_shared(without, build=tmp_path) != build_shared(LAMBDA, build=tmp_path)
    assert build_function("query", without, build=tmp_path) != build_function("query", LAMBDA, build=tmp_path)


def test_a_change_of_a_source_is_another_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interpreter leaves beside sources is none."""
    functions = tmp_path / "functions"
    (functions / "query").mkdir(parents=True)
    handler = functions / "query" / "handler.py"
    handler.write_text("answer = 42\n")
    monkeypatch.setattr(layers, "FUNCTIONS", functions)
    first = build_function("query", LAMBDA, build=tmp_path / "out")
    (handler.parent / "__pycache__").mkdir()
    (handler.parent / "__pycache__" / "handler.cpython-310.pyc").write_bytes(b"left")
    assert build_function("query", LAMBDA, build=tmp_path / "out") == first
    handler.write_text("answer = 43\n")

    assert build_function("query", LAMBDA, build=tmp_path / "out") != first


@pytest.mark.parametrize("name", ["module.cpython-399.pyc", f"module.{sys.implementation.cache_tag}.pyc"])
def test_byte_code_of_another_version_does_no_harm(tmp_path: Path, name: str) -> None:
    """Under its own name it is passed over; under this version's its first bytes give it away."""
    (tmp_path / "module.py").write_text("print('from the source')\n")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / name).write_bytes(b"\x99\x0e\r\n" + _UNCHECKED + b"not for this one")
    done = subprocess.run(
        [sys.executable, "-B", "-c", "import module"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "from the source\n"), done.stderr


def test_a_shim_that_does_not_run_is_passed_over(nowhere: Path) -> None:
    """pyenv puts one on the PATH for each version that it has, whether it is chosen or not."""
    path = Path(os.environ["PATH"])
    path.mkdir()
    shim = path / f"python{RUNNING.version}"
    shim.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    assert Compiler.at(str(shim)) is None
    installed = nowhere / "versions" / f"{RUNNING.version}.99" / "bin" / f"python{RUNNING.version}"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(sys.executable)
    # By another version's name, so that it is not simply the one that runs.
    assert find_compiler(ANOTHER) is None

    found = Compiler.at(str(installed))
    assert found is not None
    assert (found.version, found.magic) == (RUNNING.version, RUNNING.magic)


def test_a_named_interpreter_of_another_version_is_refused(tmp_path: Path) -> None:
    """Its byte code would be passed over in Lambda, and nobody would notice."""
    with pytest.raises(ByteCodeError, match=rf"'byte_code_python'.* is Python {RUNNING.version}; allowed"):
        find_compiler(ANOTHER, sys.executable)
    with pytest.raises(ByteCodeError, match="no CPython that runs"):
        find_compiler(ANOTHER, str(tmp_path / "python"))
    assert find_compiler(RUNNING.version, sys.executable) is not None


@pytest.mark.parametrize("stage", ["staging", "prod"])
@pytest.mark.usefixtures("nowhere")
def test_staging_and_prod_need_byte_code(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless a setting allows it to be missing."""
    runtime = f"python{ANOTHER}"
    with pytest.raises(ByteCodeError, match=rf"'byte_code': 'required', but no Python {ANOTHER} was found"):
        app._lambda_target(settings(stage, runtime=runtime))

    assert app._lambda_target(settings(stage, runtime=runtime, byte_code="optional")).compiler is None
    assert "WARNING: no Python" in capsys.readouterr().err


@pytest.mark.usefixtures("nowhere")
def test_dev_is_told_that_byte_code_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody who deploys reads it."""
    assert app._lambda_target(settings("dev", runtime=f"python{ANOTHER}")).compiler is None
    assert "every cold start" in capsys.readouterr().err


def test_where_an_interpreter_is_stays_on_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deploys next, from another one, is not told that path; that byte code may be missing, they are."""
    given = settings("prod", byte_code="optional", byte_code_python="/opt/python")

    assert "byte_code_python" not in as_context(given)
    assert as_context(given)["byte_code"] == "optional"
    monkeypatch.setenv("MAKEFLAGS", "")
    for target, passed in (("synth", True), ("destroy", True), ("deploy", False), ("diff", False)):
        said = subprocess.run(
            ["make", "--dry-run", target, "STAGE=prod", "STACK=all"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert ("-c byte_code=optional" in said) is passed, target


def test_a_file_that_does_not_compile_is_named(tmp_path: Path) -> None:
    """With its line, as it would be named in Lambda."""
    (tmp_path / "broken.py").write_text("answer = 42\nreturn (\n")

    with pytest.raises(ByteCodeError, match=r"/var/task/broken\.py.*line 2"):
        compile_tree(tmp_path, RUNNING, "/var/task")


def test_an_import_that_no_layer_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build fails with the file and the line, not the function in Lambda."""
    handler = tmp_path / "functions" / "query" / "handler.py"
    handler.parent.mkdir(parents=True)
    handler.write_text("import json\nfrom typing import TYPE_CHECKING\n\nimport requests\n")
    monkeypatch.setattr(layers, "FUNCTIONS", tmp_path / "functions")
    monkeypatch.setattr(layers, "build_dependencies", lambda _: tmp_path / "empty")
    monkeypatch.setattr(layers, "SHARED", tmp_path / "shared")

    with pytest.raises(LayerError, match=r"query/handler\.py:4 imports requests, which is in no layer"):
        layers.build(LAMBDA)


def test_imports_of_type_checkers_and_of_submodules(tmp_path: Path) -> None:
    """The first are never made; of a package that is there, a module may be missing all the same."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "fast.cpython-313-aarch64-linux-gnu.so").write_bytes(b"")
    (tmp_path / "handler.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "import os.path, package.fast\n"
        "from . import sibling\n"
        "if TYPE_CHECKING:\n    import stubs\nelse:\n    import missing\n"
        "def later():\n    from package.gone import thing\n"
    )

    assert [found.partition(".py:")[2] for found in missing_imports(tmp_path, [tmp_path])] == [
        "7 imports missing",
        "9 imports package.gone",
    ]


def test_what_is_deployed_imports_nothing_else(tmp_path: Path) -> None:
    """The same check of the real functions, with the real layer."""
    dependencies = build_dependencies(Target("3.13", "arm64"), build=tmp_path)
    shared = layers.SHARED / "python"
    for folder in layers.FUNCTIONS.iterdir():
        path = [folder, shared, dependencies / "python"]

        assert missing_imports(folder, path) == missing_imports(shared, path) == []


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} ".encode() + path.read_bytes())
    return digest.hexdigest()
