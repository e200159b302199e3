"""How the calls of a client ended and how long they took, kept until somebody counts them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from result_aggregator.domain.storage import StoreCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.client import BaseClient

_BEGAN = "ras_began"


class CallLog:
    """The calls of the clients that it watches. Any thread may call; one asks, when no call is under way."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._calls: list[StoreCall] = []

    def watch(self, client: BaseClient) -> None:
        """Note every call of a client from here on, by the SDK's own hooks: no call can go past them."""
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(f"before-call.{service}", self._begin)
        client.meta.events.register_last(f"after-call.{service}", self._end)
        client.meta.events.register_last(f"after-call-error.{service}", self._end)

    def take(self) -> list[StoreCall]:
        """The calls since it was last asked."""
        taken, self._calls = self._calls, []
        return taken

    def _begin(self, context: dict[str, Any], **_: object) -> None:
        context[_BEGAN] = self._clock()

    def _end(
        self, event_name: str, context: dict[str, Any], parsed: dict[str, Any] | None = None, **_: object
    ) -> None:
        if parsed is None or "Error" in parsed:
            code = parsed["Error"].get("Code") if parsed else None
            status = "condition_failed" if code == "ConditionalCheckFailedException" else "error"
        else:
            status = "success"
        self._calls.append(StoreCall(event_name.rpartition(".")[2], status, self._clock() - context[_BEGAN]))


calls = CallLog()
"""The process's calls to DynamoDB."""
