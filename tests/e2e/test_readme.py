"""What the README and the client's say of calling it, pasted as a new user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ras import stack_file
from ras.kafka.publish import publish, read_events
from ras_local.capabilities import Lack

if TYPE_CHECKING:
    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def blocks(section: str, language: str, readme: str = "README.md") -> list[str]:
    """The code blocks of a section."""
    whole = (ROOT / readme).read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {section}\n(.*?)^## ", whole, re.MULTILINE | re.DOTALL)
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(scope="module")
def folder(running: Stack, state: StackDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the stack's file lies where the README says, with the README's own events published."""
    here = tmp_path_factory.mktemp("readme")
    (here / ".local").mkdir()
    shutil.copy(state.stack_file, here / ".local/stack.json")
    (shell,) = blocks("Publish an event and query it yourself", "sh")
    events = here / "event.jsonl"
    events.write_text("".join(f"{line}\n" for line in shell.splitlines() if line.startswith('{"topic"')))
    publish(running.bootstrap_servers, read_events(events))
    stack_file.wait_consumed(running)
    return here


def pasted(folder: Path, command: list[str], text: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # A busy machine may outlast the client's patience; what it advises then is to ask again.
    for _ in range(10):
        result = subprocess.run(
            command, input=text, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if "deadline_exceeded" not in result.stderr:
            break
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("interactively", [False, True])
def test_python(folder: Path, interactively: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Sync and async, as a script and line by line at the prompt."""
    sync, asynchronous = blocks("Ask for a batch", "python", "layers/client/README.md")
    command = [sys.executable, "-q", "-i"] if interactively else [sys.executable, "-"]

    assert pasted(folder, command, f"{sync}\n") == "PROCESSING [('my-essay', 3)]\n['my-batch']\n"
    assert pasted(folder, command, f"{asynchronous}\n") == "PROCESSING\n['my-batch']\n"


def test_the_first_example(folder: Path) -> None:
    """The one that the project's README has."""
    (block,) = blocks("Calling it", "python")

    assert "BatchStatus(batch_id='my-batch'" in pasted(folder, [sys.executable, "-"], block)


def test_curl(folder: Path) -> None:
    """With curl's own signatures."""
    (shell,) = blocks("Calling it", "sh")
    answer = json.loads(pasted(folder, ["bash", "-s"], shell))

    assert (answer["batch_id"], answer["user_id"], len(answer["essays"])) == ("my-batch", "teacher-me", 1)


@pytest.mark.needs(Lack.SIGNATURES)
@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("my-batch/status?limit=5&user_id=teacher%20me", False),
        ("my-batch/status?user_id=teacher%2Fme%2B", False),
        ("my-batch/status?user_id=teacher-me&limit=5", True),
        ("my%20batch/status", True),
        ("my%3Abatch/status", True),
    ],
)
def test_what_curl_cannot(folder: Path, path: str, refused: bool) -> None:  # noqa: FBT001 - a parameter
    """As the README says of the version that Debian 12 has; a signature that fits finds no batch, or this one."""
    version = subprocess.run(
        ["curl", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    (shell,) = blocks("Calling it", "sh")
    asked = shell.replace("my-batch/status?user_id=teacher-me", path)
    assert path in asked
    code = json.loads(pasted(folder, ["bash", "-s"], asked)).get("code")

    if version.startswith("7.88."):
        assert (code == "forbidden") is refused
    else:
        assert refused or code != "forbidden"


@pytest.mark.parametrize("path", ["my%20batch", "my%3Abatch"])
def test_what_ras_query_can(folder: Path, path: str) -> None:
    """What curl cannot: the signature fits, and there is no such batch."""
    answer = subprocess.run(
        [Path(sys.executable).with_name("ras"), "query", f"/internal/v1/batches/{path}/status"],
        env={**os.environ, "RAS_STATE_DIR": str(folder / ".local")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "batch_not_found" in answer.stdout + answer.stderr
