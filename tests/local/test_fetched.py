"""Where fetched servers are stored, and how several processes that want the same one share it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from ras.errors import OperatorError
from ras_local.servers import fetched

from tests.local.pretended import left_behind

if TYPE_CHECKING:
    from pathlib import Path

# Fetches into its first argument slowly; its second is a file of marks, one for every time that it did.
FETCHER = """
import sys, time
from pathlib import Path
from ras_local.servers import fetched
from ras.errors import OperatorError

kept, marks = map(Path, sys.argv[1:])

def fill(folder):
    with marks.open("a") as file:
        file.write("ran\\n")
    (folder / "thing").write_text("whole")
    time.sleep(0.5)
    {then}

print((fetched.once(kept, fill) / "thing").read_text())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where servers are stored."""
    monkeypatch.setattr(fetched, "FETCHED", tmp_path / "fetched")
    return tmp_path / "fetched"


def fetch_twice(kept: Path, marks: Path, then: str = "") -> list[tuple[int, str]]:
    """Two processes that fetch the same server at once: exit codes and output, in order."""
    command = [sys.executable, "-c", FETCHER.format(then=then), str(kept), str(marks)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    return sorted((process.returncode, output) for process, output in zip(started, outputs, strict=True))


def test_processes_that_want_the_same_server_fetch_it_once(tmp_path: Path, folder: Path) -> None:
    """The second waits, and gets what the first fetched."""
    ended = fetch_twice(folder / "thing-1", tmp_path / "marks")

    assert ended == [(0, "whole\n"), (0, "whole\n")]
    assert (tmp_path / "marks").read_text() == "ran\n"


@pytest.mark.slow
def test_one_that_fails_leaves_it_to_the_next(tmp_path: Path, folder: Path) -> None:
    """The process that waited fetches it itself, from an empty folder."""
    then = "if marks.read_text() == 'ran\\n': sys.exit(3)"
    ended = fetch_twice(folder / "thing-1", tmp_path / "marks", then)

    assert ended == [(0, "whole\n"), (3, "")]
    assert left_behind() == ["thing-1"]


def test_what_a_killed_one_left_goes_with_the_next(folder: Path) -> None:
    """A build is hundreds of megabytes in its middle; that of another server stays."""
    for name in (".thing-1-abc", ".thing-2-abc"):
        (folder / name / "target").mkdir(parents=True)
    fetched.once(folder / "thing-1", lambda scratch: (scratch / "thing").touch())

    assert left_behind() == [".thing-2-abc", "thing-1"]


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    """As a tool that is missing, so that tests without servers run."""
    folder.touch()

    with pytest.raises(OperatorError, match=r"fetched cannot be written: File exists"):
        fetched.once(folder / "thing-1", lambda _: None)


def test_what_is_fetched_appears_whole(folder: Path) -> None:
    """A reader that looks while it is fetched finds nothing yet."""
    kept = folder / "thing-1"
    seen = []

    def fill(scratch: Path) -> None:
        (scratch / "thing").touch()
        seen.append(kept.exists())

    assert fetched.once(kept, fill) == kept
    assert seen == [False]
    assert [path.name for path in kept.iterdir()] == ["thing"]


def test_the_folder_changes_with_every_pin(tmp_path: Path) -> None:
    """With their contents and their names, but not with the order in which they are named."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    first = fetched.folder("thing", [one, other])
    assert fetched.folder("thing", [other, one]) == first

    # What moves from one file to the next is a change too.
    one.write_text("12")
    other.write_text("")
    assert fetched.folder("thing", [one, other]) != first
    one.write_text("1")
    other.write_text("2")
    assert fetched.folder("thing", [one, other]) == first
    assert fetched.folder("thing", [one, other.rename(tmp_path / "third")]) != first
    assert fetched.folder("another", [one, tmp_path / "third"]).name.startswith("another-")
