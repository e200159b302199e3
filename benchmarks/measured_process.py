"""Processes that hold one system each, so that no system pays for another's imports, memory or threads."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ras.errors import FailedError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Doer = Callable[[Any], Any]
"""Does one thing that it is told: what is measured."""


class Took(NamedTuple):
    """What something took: by the clock, and of processors, system calls included (`getrusage` of its process)."""

    seconds: float
    cpu_seconds: float

    def __add__(self, other: object) -> Took:
        if not isinstance(other, Took):
            return NotImplemented
        return Took(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


class Worker:
    """A process that makes a doer and lets it do what it is told, measured inside."""

    def __init__(self, make: Callable[..., Doer], *arguments: Any) -> None:
        """`make` and its arguments are pickled: a module's function, and plain values."""
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, make, arguments), daemon=True)
        self._process.start()
        there.close()
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def run(self, *tasks: Any) -> Took:
        """Do these tasks one after the other, and nothing else while it is measured."""
        took: Took = self._ask("run", tasks)
        return took

    def answer(self, task: Any) -> Any:
        """Do it unmeasured; what it gave."""
        return self._ask("answer", (task,))

    def peak_bytes(self, task: Any) -> int:
        """The most that Python's objects made by a task took at a time. Slows it down, so it is never timed."""
        peak: int = self._ask("peak", (task,))
        return peak

    def _ask(self, what: str, tasks: tuple[Any, ...]) -> Any:
        self._here.send((what, tasks))
        return self._answer()

    def _answer(self) -> Any:
        try:
            failure, answer = self._here.recv()
        except EOFError:
            raise FailedError("a benchmark's process has ended", "Its last words are above.") from None
        if failure is not None:
            raise RuntimeError(failure)
        return answer


def _work(pipe: Connection, make: Callable[..., Doer], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group: the parent says when it is over, by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Lambda takes what is printed; here it goes nowhere, but it is printed.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    do: Doer | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            try:
                if do is None:
                    do, answer = make(*arguments), None
                else:
                    answer = _measured(do, *pipe.recv())
            except EOFError:
                return
            except Exception as error:
                import traceback

                pipe.send((f"{error}\n{traceback.format_exc()}", None))
                if do is None:
                    raise
            else:
                pipe.send((None, answer))


def _measured(do: Doer, what: str, tasks: tuple[Any, ...]) -> Any:
    match what:
        case "run":
            begun, cpu = time.perf_counter(), cpu_seconds()
            for task in tasks:
                do(task)
            return Took(time.perf_counter() - begun, cpu_seconds() - cpu)
        case "peak":
            tracemalloc.start()
            do(tasks[0])
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak
        case _:
            return do(tasks[0])


def cpu_seconds() -> float:
    """Of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
