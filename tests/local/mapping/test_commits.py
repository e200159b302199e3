"""How far a partition may be committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from ras_local.mapping.commits import Ledger

from tests.local.mapping.made import records

if TYPE_CHECKING:
    from ras_local.mapping.records import KafkaRecord


class TestLedger:
    """Reads are sequential per partition, offsets are committed when the outcome is known (processing messages: MSK)."""

    def ledger(self, *read: KafkaRecord) -> Ledger:
        made = Ledger()
        for each in read:
            made.read(each)
        return made

    def positions(self, ledger: Ledger) -> dict[str, int]:
        return {lane: offset for lane, (_, _, offset) in ledger.to_commit().items()}

    def test_nothing_is_committed_past_a_record_without_an_outcome(self) -> None:
        ledger = self.ledger(*records(4, 5, 6, 7))
        ledger.settle(records(5, 6))
        assert self.positions(ledger) == {}
        ledger.settle(records(4))

        assert self.positions(ledger) == {"essays-0": 7}

    def test_partitions_go_on_by_themselves(self) -> None:
        ledger = self.ledger(*records(1, 2), *records(9, partition=3))
        ledger.settle(records(9, partition=3))

        assert self.positions(ledger) == {"essays-3": 10}

    def test_what_is_committed_is_not_committed_again(self) -> None:
        ledger = self.ledger(*records(1, 2))
        ledger.settle(records(1))
        ledger.committed(ledger.to_commit())
        assert self.positions(ledger) == {}
        ledger.settle(records(2))

        assert self.positions(ledger) == {"essays-0": 3}

    def test_gaps_in_the_offsets_do_not_matter(self) -> None:
        ledger = self.ledger(*records(1, 5, 9))
        ledger.settle(records(1, 5))

        assert self.positions(ledger) == {"essays-0": 6}

    def test_a_partition_that_was_taken_away_has_no_say(self) -> None:
        ledger = self.ledger(*records(1, 2))
        ledger.forget({"essays-0"})
        ledger.settle(records(1, 2))

        assert self.positions(ledger) == {}

    def test_reading_that_is_set_back_starts_anew(self) -> None:
        ledger = self.ledger(*records(8, 9))
        for each in records(0, 1):
            ledger.read(each)
        ledger.settle(records(8, 9))
        assert self.positions(ledger) == {}
        ledger.settle(records(0))

        assert self.positions(ledger) == {"essays-0": 1}

    def test_the_end_of_a_partition_is_committed_once_nothing_before_it_is_open(self) -> None:
        """It lies past the last record where that ended a transaction, or where what came after it was aborted."""
        ledger = self.ledger(*records(1, 3))
        ledger.reached_end("essays", 0, 7)
        ledger.settle(records(3))
        assert self.positions(ledger) == {}
        ledger.settle(records(1))

        assert self.positions(ledger) == {"essays-0": 7}

    def test_an_end_that_was_read_past_has_no_say(self) -> None:
        ledger = self.ledger(*records(1))
        ledger.reached_end("essays", 0, 3)
        ledger.read(records(3)[0])
        ledger.settle(records(1))
        assert self.positions(ledger) == {"essays-0": 2}
        ledger.settle(records(3))

        assert self.positions(ledger) == {"essays-0": 4}

    def test_the_end_of_a_partition_without_records_is_committed_unless_it_never_had_any(self) -> None:
        ledger = self.ledger()
        ledger.reached_end("essays", 0, 0)
        ledger.reached_end("essays", 1, 5)

        assert self.positions(ledger) == {"essays-1": 5}

    @given(st.permutations(range(12)), st.integers(0, 12))
    def test_the_position_is_the_first_offset_without_an_outcome(self, order: list[int], ended: int) -> None:
        ledger = self.ledger(*records(*range(12)))
        for offset in order[:ended]:
            ledger.settle(records(offset))
        first_open = min(set(range(12)) - set(order[:ended]), default=12)

        assert self.positions(ledger) == ({"essays-0": first_open} if first_open else {})
