"""Where reading begins."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ras.kafka.publish import Event, publish

from tests.local.mapping.bench import at, events, until

if TYPE_CHECKING:
    from tests.local.mapping.bench import Bench


class TestStartingPositions:
    """AWS Lambda developer guide, starting positions: they hold where the group has no commit, and there alone."""

    def test_reading_starts_at_a_time(self, bench: Bench, topic: str) -> None:
        """AT_TIMESTAMP. The embedded broker looks no times up, so there older records are skipped."""
        publish(bench.bootstrap_servers, events(topic, 5))
        time.sleep(0.05)
        moment = int(time.time() * 1000)
        time.sleep(0.05)
        publish(bench.bootstrap_servers, events(topic, 5, start=5))
        bench.settings = replace(
            bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=moment
        )
        bench.restart()
        until(lambda: len(bench.items) == 5, "the later half")
        time.sleep(0.3)

        assert len(bench.items) == 5
        assert bench.mapping.counters.read - bench.mapping.counters.skipped == 5

    def test_behind_the_starting_time_every_record_comes(self, bench: Bench, topic: str) -> None:
        """Kafka's look-up gives an offset: behind it come records of any time, as producers set them."""
        now = int(time.time() * 1000)
        at(bench.bootstrap_servers, topic, [now - 5000, now - 100, now + 10, now - 3000, now + 20])
        bench.settings = replace(bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=now)
        bench.restart()
        until(lambda: len(bench.items) == 3, "from the first one that is late enough")
        time.sleep(0.3)

        assert [offset for _, offset in bench.items] == [2, 3, 4]

    def test_a_time_after_the_last_record_means_the_end(self, bench: Bench, topic: str) -> None:
        """No record is late enough yet: the next one that is, is the first."""
        now = int(time.time() * 1000)
        at(bench.bootstrap_servers, topic, [now - 5000] * 3)
        bench.settings = replace(bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=now)
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        at(bench.bootstrap_servers, topic, [now + 10])
        until(lambda: len(bench.items) == 1, "the first of its time")

        assert bench.items == [(f"{topic}-0", 3)]

    @pytest.mark.parametrize("position", ["LATEST", "AT_TIMESTAMP"])
    def test_a_group_with_commits_goes_on_from_them(self, bench: Bench, topic: str, position: str) -> None:
        """AWS Lambda developer guide, consumer group ID: with commits, the starting position is ignored."""
        publish(bench.bootstrap_servers, [Event(topic, b"x", partition=0) for _ in range(5)])
        bench.mapping.start()
        until(lambda: bench.lag == 0, "a commit in every partition that has records")
        bench.stop()
        publish(bench.bootstrap_servers, [Event(topic, b"x", partition=0) for _ in range(5)])
        bench.settings = replace(
            bench.settings,
            starting_position=position,
            starting_timestamp_ms=int(time.time() * 1000) + 60_000 if position == "AT_TIMESTAMP" else None,
        )
        bench.restart()
        until(lambda: len(bench.items) == 10, "what came while nobody read")

        assert bench.items == [(f"{topic}-0", offset) for offset in range(10)]

    def test_reading_starts_at_the_end_with_latest(self, bench: Bench, topic: str) -> None:
        """LATEST: only what is published after the mapping has started to read."""
        publish(bench.bootstrap_servers, events(topic, 5))
        bench.settings = replace(bench.settings, starting_position="LATEST")
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        publish(bench.bootstrap_servers, events(topic, 3, start=5))
        until(lambda: len(bench.items) == 3, "what came later")

        assert bench.mapping.counters.read == 3

    def test_latest_is_the_end_of_the_first_start_and_not_of_every_start(
        self, bench: Bench, topic: str
    ) -> None:
        """Chosen: the position is committed once it is found, so a restart before the first batch skips nothing."""
        publish(bench.bootstrap_servers, events(topic, 5))
        bench.settings = replace(bench.settings, starting_position="LATEST")
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        bench.stop()
        publish(bench.bootstrap_servers, events(topic, 3, start=5))
        bench.restart()
        until(lambda: len(bench.items) == 3, "what came while nobody read")
