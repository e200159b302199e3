"""The folder in which a command finds the stack on this machine, and notes how far its own runs are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]

LOCAL = "local"
"""The stage on this machine, which every command means that is given no other."""


@dataclass(frozen=True)
class StateDir:
    """The folder of one stack on this machine: several stacks run side by side in folders of their own."""

    root: Path

    @classmethod
    def default(cls) -> Self:
        """The folder that RAS_STATE_DIR names, else `.local` in the repository."""
        return cls(Path(os.environ.get("RAS_STATE_DIR", "") or REPOSITORY / ".local").absolute())

    @property
    def stack_file(self) -> Path:
        """What outside programs read: endpoints and the callers' credentials."""
        return self.root / "stack.json"

    @property
    def mappings_file(self) -> Path:
        """The poller's own account of each mapping, renewed every second."""
        return self.root / "mappings.json"


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone: readers never see half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
