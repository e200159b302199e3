"""Load on the local API: rising concurrency, then a table that throttles and one that hangs, and the recovery from both.

Callers are threads that ask, wait for the answer and ask again, over signed HTTP on connections that they keep. DynamoDB
calls are counted where they pass: for the time of the load the query function's table is behind a proxy.
"""

from __future__ import annotations

import json
import math
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import requests
from ras import interrupts, signed_http, stack_file
from ras.kafka.publish import publish
from ras.state_folder import LOCAL
from ras.terminal import console, expected_failures, table
from ras_local import stack as stacks
from ras_local.servers import dynoxide
from ras_local.settings import StackDir
from result_aggregator.domain.statuses import COMPLETED, PROCESSING
from result_aggregator.names import ALLOWED_CALLERS, RETRY_AFTER_S, function_name

from benchmarks import load_data
from benchmarks.report import machine
from benchmarks.table_proxy import Capacity, TableProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ras.stack_file import Stack
    from rich.console import Console

    from benchmarks.load_data import Batch

FUNCTION = function_name(LOCAL, "query")
TABLE_VARIABLE = "AWS_ENDPOINT_URL_DYNAMODB"
PATIENCE_S = 60

# What callers ask, and how often of a hundred times: pollers of ordinary batches mostly, who have seen the answer before.
MIX: dict[str, int] = {
    "status": 35,
    "status of an own batch": 20,
    "status unless changed": 15,
    "listing": 8,
    "listing by status": 12,
    "status of a large batch": 3,
    "missing batch": 4,
    "someone else's batch": 3,
}
WANTED: dict[str, set[int]] = {
    **{kind: {200} for kind in MIX},
    "status unless changed": {200, 304},
    "missing batch": {404},
    "someone else's batch": {404},
}
REFUSED_FOR_NOW = {429, 503}
IN_TROUBLE = ("table throttles", "table hangs")
RECOVERED = ("after throttling", "after hanging")


@dataclass(frozen=True)
class Sample:
    """One request: what was asked, what came back (0: nothing), after how many seconds."""

    kind: str
    status: int
    seconds: float
    retry_after: bool = False


@dataclass
class Step:
    """What one step measured. Times are milliseconds of all answers, refusals too."""

    name: str
    concurrency: int
    seconds: float
    requests: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]
    wrong: dict[str, int]
    """Answers other than the question's own, other than 429 and 503 as well."""
    without_retry_after: int
    """429 and 503 that do not say when to ask again."""
    dynamodb_calls: dict[str, int]
    calls_per_request: float

    @property
    def refused(self) -> int:
        return sum(number for status, number in self.statuses.items() if int(status) in REFUSED_FOR_NOW)


@dataclass
class Report:
    """A whole run; `verdict` is empty when it is as it should be."""

    machine: dict[str, Any]
    mix: dict[str, int]
    batches: dict[str, int]
    steps: list[Step] = field(default_factory=list)
    interrupted: bool = False
    verdict: list[str] = field(default_factory=list)


class Caller:
    """One caller: its connection, its dice, and the ETags that it has seen."""

    def __init__(self, stack: Stack, batches: Sequence[Batch], mix: Mapping[str, int], seed: int) -> None:
        self._stack = stack
        self._mix = mix
        self._batches = [batch for batch in batches if batch.essays <= 30]
        self._large = [batch for batch in batches if batch.essays > 30] or self._batches
        self._dice = random.Random(seed)  # noqa: S311 - chooses questions, keeps no secret
        self._credentials = stack.callers[ALLOWED_CALLERS[seed % len(ALLOWED_CALLERS)]]
        self._etags: dict[str, str] = {}
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def ask(self) -> Sample:
        """One question of the mix."""
        (kind,) = self._dice.choices(list(self._mix), list(self._mix.values()))
        path, headers = self._question(kind)
        prepared = signed_http.prepare(
            f"{self._stack.api_url}{path}",
            region=self._stack.region,
            credentials=self._credentials,
            headers=headers,
        )
        begun = time.perf_counter()
        try:
            answer = self._session.send(prepared, timeout=PATIENCE_S)
        except requests.RequestException:
            return Sample(kind, 0, time.perf_counter() - begun)
        took = time.perf_counter() - begun
        if answer.status_code == 200 and "ETag" in answer.headers:
            self._etags[path] = answer.headers["ETag"]
        return Sample(kind, answer.status_code, took, "Retry-After" in answer.headers)

    def _question(self, kind: str) -> tuple[str, dict[str, str]]:
        batch = self._dice.choice(self._large if kind == "status of a large batch" else self._batches)
        status = f"/internal/v1/batches/{batch.batch_id}/status"
        listing = f"/internal/v1/batches/user/{batch.user_id}?limit=20"
        match kind:
            case "status of an own batch":
                return f"{status}?user_id={batch.user_id}", {}
            case "status unless changed":
                return status, {"If-None-Match": self._etags[status]} if status in self._etags else {}
            case "listing":
                return listing, {}
            case "listing by status":
                return f"{listing}&status={COMPLETED if batch.ended else PROCESSING}", {}
            case "missing batch":
                return status.replace(batch.batch_id, "load-missing"), {}
            case "someone else's batch":
                return f"{status}?user_id=load-stranger", {}
        return status, {}


