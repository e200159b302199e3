"""What other packages add to the `ras` command, by entry points of the group `ras.plugins`.

The stack on this machine is one of them: it brings commands of its own, and deploys its stage by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from ras.state_folder import StateDir

GROUP = "ras.plugins"

Deploy = Callable[["StateDir", Mapping[str, str]], object]
"""Deploys the stage of a state folder again, with these settings beside its own. Raises OperatorError."""


@dataclass(frozen=True)
class Plugin:
    """One package's part of the command."""

    stage: str
    """The stage that it deploys, as `--stage` names it."""
    deploy: Deploy
    commands: tuple[click.Command, ...]
    help: str
    """A paragraph for the help of the command as a whole."""
    settings: str
    """What it takes from the environment, for the end of that help."""


@cache
def plugins() -> tuple[Plugin, ...]:
    """Those that are installed, by their names."""
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(point.load() for point in found)


def deployer(stage: str) -> Deploy | None:
    """How a stage is deployed from here; None for one in AWS, which its owner deploys."""
    return next((plugin.deploy for plugin in plugins() if plugin.stage == stage), None)
