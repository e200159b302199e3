"""Faults at the HTTP level: what can happen to a request between the function and DynamoDB."""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

from result_aggregator.store.dynamodb_client import Response

if TYPE_CHECKING:
    from result_aggregator.store.dynamodb_client import Transport


class Fault(StrEnum):
    """What happens to one request."""

    THROTTLE = "throttle"
    """Refused with ThrottlingException."""
    ERROR_500 = "error_500"
    """Refused with InternalServerError."""
    NO_CONNECTION = "no_connection"
    """Never reaches DynamoDB."""
    LOST_ANSWER = "lost_answer"
    """Applied, but the answer never comes back."""
    RESET = "reset"
    """Applied, and the connection is reset before the answer."""
    CRASH_BEFORE = "crash_before"
    """The function is killed before it sends the request."""
    CRASH_AFTER = "crash_after"
    """The function is killed after DynamoDB has applied the request."""


class Killed(BaseException):
    """The function is no more. Not an Exception: nothing in a function may catch it."""


def _refusal(status: int, code: str) -> Response:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "injected"}
    return Response(status, json.dumps(body).encode())


class FaultyTransport:
    """A transport (`store.dynamodb_http`) that has a plan for an invocation's requests: the n-th gets the n-th entry, None is none.

    After a kill every further request of the invocation is killed too, as its threads are gone. Invocations are told
    apart by `invocation`, a thread-inherited name that `enter` sets.
    """

    def __init__(self, real: Transport) -> None:
        self._real = real
        self._lock = threading.Lock()
        self._plans: dict[str, list[Fault | None]] = {}
        self._killed: set[str] = set()
        self.injected: dict[str, int] = {}
        self._names = threading.local()

    def plan(self, invocation: str, faults: list[Fault | None]) -> None:
        """What shall happen to the requests of an invocation."""
        with self._lock:
            self._plans[invocation] = list(faults)
            self._killed.discard(invocation)

    def enter(self, invocation: str) -> None:
        """This thread works for an invocation from now on; '' for none."""
        self._names.value = invocation

    def close(self) -> None:
        self._real.close()

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        invocation = getattr(self._names, "value", "")
        with self._lock:
            if invocation in self._killed:
                raise Killed
            plan = self._plans.get(invocation) or []
            fault = plan.pop(0) if plan else None
            if fault is not None:
                self.injected[fault] = self.injected.get(fault, 0) + 1
            if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER):
                self._killed.add(invocation)
        match fault:
            case Fault.THROTTLE:
                return _refusal(400, "ThrottlingException")
            case Fault.ERROR_500:
                return _refusal(500, "InternalServerError")
            case Fault.NO_CONNECTION:
                raise TimeoutError("injected")
            case Fault.CRASH_BEFORE:
                raise Killed
        response = self._real.send(headers, body)
        match fault:
            case Fault.LOST_ANSWER:
                raise TimeoutError("injected")
            case Fault.RESET:
                raise ConnectionResetError("injected")
            case Fault.CRASH_AFTER:
                raise Killed
        return response