@dataclass
class Load:
    """Steps of load on a stack whose query function reads its table through the proxy."""

    stack: Stack
    proxy: TableProxy
    batches: Sequence[Batch]
    seconds: float
    warm_up_s: float = 1
    say: Callable[[str], None] = lambda _: None
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Ends the step that runs with what it has, and the steps after it before they begin."""

    def step(
        self, name: str, concurrency: int, mix: Mapping[str, int] = MIX, seconds: float | None = None
    ) -> Step:
        """So many callers at once, for so long; every question that was asked in that time is waited for."""
        if self.warm_up_s:
            self._drive(concurrency, mix, self.warm_up_s, say=None)
        self.proxy.take_calls()
        begun = time.monotonic()
        samples = self._drive(concurrency, mix, seconds or self.seconds, say=name)
        took = time.monotonic() - begun
        return measured(name, concurrency, samples, took, self.proxy.take_calls())

    def _drive(
        self, concurrency: int, mix: Mapping[str, int], seconds: float, say: str | None
    ) -> list[Sample]:
        samples: list[Sample] = []
        end = time.monotonic() + seconds

        def call(seed: int) -> None:
            caller = Caller(self.stack, self.batches, mix, seed)
            samples.append(caller.ask())  # one at least, however slow the machine
            while time.monotonic() < end and not self.interrupted.is_set():
                samples.append(caller.ask())
            caller.close()

        callers = [threading.Thread(target=call, args=(seed,)) for seed in range(concurrency)]
        for caller in callers:
            caller.start()
        for caller in callers:
            while caller.is_alive():
                caller.join(0.2)
                if self.interrupted.is_set():
                    self.proxy.wake()
                if say:
                    left = max(end - time.monotonic(), 0)
                    self.say(f"{say}: {concurrency} callers, {len(samples)} answers, {left:.0f} s to go")
        return samples


def measured(
    name: str, concurrency: int, samples: Sequence[Sample], seconds: float, calls: Counter[str]
) -> Step:
    """A step's numbers."""
    times = sorted(sample.seconds * 1000 for sample in samples if sample.status)
    wrong = Counter(
        f"{sample.kind}: {sample.status or 'no answer'}"
        for sample in samples
        if sample.status not in WANTED[sample.kind] | REFUSED_FOR_NOW
    )
    statuses = Counter(sample.status for sample in samples)
    refused = [sample for sample in samples if sample.status in REFUSED_FOR_NOW]
    return Step(
        name=name,
        concurrency=concurrency,
        seconds=round(seconds, 2),
        requests=len(samples),
        requests_per_second=round(len(samples) / seconds, 1),
        p50_ms=round(percentile(times, 0.5), 1),
        p95_ms=round(percentile(times, 0.95), 1),
        p99_ms=round(percentile(times, 0.99), 1),
        statuses={str(status): number for status, number in sorted(statuses.items())},
        wrong=dict(wrong),
        without_retry_after=sum(not sample.retry_after for sample in refused),
        dynamodb_calls=dict(sorted(calls.items())),
        calls_per_request=round(calls.total() / max(len(samples), 1), 3),
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """The nearest-rank percentile of an ordered sequence; 0 of an empty one."""
    return ordered[max(math.ceil(part * len(ordered)), 1) - 1] if ordered else 0.0


@contextmanager
def behind_proxy(stack: Stack, table_url: str) -> Iterator[TableProxy]:
    """Let the query function reach its table through a proxy, and as before afterwards."""
    functions = stack.cloud.functions
    settings = functions.get_function_configuration(FunctionName=FUNCTION)["Environment"]["Variables"]

    def configure(variables: Mapping[str, str]) -> None:
        functions.update_function_configuration(FunctionName=FUNCTION, Environment={"Variables": variables})

    with TableProxy(table_url) as proxy:
        configure({**settings, TABLE_VARIABLE: proxy.url})
        try:
            yield proxy
        finally:
            with interrupts.uninterrupted():
                configure(settings)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C, or being terminated, sets the event and does not end the program: what was measured shall be told."""
    interrupted = threading.Event()
    before = {
        each: signal.signal(each, lambda *_: interrupted.set()) for each in (signal.SIGINT, signal.SIGTERM)
    }
    yield interrupted
    for each, handler in before.items():
        signal.signal(each, handler)


def table_url(stack: Stack, state: StackDir) -> str:
    """Where the stack's table is."""
    if dynoxide.PROCESS in stacks.expected(state):
        return dynoxide.endpoint(state)
    return stack.endpoint_url


def run(
    load: Load,
    report: Report,
    concurrencies: Sequence[int],
    *,
    overload: bool,
    tell: Callable[[Step], None] = lambda _: None,
) -> None:
    """All steps, each put into the report and told when it is done; ends early when it is interrupted."""

    def step(name: str, concurrency: int, seconds: float | None = None) -> None:
        if not load.interrupted.is_set():
            done = load.step(name, concurrency, seconds=seconds)
            report.steps.append(done)
            tell(done)

    for concurrency in concurrencies:
        step("rising", concurrency)
    if overload and not load.interrupted.is_set():
        best = max(report.steps, key=lambda done: done.requests_per_second)
        most = max(concurrencies)
        # A quarter, because refused callers come again at once, and so ask for more than before.
        load.proxy.capacity = Capacity(max(best.requests_per_second * best.calls_per_request / 4, 1))
        step("table throttles", most)
        load.proxy.capacity = None
        step("after throttling", best.concurrency)
        load.proxy.hang()
        # Longer than a function tries, so that every caller sees a refusal.
        load.warm_up_s, before = 0, load.warm_up_s
        step("table hangs", min(most, 8), max(load.seconds, 5))
        load.warm_up_s = before
        load.proxy.wake()
        step("after hanging", best.concurrency)
    report.interrupted = load.interrupted.is_set()
    report.verdict = verdict(report.steps)


def verdict(steps: Sequence[Step]) -> list[str]:
    """What is not as it should be. Refusals of rising load are no fault: where they begin is what it is to find."""
    found = [
        f"{step.name}, {step.concurrency} callers: wrong answers {step.wrong}" for step in steps if step.wrong
    ]
    for step in steps:
        if step.without_retry_after:
            found.append(f"{step.name}: {step.without_retry_after} refusals without Retry-After")
        if step.name in IN_TROUBLE and not step.refused:
            found.append(f"{step.name}: nothing was refused")
        if step.name in RECOVERED and step.refused:
            found.append(f"{step.name}: {step.refused} requests refused")
    return found


def plot(report: Report, path: Path) -> None:
    """Throughput, latency, answers and DynamoDB calls of every step, in one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    steps = report.steps
    labels = [
        f"{step.concurrency}" if step.name == "rising" else f"{step.name} ({step.concurrency})"
        for step in steps
    ]
    figure, ((rate, latency), (answers, calls)) = pyplot.subplots(2, 2, figsize=(13, 9), layout="constrained")
    rate.bar(labels, [step.requests_per_second for step in steps])
    rate.set_title("requests a second")
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        latency.plot(
            labels, [getattr(step, name) for step in steps], marker="o", label=name.removesuffix("_ms")
        )
    latency.set_yscale("log")
    latency.set_title("time to the answer, ms")
    latency.legend()
    bottom = [0.0] * len(steps)
    for status in sorted({status for step in steps for status in step.statuses}):
        share = [100 * step.statuses.get(status, 0) / max(step.requests, 1) for step in steps]
        answers.bar(labels, share, bottom=bottom, label="no answer" if status == "0" else status)
        bottom = [below + part for below, part in zip(bottom, share, strict=True)]
    answers.set_title("answers by status, %")
    answers.legend()
    calls.bar(labels, [step.calls_per_request for step in steps])
    calls.set_title("DynamoDB calls per request")
    for axes in figure.axes:
        axes.set_xlabel("callers at once")
        axes.tick_params(axis="x", labelrotation=20)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def told(step: Step) -> str:
    """A step that is done, in a line."""
    return (
        f"{step.name}, {step.concurrency} callers: {step.requests_per_second:.0f} requests/s,"
        f" p95 {step.p95_ms:.0f} ms, {step.refused} refused"
    )


COLUMNS = ("step", "callers", "requests", "req/s", "p50 ms", "p95 ms", "p99 ms", "calls/req", "answers")


def show(report: Report, out: Console) -> None:
    listing = table(*COLUMNS, numbers=COLUMNS[1:8])
    for step in report.steps:
        listing.add_row(
            step.name,
            str(step.concurrency),
            str(step.requests),
            f"{step.requests_per_second:.0f}",
            f"{step.p50_ms:.0f}",
            f"{step.p95_ms:.0f}",
            f"{step.p99_ms:.0f}",
            f"{step.calls_per_request:.2f}",
            "  ".join(
                f"{status if status != '0' else 'none'}: {number}" for status, number in step.statuses.items()
            ),
        )
    out.print(listing)
    for problem in report.verdict:
        out.print(f"[red]{problem}[/]")


def _concurrencies(_: click.Context, __: click.Parameter, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter("whole numbers with commas between them, such as 1,2,4") from None
    if not all(1 <= number <= 256 for number in numbers):
        raise click.BadParameter("each from 1 to 256")
    return sorted(set(numbers))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--concurrency",
    default="1,2,4,8,16,32",
    show_default=True,
    callback=_concurrencies,
    help="Callers at once, step by step.",
)
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(0.5, 3600), help="Of each step."
)
@click.option(
    "--batches", default=40, show_default=True, type=click.IntRange(1, 5000), help="Of 30 essays each."
)
@click.option("--large", default=2, show_default=True, type=click.IntRange(0, 100), help="Large batches.")
@click.option(
    "--large-essays", default=400, show_default=True, type=click.IntRange(31, 5000), help="Of each of them."
)
@click.option(
    "--overload/--no-overload",
    default=True,
    show_default=True,
    help="Afterwards let the table throttle, then hang, and measure the recovery.",
)
@click.option(
    "--output",
    default=".build/load",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of load.json and load.png.",
)
@expected_failures
def main(
    concurrency: list[int],
    seconds: float,
    batches: int,
    large: int,
    large_essays: int,
    output: Path,
    *,
    overload: bool,
) -> None:
    """Drive the API of the stack on this machine at rising concurrency, and tell how it holds up.

    Uses the stack that is up (`ras up`), or starts one and stops it again. Publishes batches of its own, whose names
    begin with load-. Ctrl-C ends it early, with a report of what was measured. Exits with 1 when an answer was wrong,
    a refusal came without Retry-After, or it did not recover.
    """  # fmt: skip
    out = console(stderr=True)
    state = StackDir.default()
    was_up = stacks.is_up(state)
    made = load_data.batches(batches, large, large_essays)
    report = Report(
        machine(), MIX, {"ordinary": batches, "large": large, "essays of a large one": large_essays}
    )
    try:
        with out.status("starting the stack"):
            stack = stacks.up(state)
        with out.status("publishing the batches"):
            done = publish(stack.bootstrap_servers, load_data.events(made))
        with out.status(f"waiting until {done.count} events are consumed"):
            stack_file.wait_consumed(stack, timeout_s=900)
        with (
            interruptible() as interrupted,
            behind_proxy(stack, table_url(stack, state)) as proxy,
            out.status("load") as line,
        ):
            load = Load(stack, proxy, made, seconds, say=line.update, interrupted=interrupted)
            run(load, report, concurrency, overload=overload, tell=lambda step: out.print(told(step)))
    finally:
        if not was_up:
            stacks.down(state)
    output.mkdir(parents=True, exist_ok=True)
    (output / "load.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    if report.steps:
        plot(report, output / "load.png")
    show(report, out)
    out.print(f"{output}/load.json, {output}/load.png; a refused caller is told to wait {RETRY_AFTER_S} s")
    if report.interrupted:
        sys.exit(130)
    sys.exit(1 if report.verdict else 0)


if __name__ == "__main__":
    main()
