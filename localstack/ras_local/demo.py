"""The demonstration: sample events in, progress, answers out, and two refusals."""

from __future__ import annotations

import contextlib
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from ras import stack_file
from ras.dashboard.serve import open_in_browser
from ras.errors import FailedError
from ras.kafka.publish import publish, read_events
from ras.state_folder import REPOSITORY
from ras.terminal import plain, print_json, table
from result_aggregator.domain.statuses import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PARTIALLY_COMPLETED,
    PROCESSING,
)
from result_aggregator.names import GATEWAY_CALLER
from result_aggregator.topics import TOPICS
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ras_local import stack as stacks
from ras_local.callers import NOT_ALLOWED
from ras_local.stack import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ras.kafka.lag import Progress as TopicProgress
    from ras.stack_file import Stack
    from rich.console import Console
    from rich.table import Table

    from ras_local.settings import StackDir

EVENTS = REPOSITORY / "tests" / "events"
EXPECTATIONS = REPOSITORY / "tests" / "expectations"

_STYLE = {
    COMPLETED: "green",
    PARTIALLY_COMPLETED: "yellow",
    FAILED: "red",
    PROCESSING: "cyan",
    CANCELLED: "magenta",
}


def run(state: StackDir, console: Console, *, keep: bool, look: bool = False) -> bool:
    """Show the service at work. True if everything was as expected; the stack is stopped again unless `keep`.

    With `look` it ends on the dashboard, in the browser, until Ctrl-C. A stack that is up already is used and left running. Raises OperatorError for what went wrong on the way.
    """
    begun = time.monotonic()
    was_up = stacks.is_up(state)
    timings = Timings(say=lambda text: console.print(f"  [green]✓[/] {text}"))
    console.print("\n[bold]Starting the stack[/]")
    try:
        if was_up:
            console.print("  it is up already, and stays up afterwards")
        stack = stacks.up(state, say=timings.say)
        as_expected = _show(stack, console, timings, fresh=not was_up)
        if look:
            _look(stack, state, console)
    finally:
        if not keep and not was_up:
            console.print("\n[bold]Stopping[/]")
            with timings.step("everything stopped"):
                stacks.down(state)
    total = time.monotonic() - begun
    outcome = "[green]everything as expected" if as_expected else "[red]not everything as expected"
    console.print(f"\n[bold]{outcome}[/], {total:.1f} s in all")
    if keep or was_up:
        console.print(f"The stack stays up: {state.stack_file}. Stop it with `make down`.")
    return as_expected


def _look(stack: Stack, state: StackDir, console: Console) -> None:
    """Open the dashboard and wait for Ctrl-C, which is not an error here but the end."""
    console.print(f"\n[bold]The dashboard[/]: {stack.dashboard_url}  (Ctrl-C ends the demonstration)")
    with contextlib.suppress(KeyboardInterrupt):
        open_in_browser(stack.dashboard_url, state)
        while True:
            time.sleep(3600)


def _show(stack: Stack, console: Console, timings: Timings, *, fresh: bool) -> bool:
    console.print("\n[bold]Events in[/]")
    files = sorted(EVENTS.glob("*.jsonl"))
    # The samples hold topics as well that the service does not read: the platform's brokers have them, this one does not.
    events = [event for file in files for event in read_events(file) if event.topic in TOPICS]
    # A stack that is up already may hold somebody's: they are none of the demo's.
    earlier = set(_dead_letters(stack))
    with timings.step(f"published {len(events)} events of {len(files)} files to {stack.bootstrap_servers}"):
        publish(stack.bootstrap_servers, events)
    with timings.step("consumed by the functions"):
        _follow(stack, console, timeout_s=120)

    console.print("\n[bold]Results out[/]")
    with timings.step(f"queried as {GATEWAY_CALLER}"):
        batches = _batches(stack, sorted(_owners(event.value for event in events)))
    console.print(_batch_table(batches))
    chosen = max(batches, key=_telling, default=None)
    if chosen is not None:
        _show_batch(stack, console, chosen["batch_id"])

    console.print("\n[bold]Nobody else gets in[/]")
    path = (
        f"/internal/v1/batches/{chosen['batch_id']}/status" if chosen else "/internal/v1/batches/none/status"
    )
    refused = [_refused(stack, console, path, caller) for caller in (None, NOT_ALLOWED)]

    console.print("\n[bold]Checked[/]")
    problems = _mismatches(batches) if fresh else []
    dead = [letter for letter in _dead_letters(stack) if letter not in earlier]
    checks = {f"{len(batches)} batches answer as tests/expectations says": not problems} if fresh else {}
    if not fresh:
        console.print("  - not the answers: the stack was up already, and may have other events")
    checks |= {
        "no new dead letters": not dead,
        "both refusals are 403": all(refused),
    }
    for check, passed in checks.items():
        console.print(f"  {'[green]✓' if passed else '[red]✗'}[/] {check}")
    for problem in [*problems, *dead][:20]:
        console.print(f"    {problem}", style="red", markup=False)
    return all(checks.values())


# --- consuming ---


def _follow(stack: Stack, console: Console, *, timeout_s: float) -> None:
    """Show how far each topic is until all of it is consumed."""
    pace = _Pace()
    if not console.is_terminal:
        stack_file.wait_consumed(stack, timeout_s=timeout_s, on_progress=partial(_tell, console, pace))
        return
    with Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        all_topics = bars.add_task("[bold]all topics", total=None, pace="")
        each: dict[str, TaskID] = {}

        def update(state: Mapping[str, TopicProgress]) -> None:
            done, end = _totals(state)
            bars.update(all_topics, completed=done, total=end, pace=pace.of(done))
            for name, topic in state.items():
                if topic.end:
                    if name not in each:
                        each[name] = bars.add_task(name, total=topic.end, pace="")
                    bars.update(each[name], completed=topic.committed, total=topic.end)

        stack_file.wait_consumed(stack, timeout_s=timeout_s, on_progress=update)


