"""The `ras` command: the operators' commands, and those of every plugin."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

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


# The disk or quota is full, or the terminal has gone.
_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class _Command(click.Group):
    """The root command: however it ends, without a traceback for what an operator's machine does."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # in a command that has no failures of its own to tell
            sys.exit(130)

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            try:
                return super().main(*arguments, **options)
            finally:
                sys.stdout.flush()  # else it fails at the interpreter's end, which tells it in its own way
        except OSError as error:
            if error.errno not in _NOT_WRITTEN:
                raise
            where = f" {error.filename}" if error.filename else ""
            # Nothing more goes there, not even what is still buffered.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            click.echo(f"ras: cannot write{where}: {os.strerror(error.errno)}", err=True)
            sys.exit(1)


@click.group(
    cls=_Command,
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
