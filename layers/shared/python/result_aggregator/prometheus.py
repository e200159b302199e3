"""`GET /metrics`: what all instances have counted, as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from result_aggregator.metrics import METRICS, Kind, Series, Total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SLOT_S = 60
"""An instance asks CloudWatch at most once in each minute of the clock, which is also as fine as CloudWatch keeps them."""


class Totals(Protocol):
    """Where the counts of all instances are: `store.metric_store.MetricStore`."""

    def totals(self, start: datetime, end: datetime) -> Mapping[Series, Total]:
        """What each series came to from `start` to `end`, both midnight UTC. Raises StoreError."""
        ...


class Scrape(NamedTuple):
    """An answer, and for how many seconds there is no newer one."""

    text: str
    max_age: int


class Exposition:
    """The counts since the beginning of the month (UTC).

    A counter may only grow, or begin again near zero: a scraper takes any step down for a restart, and all of what is
    left for new events. A window that moves along would drop its oldest events and so step down a little, again and
    again; a fixed beginning must be young enough for CloudWatch to still have it (15 months). At the turn of a month
    the counters begin at zero, and what was counted between a scraper's last look and the turn is not seen by it.

    Instances do not know of each other, and the answer that one keeps may be older than what another has given. So
    they all change to a new answer at the same moment, and samples carry that moment as their time: a scraper that comes
    twice within the minute drops the second answer as a repetition, instead of seeing a counter step down.
    """

    def __init__(self, store: Totals, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._slot = -1
        self._text = ""

    def scrape(self) -> Scrape:
        """The answer of this minute, asked for once. Raises StoreError."""
        now = int(self._clock())
        slot = now - now % SLOT_S
        if slot != self._slot:
            today = datetime.fromtimestamp(slot, UTC).replace(hour=0, minute=0, second=0)
            found = self._store.totals(today.replace(day=1), today + timedelta(days=1))
            self._text, self._slot = render(found, slot * 1000), slot
        return Scrape(self._text, slot + SLOT_S - now)


def render(totals: Mapping[Series, Total], timestamp_ms: int) -> str:
    """Every metric of the registry, its series in the order of their labels, each sample with the time given."""
    lines: list[str] = []
    for metric in METRICS.values():
        lines += (f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}")
        found = {series.values: total for series, total in totals.items() if series.metric == metric}
        for values, total in sorted(found.items()):
            labels = _labels(metric.labels, values)
            lines += (
                f"{metric.name}{suffix}{labels} {number} {timestamp_ms}"
                for suffix, number in _samples(metric.kind, total)
            )
    return "\n".join(lines) + "\n"


def _samples(kind: Kind, total: Total) -> Iterator[tuple[str, str]]:
    if kind is Kind.COUNTER:
        yield "", _number(total.sum)
    else:
        yield "_sum", _number(total.sum)
        yield "_count", _number(total.samples)


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = (f'{name}="{_escaped(value, quote=True)}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    # Sums of seconds to the millisecond: CloudWatch adds in no certain order, and a sum whose last bits went down
    # would be a counter that began again.
    return str(int(value)) if float(value).is_integer() else repr(round(float(value), 3))
