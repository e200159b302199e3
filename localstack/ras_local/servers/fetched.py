"""Where servers that are not Python packages are kept once they were downloaded or built: `.build/servers/`.

A server is a folder under `localstack/servers/` with its pins. What was fetched is kept under the hash of those pins, so
that a changed pin is fetched anew and one that is there needs neither its tools nor a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ras.errors import FailedError
from ras.state_folder import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PINS = REPOSITORY / "localstack" / "servers"
FETCHED = REPOSITORY / ".build" / "servers"


def folder(name: str, pins: Iterable[Path]) -> Path:
    """Where a server with exactly these pin files is kept, whether it was fetched or not."""
    digest = hashlib.sha256()
    for path in sorted(pins):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return FETCHED / f"{name}-{digest.hexdigest()[:16]}"


def once(kept: Path, fetch: Callable[[Path], None]) -> Path:
    """`kept`, filled by `fetch` if it is not there yet. Other processes that want the same wait for the first.

    `fetch` fills an empty folder that becomes `kept` when it returns; whatever it raises leaves nothing behind. Raises
    OperatorError where the folder of servers cannot be written.
    """
    if kept.exists():
        return kept
    with _lock_of(kept) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            # Of one that was killed in the middle: who holds the lock is alone.
            for left in kept.parent.glob(f".{kept.name}-*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{kept.name}-", dir=kept.parent) as scratch:
                filled = Path(scratch) / "kept"
                filled.mkdir()
                fetch(filled)
                filled.rename(kept)
    return kept


def _lock_of(kept: Path) -> IO[str]:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        return kept.with_name(f".{kept.name}.lock").open("w")
    except OSError as error:
        raise FailedError(
            f"{kept.parent} cannot be written: {error.strerror}", "Servers are kept there: make it writable."
        ) from error
