"""Results that name no batch, and the batches that claim their essay.

Such a result is written to its essay's own item (`table_layout.own_key`), and so is the claim of each batch: by a slot
assignment, or by a summary that names the essay. Each of the two writes returns the whole item as it stands after it,
and whoever wrote brings what is there to the batches:

    writer of a result   1. result -> essay#e    learns the claims     2. result -> batch#b/e#e for each claim b
    writer of a claim    1. claim b -> essay#e   learns the results    2. results -> batch#b/e#e

DynamoDB puts the two first writes in some order, and the later one learns of the earlier one: so somebody does the second
step, whatever comes first. Whoever is killed between the steps is redelivered, finds its first write done, and learns the
same or more. What is brought is registers and times, which merge: to bring them twice changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from result_aggregator.domain import registers, table_layout
from result_aggregator.domain.phases import PHASE_NAMES
from result_aggregator.domain.store_interface import Written
from result_aggregator.domain.table_layout import Change, Times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from result_aggregator.domain.store_interface import OwnWritten
    from result_aggregator.domain.table_layout import Item

MAX_CLAIMS = 100
"""Batches that can claim an essay (the design's limit): each makes a result that names no batch one write dearer."""


def times_of(item: Item) -> Times | None:
    """What the results in an essay's own item say of the times of a batch that claims it; None where there are none."""
    firsts = [str(item[table_layout.FIRST_PREFIX + name]) for name in PHASE_NAMES if name in item]
    if not firsts:
        return None
    newest = max(time for _, time in results_of(item))
    return Times(created_at=min(firsts), updated_at=newest, started_at=min(firsts))


@dataclass(frozen=True, slots=True)
class Waiting:
    """Results by their waiting for a batch: how many began to, and how many found one."""

    began: int = 0
    ended: int = 0

    def __add__(self, other: Waiting) -> Waiting:
        return Waiting(self.began + other.began, self.ended + other.ended)


NOTHING_WAITS = Waiting()


def waiting(written: OwnWritten) -> Waiting:
    """What a change to an essay's own item began and ended, so that the difference of the sums is what waits.

    A phase's results wait once, however many there are. A change that was written by an invocation that was killed is
    counted by nobody.
    """
    item = written.item
    new = {
        name for name, fate in written.registers.items() if fate is Written.APPLIED and _is_only(item, name)
    }
    claims = table_layout.claims_of(item)
    if not claims:
        return Waiting(len(new), 0)
    taken = {batch_id for batch_id, fate in written.claims.items() if fate is Written.APPLIED}
    waited = [name for name in PHASE_NAMES if name in item and name not in new]
    return Waiting(0, len(waited) if taken == claims else 0)


def _is_only(item: Item, name: str) -> bool:
    return registers.time_of(str(item[name])) == item[table_layout.FIRST_PREFIX + name]


def results_of(item: Item) -> list[tuple[str, str]]:
    """The results in an essay's own item: phase and event time, as stored."""
    return [(name, registers.time_of(str(item[name]))) for name in PHASE_NAMES if name in item]


def targets(change: Change, item: Item) -> list[str]:
    """The batches to which a change of an essay's own item, that now is `item`, brings something."""
    claims = table_layout.claims_of(item)
    return sorted(claims if change.registers else claims & change.claims.keys())


def brought(change: Change, item: Item) -> Iterator[Change]:
    """What the writer of a change to an essay's own item has to write next, the item being `item` after it.

    To each batch: the essay's registers, then the batch's times. A batch that claims gets every result, as a copy; one
    that claimed before gets those of the change.
    """
    essay_id, times = table_layout.essay_of(change.key), times_of(item)
    if essay_id is None or times is None:
        return
    for batch_id in targets(change, item):
        essay = Change(table_layout.essay_key(batch_id, essay_id))
        for name in PHASE_NAMES:
            if name in item and name in change.registers:
                essay.set(name, str(item[name]))
            elif name in item and batch_id in change.claims:
                essay.copy(name, str(item[name]))
        yield essay
        yield Change(table_layout.batch_key(batch_id), times=times)
