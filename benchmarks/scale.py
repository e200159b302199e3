"""Scale: a million events through the local stack's broker, its event source mapping and the deployed functions.

Batches of 33 events, dozens at a time. While they go through, the memory of the poller and of the functions' processes
and the throughput are sampled; afterwards a sample of batches is asked for and held against the pure fold of its events.
It fails where an answer differs, memory grew, or throughput sagged, from the run's early tenths to its late ones.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
from ras import stack_file
from ras.errors import FailedError
from ras.kafka.publish import Event, publish
from ras.terminal import expected_failures
from ras_local import stack
from ras_local.servers import emulator, processes
from ras_local.settings import StackDir

from benchmarks import workload
from benchmarks.report import Cell, Report, Table
from tests import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ras.stack_file import Stack

    from tests.samples import Line

MIX = "essay-heavy"
SIDE_BY_SIDE = 60
"""Batches that are published together, their events mixed."""

WAITING = 20_000
"""Records that may wait in the broker: the embedded one keeps no more than a bounded log."""

_SAMPLE_S = 0.5
_PARTS = 10
MOST_GROWTH = 1.2
LEAST_THROUGHPUT = 0.8
_BUSY = 0.85
"""From this share of the processors on, they are what limits."""
_SEED = 6


@dataclass(frozen=True)
class Sample:
    """One look at the running stack: megabytes are resident ones."""

    seconds: float
    consumed: int
    poller_mb: float
    functions_mb: float
    workers: int


def lines(batches: range) -> Iterator[Line]:
    """The events of batches that run side by side: each batch's in order, all of them mixed."""
    dice = random.Random(batches.start)  # noqa: S311 - an order, not a secret
    lives = [iter(workload.life(MIX, f"scale-{number}")) for number in batches]
    while lives:
        life = dice.choice(lives)
        try:
            yield next(life)
        except StopIteration:
            lives.remove(life)


class Watch:
    """Samples of a running stack."""

    def __init__(self, running: Stack, state: StackDir) -> None:
        self._running = running
        self._poller = self._process(state, stack.POLLER)
        self._emulator = self._process(state, emulator.PROCESS)
        self._state = state
        self._begun = time.monotonic()
        self._before = self._committed()
        self._used: dict[tuple[str, int], float] = {}
        self._unused = self._count_processors()
        self.samples: list[Sample] = []

    @property
    def consumed(self) -> int:
        """Records that were consumed when it last looked."""
        return self.samples[-1].consumed if self.samples else 0

    @property
    def is_due(self) -> bool:
        """Whether the last sample is old enough for another."""
        return time.monotonic() - self._begun - (self.samples[-1].seconds if self.samples else 0) > _SAMPLE_S

    def look(self) -> Sample:
        """Take a sample."""
        workers = [child for child in self._emulator.children(recursive=True) if "python" in child.name()]
        sample = Sample(
            seconds=time.monotonic() - self._begun,
            consumed=self._committed() - self._before,
            poller_mb=_resident_mb(self._poller),
            functions_mb=sum(map(_resident_mb, workers)),
            workers=len(workers),
        )
        self.samples.append(sample)
        self._count_processors()
        return sample

    @property
    def processor_seconds(self) -> dict[str, float]:
        """What each part of the stack, and this program, which publishes, used since it was watched; most first."""
        total: defaultdict[str, float] = defaultdict(float)
        for (part, pid), used in self._used.items():
            total[part] += used - self._unused.get((part, pid), 0.0)
        return dict(sorted(total.items(), key=lambda part: -part[1]))

    def _count_processors(self) -> dict[tuple[str, int], float]:
        """Note the processor seconds of every process by its part; those of one that has ended stay as last seen."""
        found = {("this program", os.getpid()): psutil.Process()}
        for record in processes.recorded(self._state):
            for process in record.family():
                is_function = record.name == emulator.PROCESS and process.pid != record.pid
                found["functions" if is_function else record.name, process.pid] = process
        for key, process in found.items():
            with suppress(psutil.Error):
                times = process.cpu_times()
                self._used[key] = times.user + times.system
        return dict(self._used)

    def _committed(self) -> int:
        return sum(topic.end - topic.lag for topic in stack_file.progress(self._running).values())

    @staticmethod
    def _process(state: StackDir, name: str) -> psutil.Process:
        found = processes.running(state, name)
        if found is None:
            raise FailedError(f"{name} does not run")
        return found


