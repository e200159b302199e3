"""Where the stack on this machine keeps its files, and what its user may choose."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ras.errors import StackError

REPOSITORY = Path(__file__).resolve().parents[2]

ACCOUNT = "000000000000"
"""The emulators' account: what they answer to callers who name no other."""

STAGE = "local"


def region() -> str:
    """The region that the stack pretends to run in. Raises StackError where RAS_REGION is none."""
    wished = os.environ.get("RAS_REGION", "") or "eu-north-1"
    if not re.fullmatch(r"[a-z]+(-[a-z]+)+-[0-9]", wished):
        raise StackError(f"RAS_REGION={wished!r} is no region", "Unset it, or give it one such as eu-west-1.")
    return wished


def number(name: str, default: int, *, least: int = 0) -> int:
    """An integer setting from the environment; StackError where it is not one, or less than `least`."""
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        wished = int(text)
    except ValueError:
        raise StackError(
            f"{name}={text!r} is not a number", f"Unset {name} or give it a whole number."
        ) from None
    if wished < least:
        raise StackError(f"{name}={text} is too small", f"Unset {name} or give it {least} or more.")
    return wished


@dataclass(frozen=True)
class StateDir:
    """The folder of one running stack: several stacks run side by side in folders of their own."""

    root: Path

    @classmethod
    def default(cls) -> StateDir:
        return cls(Path(os.environ.get("RAS_STATE_DIR", "") or REPOSITORY / ".local").absolute())

    @property
    def stack_file(self) -> Path:
        """What outside programs read: endpoints and the callers' credentials."""
        return self.root / "stack.json"

    @property
    def processes(self) -> Path:
        return self.root / "processes"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def cloud_assembly(self) -> Path:
        return self.root / "cdk.out"

    @property
    def outputs_file(self) -> Path:
        return self.root / "outputs.json"

    @property
    def mappings_file(self) -> Path:
        """The poller's own account of each mapping, renewed every second."""
        return self.root / "mappings.json"

    @property
    def metrics_file(self) -> Path:
        """How far the functions' output has been made into metrics."""
        return self.root / "metrics.json"

    @property
    def bootstrap_file(self) -> Path:
        """The embedded broker's address: it picks its port itself."""
        return self.root / "bootstrap"

    @property
    def dashboard_file(self) -> Path:
        """The dashboard's address: it picks its port itself."""
        return self.root / "dashboard"

    @property
    def emulator(self) -> Path:
        return self.root / "emulator"

    @property
    def kafka(self) -> Path:
        """Apache Kafka's settings and data, which outlive its process but not the stack."""
        return self.root / "kafka"

    @property
    def dynoxide(self) -> Path:
        return self.root / "dynoxide"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def create(self) -> None:
        for folder in (self.root, self.processes, self.logs, self.emulator):
            folder.mkdir(parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone: readers never see half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
