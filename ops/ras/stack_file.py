"""A running stack on this machine, as its file describes it to other programs, and what can be asked of it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from result_aggregator.names import GATEWAY_CALLER

from ras import signed_http
from ras.aws import Cloud
from ras.deployed_mappings import DeployedMappings
from ras.errors import FailedError, NotFoundError, UnreachableError
from ras.kafka import lag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from ras.kafka.lag import Progress
    from ras.signed_http import CallerKeys
    from ras.state_folder import StateDir

DEFAULT_CALLER = GATEWAY_CALLER

PATIENCE_S = 60
"""For so long a broker may be silent: one that was killed reads its logs again before it answers for a group."""


@dataclass(frozen=True)
class Stack:
    """A running stack: the contents of its stack file, in the file's own names."""

    region: str
    endpoint_url: str
    bootstrap_servers: str
    api_url: str
    table_name: str
    dead_letter_bucket: str
    callers: dict[str, CallerKeys]
    dashboard_url: str
    lacks: list[str] = field(default_factory=list)
    """What the emulator lacks of AWS, as `Lack` of the local stack names it."""

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.endpoint_url, self.region)

    def get(
        self, path: str, *, caller: str | None = DEFAULT_CALLER, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """GET a path of the API as a caller of the stack file; None sends the request unsigned.

        Raises OperatorError for an unknown caller, or when nothing answers.
        """
        if caller is not None and caller not in self.callers:
            raise NotFoundError(f"there is no caller {caller!r}", f"There are: {', '.join(self.callers)}.")
        return signed_http.get(
            f"{self.api_url}/{path.lstrip('/')}",
            region=self.region,
            credentials=self.callers[caller] if caller else None,
            headers=headers,
        )


def load(state: StateDir) -> Stack:
    """The stack that the state folder's file describes.

    Raises OperatorError when there is none, or its file cannot be read.
    """
    try:
        return Stack(**json.loads(state.stack_file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise NotFoundError("the stack is not up", "Start it with `make up`.") from None
    except (OSError, ValueError, TypeError) as error:
        raise FailedError(
            f"{state.stack_file} cannot be read: {error}", "Run `make down`, then `make up`."
        ) from error


def mappings(state: StateDir) -> list[dict[str, Any]]:
    """The poller's last word on each mapping; empty until it has spoken."""
    try:
        status: list[dict[str, Any]] = json.loads(state.mappings_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return status


def consumer_groups(stack: Stack) -> dict[str, str]:
    """The consumer group of each topic, by the deployed mappings."""
    return {settings.topic: settings.consumer_group_id for settings in DeployedMappings(stack.cloud).read()}


def progress(stack: Stack) -> dict[str, Progress]:
    """How far the deployed mappings' groups are, by topic."""
    return lag.progress(stack.bootstrap_servers, consumer_groups(stack), timeout_s=PATIENCE_S)


def wait_consumed(
    stack: Stack,
    *,
    timeout_s: float = 120,
    on_progress: Callable[[dict[str, Progress]], None] = lambda _: None,
    interval_s: float = 0.2,
) -> dict[str, Progress]:
    """Wait until every published record is consumed: the committed offsets have reached the topics' ends.

    Raises OperatorError when `timeout_s` is over first, or when the broker was seen to drop records before they were read.
    """
    groups = consumer_groups(stack)
    deadline = time.monotonic() + timeout_s
    dropped: dict[str, int] = {}
    while True:
        left_s = max(1.0, deadline - time.monotonic())
        found = lag.positions(stack.bootstrap_servers, groups, timeout_s=min(PATIENCE_S, left_s))
        state = {topic: lag.of_topic(parts) for topic, parts in found.items()}
        on_progress(state)
        dropped |= {topic: at.dropped for topic, at in state.items() if at.dropped}
        if all(topic.lag == 0 for topic in state.values()):
            refuse_lost(dropped)
            return state
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"not consumed within {timeout_s:g} s: {lag.described(found)}",
                "The poller's log says why: poller.log. Allow more with --timeout.",
            )
        time.sleep(interval_s)


def lost(state: StateDir) -> dict[str, int]:
    """By topic, the records that the poller saw the broker drop before they were read, since the poller started."""
    return {entry["topic"]: entry["lost"] for entry in mappings(state) if entry.get("lost")}


def lost_since(state: StateDir, before: Mapping[str, int]) -> dict[str, int]:
    """What was lost since `before`, an answer of `lost`; all of it where the poller was started again meanwhile.

    The poller speaks four times a second, and its next word is waited for; where it is silent, its last one counts.
    """
    asked, deadline = time.time(), time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if state.mappings_file.stat().st_mtime > asked:
                break
        time.sleep(0.05)
    return {
        topic: count if count < before.get(topic, 0) else count - before.get(topic, 0)
        for topic, count in lost(state).items()
        if count != before.get(topic, 0)
    }


def refuse_lost(records: Mapping[str, int]) -> None:
    """Raises OperatorError where there are any: lost records by topic."""
    if records:
        counts = ", ".join(f"{number} of {topic}" for topic, number in records.items())
        raise FailedError(
            f"the broker dropped records before they were read: {counts}",
            "Publish them again; the embedded broker keeps 5 MiB of a partition, RAS_BROKER=kafka all.",
        )
