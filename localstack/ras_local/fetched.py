"""Where servers that are not Python packages are kept once they were downloaded or built: `.build/servers/`.

A server is a folder under `localstack/servers/` with its pins. What was fetched is kept under the hash of those pins, so
that a changed pin is fetched anew and one that is there needs neither its tools nor a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ras_local.paths import REPOSITORY

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

    `fetch` fills an empty folder that becomes `kept` when it returns; whatever it raises leaves nothing behind.
    """
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_name(f".{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix=f".{kept.name}-", dir=kept.parent) as scratch:
                filled = Path(scratch) / "kept"
                filled.mkdir()
                fetch(filled)
                filled.rename(kept)
    return kept