def _tell(console: Console, pace: _Pace, state: Mapping[str, TopicProgress]) -> None:
    done, end = _totals(state)
    if pace.has_moved(done):
        console.print(f"  consumed {done} of {end} events, {pace.of(done)}")


def _totals(state: Mapping[str, TopicProgress]) -> tuple[int, int]:
    return sum(topic.committed for topic in state.values()), sum(topic.end for topic in state.values())


class _Pace:
    """Events a second since the first look, whatever was consumed before that."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._first: int | None = None
        self._last = -1

    def of(self, done: int) -> str:
        if self._first is None:
            self._first = done
        return f"{(done - self._first) / max(time.monotonic() - self._begun, 0.1):.0f} events/s"

    def has_moved(self, done: int) -> bool:
        moved = done != self._last
        self._last = done
        return moved


# --- answers ---


def _owners(values: Iterator[bytes | None]) -> set[str]:
    """Every `user_id` that the sample events name."""
    return {owner for value in values if value is not None for owner in _user_ids(json.loads(value))}


def _user_ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("user_id"), str):
            yield value["user_id"]
        for inner in value.values():
            yield from _user_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _user_ids(inner)


def _batches(stack: Stack, users: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for user in users:
        answer = stack.get(f"/internal/v1/batches/user/{user}?limit=100")
        if answer.status_code != 200:
            raise FailedError(
                f"the batches of {user} were answered with {answer.status_code}: {answer.text[:500]}"
            )
        found += answer.json()["batches"]
    return found


def _batch_table(batches: Sequence[Mapping[str, Any]]) -> Table:
    listing = table(
        "batch",
        "user",
        "overall status",
        "done",
        "failed",
        "essays",
        "phase",
        numbers=("done", "failed", "essays"),
    )
    for batch in batches:
        status = batch["overall_status"]
        listing.add_row(
            batch["batch_id"],
            batch["user_id"],
            f"[{_STYLE.get(status, 'default')}]{status}[/]",
            str(batch["completed_essay_count"]),
            str(batch["failed_essay_count"]),
            str(batch["essay_count"]),
            batch["current_phase"] or "",
        )
    return listing


def _telling(batch: Mapping[str, Any]) -> tuple[int, int]:
    """Which batch tells most in full: one that went partly wrong, and small enough for a screen."""
    rank = {PARTIALLY_COMPLETED: 2, FAILED: 1}.get(batch["overall_status"], 0)
    return rank, -abs(batch["essay_count"] - 5)


def _show_batch(stack: Stack, console: Console, batch_id: str) -> None:
    path = f"/internal/v1/batches/{batch_id}/status"
    answer = stack.get(path)
    console.print(f"\n[bold]GET {path}[/] as {GATEWAY_CALLER}: {answer.status_code}")
    if answer.status_code != 200:
        raise FailedError(f"the batch was answered with {answer.status_code}: {answer.text[:500]}")
    batch = answer.json()
    essays = batch.pop("essays")
    print_json(console, batch)
    listing = table(*_ESSAY_COLUMNS, numbers=("corrections", "rank", "score"))
    for essay in essays:
        listing.add_row(*(plain(_cell(essay, names)) for names in _ESSAY_COLUMNS.values()))
    console.print(listing)


# What an essay's row shows: the first of these fields that holds anything.
_ESSAY_COLUMNS = {
    "essay": ("essay_id",),
    "file": ("filename",),
    "spellcheck": ("spellcheck_status",),
    "corrections": ("spellcheck_correction_count",),
    "cj": ("cj_assessment_status",),
    "rank": ("cj_rank",),
    "score": ("cj_score",),
    "error": ("spellcheck_error", "cj_assessment_error"),
}


def _cell(essay: Mapping[str, Any], names: Sequence[str]) -> str:
    value = next((essay[name] for name in names if essay.get(name) is not None), "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _refused(stack: Stack, console: Console, path: str, caller: str | None) -> bool:
    answer = stack.get(path, caller=caller)
    who = f"signed as {caller}" if caller else "unsigned"
    console.print(f"  GET {path}\n    {who}: [bold]{answer.status_code}[/] {plain(answer.text.strip())}")
    return answer.status_code == 403


# --- checks ---


def _mismatches(batches: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the listings say otherwise than the expectations that the repository holds for its samples."""
    expected: dict[str, dict[str, Any]] = {}
    for file in EXPECTATIONS.glob("*.json"):
        if file.name != "listing.json":
            expected |= json.loads(file.read_text(encoding="utf-8"))
    answered = {batch["batch_id"]: batch for batch in batches}
    problems = [f"{batch_id} is missing" for batch_id in expected.keys() - answered.keys()]
    problems += [f"{batch_id} was not expected" for batch_id in answered.keys() - expected.keys()]
    fields = ("user_id", "overall_status", "essay_count", "completed_essay_count", "failed_essay_count")
    for batch_id in expected.keys() & answered.keys():
        problems += [
            f"{batch_id}: {name} is {answered[batch_id].get(name)!r}, expected {expected[batch_id][name]!r}"
            for name in fields
            if answered[batch_id].get(name) != expected[batch_id][name]
        ]
    return problems


def _dead_letters(stack: Stack) -> list[str]:
    listed = stack.cloud.s3.list_objects_v2(Bucket=stack.dead_letter_bucket)
    return [f"dead letter: {entry.get('Key', '')}" for entry in listed.get("Contents", [])]
