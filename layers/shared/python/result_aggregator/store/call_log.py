"""How the calls to the database ended and how long they took, kept until somebody counts them."""

from __future__ import annotations

from result_aggregator.domain.store_interface import StoreCall


class CallLog:
    """The calls of the process. Any thread may note one; one asks, when no call is under way."""

    def __init__(self) -> None:
        self._calls: list[StoreCall] = []

    def note(self, operation: str, status: str, seconds: float) -> None:
        """A call has ended (`domain.store_interface.StoreCall`)."""
        self._calls.append(StoreCall(operation, status, seconds))

    def take(self) -> list[StoreCall]:
        """The calls since it was last asked."""
        taken, self._calls = self._calls, []
        return taken


calls = CallLog()
"""The process's calls to DynamoDB."""
