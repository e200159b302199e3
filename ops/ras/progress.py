"""How far a long command is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ras.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_EVERY_S = 10.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives a function to be told of each further number done. All of it goes to standard error."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield _Lines(label, total).advance
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
    ) as bars:
        task = bars.add_task(label, total=total)
        yield lambda number: bars.update(task, advance=number)


class _Lines:
    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._said = time.monotonic()

    def advance(self, number: int) -> None:
        self._done += number
        if time.monotonic() - self._said >= _LINE_EVERY_S:
            self._said = time.monotonic()
            console(stderr=True).print(f"{self._label}: {self._done} of {self._total}")
