"""What a client is told while it tries to get in; brokers that refuse for real are in `tests/msk`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from ras.errors import OperatorError
from ras.kafka.errors import Door

from tests.clock import Time

REFUSED = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: Access denied")


class Brokers:
    """A client that has got in."""

    def list_topics(self, topic: str | None, timeout: float) -> str:
        return f"{topic} within {timeout}"


def test_who_was_refused_is_told() -> None:
    """With the brokers' own reason."""
    door = Door("b:9098")
    door(REFUSED)

    with pytest.raises(OperatorError, match="Access denied"):
        door.check()


def test_who_came_when_too_many_did_is_not_refused() -> None:
    """MSK's words for more connections at a time than it takes: the client comes again by itself."""
    door = Door("b:9098")
    door(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: [abc]: Too many connects"))

    door.check()


def test_who_has_got_in_is_refused_no_more() -> None:
    """Whatever it was told before."""
    door = Door("b:9098")
    door(REFUSED)

    assert door.metadata(Brokers(), "t", timeout_s=5) == "t within 1.0"  # type: ignore[comparison-overlap]
    door.check()


@pytest.mark.parametrize("timeout_s", [10, 15])
def test_nobody_waits_for_longer_than_was_said(timeout_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between two looks for a refusal grow, up to what is left."""
    time = Time()
    monkeypatch.setattr("ras.kafka.errors.time", SimpleNamespace(monotonic=time.clock))

    class Silent:
        def list_topics(self, _: str | None, timeout: float) -> None:
            time.sleep(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

        def poll(self, _: float) -> None: ...

    with pytest.raises(KafkaException):
        Door("b:9098").metadata(Silent(), timeout_s=timeout_s)

    assert sum(time.pauses) == timeout_s
