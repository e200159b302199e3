"""Publishing to a broker whose log is bounded: never more than it keeps until the consumers have read it."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ras.errors import FailedError
from ras.kafka import lag
from ras.kafka.msk_iam import Brokers
from ras.kafka.publish import Published, publish
from ras.kafka.topic import TopicLog
from ras.terminal import many

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ras.kafka.publish import Event

_OVERHEAD = 100
"""Bytes that a record takes in a log besides its key, value and headers, at most: as the only one of its batch."""
_LOOK_S = 0.2


def publish_paced(
    bootstrap_servers: str,
    events: Sequence[Event],
    *,
    groups: Mapping[str, str],
    kept_bytes: int,
    timeout_s: float,
    on_delivery: Callable[[int], None] = lambda _: None,
) -> Published:
    """Publish like `publish`, but wait for a topic's consumers where one of its partitions may be full of unread records.

    `groups` are the consumer groups by topic, `kept_bytes` is what the broker keeps of a partition. Topics that no group
    reads are not waited for. Raises OperatorError as `publish`, and where a wait takes longer than `timeout_s`.
    """
    unread = _backlog(
        bootstrap_servers, {topic: groups[topic] for topic in {e.topic for e in events} & groups.keys()}
    )
    count, size, begun = 0, 0, time.monotonic()
    while count < len(events):
        some = _fitting(events, count, groups, unread, kept_bytes)
        if not some:
            topic = events[count].topic
            published = f"{count} of {many(len(events), 'record')} are published"
            _wait(bootstrap_servers, {topic: groups[topic]}, timeout_s, published)
            del unread[topic]
            continue
        done = publish(bootstrap_servers, some, on_delivery=partial(_after, on_delivery, count))
        count, size = count + done.count, size + done.size
    return Published(count, size, time.monotonic() - begun)


def _fitting(
    events: Sequence[Event], first: int, groups: Mapping[str, str], unread: Counter[str], kept_bytes: int
) -> list[Event]:
    """The events from the first on that there is room for, whichever partitions they come to; `unread` counts them in.

    One that is larger than the room has it alone.
    """
    some = []
    for event in (events[n] for n in range(first, len(events))):
        if event.topic in groups:
            if unread[event.topic] and unread[event.topic] + weight(event) > kept_bytes:
                break
            unread[event.topic] += weight(event)
        some.append(event)
    return some


def _after(on_delivery: Callable[[int], None], before: int, count: int) -> None:
    on_delivery(before + count)


def weight(event: Event) -> int:
    """Bytes that an event takes in a log, at most."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in event.headers)
    return len(event.key or b"") + len(event.value or b"") + headers + _OVERHEAD


def _backlog(bootstrap_servers: str, groups: Mapping[str, str]) -> Counter[str]:
    """By topic, the bytes that its group has yet to read, in the partition with most of them."""
    found: Counter[str] = Counter()
    for topic, parts in lag.positions(bootstrap_servers, groups, timeout_s=60).items():
        behind = {number: at for number, at in parts.items() if at.lag}
        sizes: Counter[int] = Counter()
        for message in TopicLog(Brokers(bootstrap_servers), topic).read(
            {number: at.committed for number, at in behind.items()},
            {number: at.end for number, at in behind.items()},
        ):
            sizes[int(message.partition() or 0)] += len(message) + len(message.key() or b"") + _OVERHEAD
        found[topic] = max(sizes.values(), default=0)
    return found


def _wait(bootstrap_servers: str, groups: Mapping[str, str], timeout_s: float, done: str) -> None:
    """Until the groups have read all of their topics. Raises OperatorError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        left = lag.positions(bootstrap_servers, groups, timeout_s=60)
        if not (behind := lag.described(left)):
            return
        if time.monotonic() > deadline:
            raise FailedError(
                f"{done}; the broker has no room for more until this is consumed, and it was not within"
                f" {timeout_s:g} s: {behind}",
                "The poller's log says why: poller.log. Allow more with --timeout, or use RAS_BROKER=kafka.",
            )
        time.sleep(_LOOK_S)
