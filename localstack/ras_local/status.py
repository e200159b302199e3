"""What runs, where, and how far each mapping is: `ras status`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ras import stack_file
from ras.dead_letters.bucket import DeadLetterBucket
from ras.dead_letters.command import described
from ras.replay.paused import PausedMappings
from ras.state_folder import LOCAL
from ras.terminal import plain, table
from result_aggregator.names import resource_name

from ras_local import stack as stacks
from ras_local.servers import processes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from psutil import Process
    from ras.kafka.lag import Progress
    from ras.replay.paused import PausedMapping
    from ras.stack_file import Stack
    from rich.console import Console
    from rich.table import Table

    from ras_local.settings import StackDir

_COLUMNS = ("topic", "function", "state", "lag", "delivered", "given up", "failures", "problem")


@dataclass(frozen=True)
class Status:
    """One look at a stack. `stack` is None unless all of it is up, and `dead_letters` with it."""

    state: StackDir
    processes: dict[str, Process | None]
    stack: Stack | None
    mappings: list[dict[str, Any]]
    progress: Mapping[str, Progress]
    dead_letters: Counter[str] | None
    interrupted: list[PausedMapping]
    """Mappings that an interrupted replay has left disabled."""

    @property
    def is_up(self) -> bool:
        return self.stack is not None

    def document(self) -> dict[str, Any]:
        """For programs."""
        stack = self.stack
        return {
            "up": self.is_up,
            "processes": {name: process.pid if process else None for name, process in self.processes.items()},
            "endpoint_url": stack.endpoint_url if stack else None,
            "bootstrap_servers": stack.bootstrap_servers if stack else None,
            "api_url": stack.api_url if stack else None,
            "dashboard_url": stack.dashboard_url if stack else None,
            "mappings": [
                entry | {"lag": self._lag(entry["topic"]), "problem": self._problem(entry)}
                for entry in self.mappings
            ],
            "dead_letters": self.dead_letters,
            "interrupted_replays": [one.document() for one in self.interrupted],
        }

    def show(self, out: Console) -> None:
        """For people."""
        for name, condition, place in self._places():
            out.print(f"{name:>10}  {condition}  {place}")
        if self.stack is not None:
            out.print(f"{'API':>10}  {self.stack.api_url}", soft_wrap=True)
            out.print(self._listing())
        if self.dead_letters is not None:
            out.print(f"{'letters':>10}  {described(self.dead_letters)}")
        for one in self.interrupted:
            out.print(plain(f"{one}; `ras replay --enable` enables it"), style="red", soft_wrap=True)
        out.print(f"{'logs':>10}  {self.state.logs}", soft_wrap=True)
        if not self.is_up:
            some = any(self.processes.values())
            out.print("only partly up: `make up` starts it anew" if some else "not up")

    def _places(self) -> Iterator[tuple[str, str, str]]:
        """Name, condition and address of each process, and of what is used and was not started here."""
        addresses = (
            {
                "emulator": self.stack.endpoint_url,
                "broker": self.stack.bootstrap_servers,
                stacks.DASHBOARD: self.stack.dashboard_url,
            }
            if self.stack
            else {}
        )
        for name in addresses.keys() - self.processes.keys():
            yield name, "elsewhere", addresses[name]
        for name, process in self.processes.items():
            runs = f"[green]runs[/] as process {process.pid}" if process else "[red]does not run[/]"
            yield name, runs, addresses.get(name, "")

    def _listing(self) -> Table:
        listing = table(*_COLUMNS, numbers=_COLUMNS[3:7])
        for entry in self.mappings:
            lag = self._lag(entry["topic"])
            listing.add_row(
                entry["topic"],
                entry["function"].removeprefix(resource_name(LOCAL, "")),
                entry["state"],
                "?" if lag is None else str(lag),
                str(entry["delivered"]),
                str(entry["discarded"]),
                str(entry["failures"]),
                plain(self._problem(entry)),
            )
        return listing

    def _problem(self, entry: Mapping[str, Any]) -> str:
        """The poller's word, and what the broker shows where the poller has not noticed it, or does not run."""
        at = self.progress.get(entry["topic"])
        told = [entry["problem"]] if entry["problem"] else []
        if at is not None and at.dropped:
            told.append(f"the broker dropped {at.dropped} records before they were read")
        if at is not None and at.remade and not told:
            told.append("the topic was deleted and made again; the group's commits are of the earlier one")
        return "; ".join(told)

    def _lag(self, topic: str) -> int | None:
        at = self.progress.get(topic)
        return None if at is None else at.lag


def _paused(stack: Stack) -> PausedMappings:
    return PausedMappings(stack.cloud.s3, stack.dead_letter_bucket, stack.cloud.functions)


def read(state: StackDir) -> Status:
    """Look at the stack of a folder. Raises OperatorError, botocore's errors where a part of it does not answer."""
    stack = stack_file.load(state) if stacks.is_up(state) else None
    return Status(
        state,
        {name: processes.running(state, name) for name in stacks.expected(state)},
        stack,
        stack_file.mappings(state),
        stack_file.progress(stack) if stack else {},
        DeadLetterBucket(stack.cloud.s3, stack.dead_letter_bucket).counts() if stack else None,
        _paused(stack).interrupted() if stack else [],
    )