def _resident_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.memory_info().rss) / 2**20
    return 0.0


def drive(running: Stack, watch: Watch, batches: int) -> None:
    """Publish as fast as it is consumed, and wait until the last record is."""
    events = batches * workload.EVENTS_OF_BATCH[MIX]
    published = 0
    for start in range(0, batches, SIDE_BY_SIDE):
        made = [
            Event(line.topic, line.encoded(), line.key.encode())
            for line in lines(range(start, min(start + SIDE_BY_SIDE, batches)))
        ]
        published += publish(running.bootstrap_servers, made, timeout_s=120).count
        if watch.is_due:
            _tell(watch.look(), events)
        while published - watch.consumed > WAITING:
            time.sleep(_SAMPLE_S)
            _tell(watch.look(), events)
    while watch.consumed < events:
        time.sleep(_SAMPLE_S)
        _tell(watch.look(), events)
    print(file=sys.stderr)


def _tell(sample: Sample, events: int) -> None:
    rate = sample.consumed / max(sample.seconds, 0.001)
    print(
        f"\r{sample.consumed:,} of {events:,} events, {rate:,.0f} a second, poller {sample.poller_mb:.0f} MB,"
        f" functions {sample.functions_mb:.0f} MB in {sample.workers} processes   ",
        end="",
        file=sys.stderr,
        flush=True,
    )


def differing(running: Stack, batches: int, count: int) -> tuple[int, list[str]]:
    """How many batches were asked for, and those whose answer is not the fold of their events."""
    chosen = random.Random(_SEED).sample(range(batches), min(count, batches))  # noqa: S311 - which, not a secret
    wrong = []
    for number in chosen:
        batch_id = f"scale-{number}"
        table = fold.fold(fold.read_all(workload.life(MIX, batch_id)))
        answer: Any = running.get(f"/internal/v1/batches/{batch_id}/status").json()
        if answer != fold.answer(table, batch_id):
            wrong.append(batch_id)
    return len(chosen), wrong


def parts(samples: Sequence[Sample]) -> list[list[Cell]]:
    """The run in tenths of its events: throughput, and the middle of each one's memory."""
    total = samples[-1].consumed
    rows: list[list[Cell]] = []
    for part in range(_PARTS):
        low, high = total * part / _PARTS, total * (part + 1) / _PARTS
        inside = [one for one in samples if low < one.consumed <= high]
        if len(inside) < 2:
            continue
        before = max(
            (one for one in samples if one.consumed <= low), default=inside[0], key=lambda s: s.seconds
        )
        seconds = inside[-1].seconds - before.seconds
        rows.append(
            [
                f"{part + 1}",
                (inside[-1].consumed - before.consumed) / max(seconds, 0.001),
                median(one.poller_mb for one in inside),
                median(one.functions_mb for one in inside),
                max(one.workers for one in inside),
            ]
        )
    return rows


def verdict(rows: Sequence[Sequence[Any]], wrong: Sequence[str]) -> list[str]:
    """What is not as it should be: the late tenths beside the early ones, each as the middle of three.

    One tenth alone tells how busy the machine was. The first counts for neither, because it starts processes and fills
    caches; in the last the partitions run dry one by one.
    """
    found = [f"{len(wrong)} answers are not the fold: {', '.join(wrong[:5])}"] if wrong else []
    if len(rows) < _PARTS:
        return [*found, "too short a run to tell whether anything grew or sagged"]
    early, late = _middle(rows[1:4]), _middle(rows[-3:])
    for name, column in (("poller", 2), ("functions", 3)):
        # A process started later than the others is no growth of any.
        if late[column] / late[4] > MOST_GROWTH * early[column] / early[4]:
            found.append(f"memory of the {name} grew from {early[column]:.0f} to {late[column]:.0f} MB")
    if late[1] < LEAST_THROUGHPUT * early[1]:
        found.append(f"throughput sagged from {early[1]:.0f} to {late[1]:.0f} events a second")
    return found


