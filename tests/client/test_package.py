"""The package as others install it: a wheel, in an environment that has what it declares and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers/client"
LEFTOVERS = ("build", "*.egg-info", "__pycache__")
"""What older builds, editable installs and imports have left in the working copy."""
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with the wheel in it."""
    assert UV is not None
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns(*LEFTOVERS))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source,
        cwd=folder)  # fmt: skip
    [wheel] = folder.glob("*.whl")
    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    # The versions that everything else is tested with; what is downloaded once is not downloaded again.
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "requirements/dev.txt", wheel,
        cwd=folder)  # fmt: skip
    return python


def test_it_brings_few_packages(installed: Path) -> None:
    """Few, and all pure Python."""
    assert UV is not None
    listed = run(UV, "pip", "freeze", "--python", installed, cwd=installed.parent)
    names = {line.partition("==")[0].partition(" @")[0] for line in listed.splitlines()}

    assert names == {
        "anyio", "botocore", "h11", "httpcore2", "httpx2", "idna", "jmespath", "python-dateutil", "result-aggregator-client",
        "six", "truststore", "typing-extensions", "urllib3",
    }  # fmt: skip
    assert not list(installed.parent.parent.rglob("*.so"))


def test_building_it_leaves_nothing_behind(installed: Path) -> None:
    """A `build/` beside the sources would go into the next wheel, modules and all that were removed since."""
    source = installed.parents[2] / "source"
    left = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}

    assert left == {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file()} - {
        path.relative_to(PACKAGE)
        for pattern in LEFTOVERS
        for folder in PACKAGE.rglob(pattern)
        for path in folder.rglob("*")
    }


def test_it_works_there_as_a_whole(installed: Path) -> None:
    """Everything that it exports is there, and a question is asked, from outside this repository, warnings being errors."""
    code = """
import asyncio, result_aggregator_client as client
from botocore.credentials import Credentials
assert all(hasattr(client, name) for name in client.__all__)
nowhere = {"credentials": Credentials("a", "b"), "region": "eu-north-1", "retries": client.Retries(attempts=1)}
with client.ResultAggregatorClient("http://127.0.0.1:1", **nowhere) as results:
    try:
        results.get_batch_status("b")
    except client.UnreachableError as error:
        print(error.code)
async def main():
    async with client.AsyncResultAggregatorClient("http://127.0.0.1:1", **nowhere) as results:
        try:
            await results.get_batch_status("b")
        except client.UnreachableError as error:
            print(error.code)
asyncio.run(main())
print(client.__file__)
"""
    out = run(installed, "-I", "-W", "error", "-c", code, cwd=installed.parent).split()

    assert out[:2] == ["unreachable"] * 2
    assert Path(out[2]).is_relative_to(installed.parent.parent)


def test_its_types_are_for_others_too(installed: Path, tmp_path: Path) -> None:
    """A strict mypy of someone who installed it sees them: it is a typed package."""
    (tmp_path / "use.py").write_text(
        "from result_aggregator_client import Address, AsyncResultAggregatorClient, ResultAggregatorClient\n"
        "with ResultAggregatorClient(Address('https://x/prod')) as results:\n"
        "    reveal_type(results.get_batch_status('b', user_id='u', correlation_id='c'))\n"
        "    reveal_type([essay.cj_rank for essay in results.iter_essays('b')])\n"
        "async def main() -> None:\n"
        "    async with AsyncResultAggregatorClient('https://x/prod') as results:\n"
        "        reveal_type(await results.get_batch_status('b'))\n"
        "        reveal_type([batch.user_id async for batch in results.iter_user_batches('u')])\n"
    )
    out = run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, "use.py", cwd=tmp_path
    )

    revealed = [
        line.split('"')[1].replace("builtins.", "") for line in out.splitlines() if "Revealed" in line
    ]
    assert [one.replace("result_aggregator_client.models.", "") for one in revealed] == [
        "BatchStatus | None",
        "list[int | None]",
        "BatchStatus | None",
        "list[str]",
    ]
