"""What is printed, on a terminal as in a log."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.table import Table

from ras.errors import OperatorError
from ras.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a log or a pipe, which has no width of its own: room for two identifiers and some words.
_LOG_WIDTH = 160
# Messages of our own have lines; what they quote of others has been made visible before.
_LINES = "\n"
# What Rich reads as markup (`rich.markup`) with the backslashes before it; or another bracket.
_BRACKET = re.compile(r"(\\*)(\[[a-z#/@][^[]*?\])|\[")


def console(*, stderr: bool = False) -> Console:
    """A console that wraps at the terminal's width, and in logs only where lines get very long."""
    made = Console(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made = Console(stderr=stderr, highlight=False, emoji=False, width=_LOG_WIDTH)
    return made


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table without a frame. Long words are folded, never cut: identifiers are there to be copied."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def plain(text: str, keep: str = "") -> str:
    """Text that is shown as it is: it is not read as markup, and what is invisible in it is made `visible`.

    Rich's own `escape` adds a backslash to one at the end.
    """
    return _BRACKET.sub(_escaped, visible(text, keep))


def _escaped(found: re.Match[str]) -> str:
    backslashes, tag = found.groups()
    return rf"{backslashes}{backslashes}\{tag}" if tag else r"\["


def json_line(document: object) -> str:
    """A document as JSON on a line: exact for programs, and with nothing hidden for people."""
    return visible(json.dumps(document, ensure_ascii=False))


def json_text(document: object) -> str:
    """The same over several lines."""
    return visible(json.dumps(document, ensure_ascii=False, indent=2), keep="\n")


def print_json(out: Console, document: object) -> None:
    """A document as JSON, in colours where there are any."""
    out.print(JSONHighlighter()(json_text(document)), soft_wrap=True)


def many(number: int, what: str) -> str:
    """A number of things in words: `1 record`, `2 records`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def expected_failures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print what a person can act on without a traceback, and exit with the error's code; 130 after Ctrl-C."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except OperatorError as error:
            problem = console(stderr=True)
            problem.print(f"[bold red]ras:[/] {plain(error.message, keep=_LINES)}")
            if error.advice:
                problem.print(plain(error.advice, keep=_LINES))
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)

    return run
