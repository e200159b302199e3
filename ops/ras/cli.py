"""The `ras` command: the operators' commands, and those of every plugin."""

from __future__ import annotations

import click

from ras import interrupts
from ras.dashboard.command import dashboard
from ras.dead_letters.command import dead_letters
from ras.plugins import plugins
from ras.rebuild.command import rebuild
from ras.replay.command import replay
from ras.unclaimed import command as unclaimed

_HELP = "\n\n".join(
    [
        "The Result Aggregator Service on this machine, and stages of it in AWS.",
        *(one.help for one in plugins()),
    ]
)


@click.group(
    help=_HELP,
    epilog="\n\n".join(one.settings for one in plugins()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    # A terminated command cleans up as an interrupted one does.
    interrupts.end_as_interrupted()


for _command in (
    dashboard,
    dead_letters,
    rebuild,
    replay,
    unclaimed,
    *(c for one in plugins() for c in one.commands),
):
    main.add_command(_command)
