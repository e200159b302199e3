"""What the user of the stack on this machine may choose by the environment, and where it keeps its files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ras.errors import SettingError
from ras.state_folder import StateDir

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "000000000000"
"""The emulators' account: what they answer to callers who name no other."""


def region() -> str:
    """The region that the stack pretends to run in. Raises OperatorError where RAS_REGION is none."""
    wished = os.environ.get("RAS_REGION", "") or "eu-north-1"
    if not re.fullmatch(r"[a-z]+(-[a-z]+)+-[0-9]", wished):
        raise SettingError(
            f"RAS_REGION={wished!r} is no region", "Unset it, or give it one such as eu-west-1."
        )
    return wished


class StackDir(StateDir):
    """The folder of one stack, as those who start and stop it know it."""

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