def limit(used: Mapping[str, float], seconds: float) -> str:
    """What the stack's throughput ends at: the processors, and who uses them most, or waiting."""
    processors = os.cpu_count() or 1
    busy = sum(used.values()) / (seconds * processors)
    if busy < _BUSY:
        return f"The stack used {busy:.0%} of {processors} processors: waiting limits it, not the processors."
    first, second = [*used][:2]
    return (
        f"The stack used {busy:.0%} of {processors} processors, so they limit it: {first} {used[first] / sum(used.values()):.0%}"
        f" of that, {second} {used[second] / sum(used.values()):.0%}."
    )


def _middle(rows: Sequence[Sequence[Any]]) -> list[float]:
    return [median(float(row[column]) for row in rows) for column in range(len(rows[0]))]


def plot(report: Report, samples: Sequence[Sample]) -> None:
    """Throughput and memory over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    from benchmarks.report import FOLDER

    figure, (rate, memory) = pyplot.subplots(2, 1, figsize=(8, 6), layout="constrained", sharex=True)
    step = max(len(samples) // 100, 1)
    some = samples[::step]
    rates = [
        (late.consumed - early.consumed) / (late.seconds - early.seconds) for early, late in pairwise(some)
    ]
    rate.plot([one.seconds for one in some[1:]], rates)
    rate.set_title("events a second")
    rate.set_ylim(bottom=0)
    memory.plot([one.seconds for one in some], [one.poller_mb for one in some], label="poller")
    memory.plot([one.seconds for one in some], [one.functions_mb for one in some], label="functions")
    memory.set_title("resident memory, MB")
    memory.set_xlabel("seconds")
    memory.set_ylim(bottom=0)
    memory.legend()
    FOLDER.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": report.name})
    figure.savefig(FOLDER / f"{report.name}.svg", metadata={"Date": None})
    pyplot.close(figure)


@expected_failures
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="about so many (default: %(default)s)")
    parser.add_argument(
        "--sample", type=int, default=200, help="batches to hold against the fold (default: %(default)s)"
    )
    parser.add_argument(
        "--broker", default="kafka", help="as RAS_BROKER: kafka (default) or embedded, which needs no Java"
    )
    parser.add_argument("--table", default="dynoxide", help="as RAS_DYNAMODB: dynoxide (default) or emulator")
    options = parser.parse_args()
    os.environ |= {"RAS_BROKER": options.broker, "RAS_DYNAMODB": options.table}
    batches = max(options.events // workload.EVENTS_OF_BATCH[MIX], SIDE_BY_SIDE)
    report = Report("scale", f"make scale EVENTS={options.events}")
    with tempfile.TemporaryDirectory(prefix="ras-scale-") as folder:
        state = StackDir(Path(folder))
        try:
            running = stack.up(state, say=lambda step: print(step, file=sys.stderr))
            watch = Watch(running, state)
            drive(running, watch, batches)
            asked, wrong = differing(running, batches, options.sample)
        finally:
            stack.down(state)
    samples = watch.samples
    rows = parts(samples)
    problems = verdict(rows, wrong)
    last = samples[-1]
    whole = Table("whole", "The run", ["what", "found"])
    whole.rows = [
        ["events", last.consumed],
        ["batches", batches],
        ["seconds", last.seconds],
        ["events a second", last.consumed / last.seconds],
        ["batches held against the fold", asked],
        ["of these different", len(wrong)],
        ["verdict", "; ".join(problems) or "memory flat, throughput steady, answers right"],
    ]
    limits = Table("limits", "Processor seconds, of what the machine had", ["part", "seconds", "share"])
    limits.note = limit(watch.processor_seconds, last.seconds)
    had = last.seconds * (os.cpu_count() or 1)
    limits.rows = [
        [part, round(used, 1), f"{used / had:.0%}"] for part, used in watch.processor_seconds.items() if used
    ]
    columns = ["tenth", "events a second", "poller, MB", "functions, MB", "processes"]
    report.tables = [whole, limits, Table("tenths", "In tenths of the events", columns, rows)]
    plot(report, samples)
    report.write()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
