"""What fails for a passing reason is tried again in the function, inside its time, and then handed back: alone.

On servers behind HTTP, because moto answers inside the client, above the faults.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.deadline import Deadline
from result_aggregator.domain import table_layout
from result_aggregator.ingest_handler import HandedBackError
from result_aggregator.store import dynamodb_client
from result_aggregator.topics import TOPICS

from tests.bad_input.good import ONE_A_TOPIC
from tests.clock import Time
from tests.convergence.faults import Fault, FaultyTransport
from tests.real_servers import DYNOXIDE, EMULATOR, server
from tests.samples import msk_event, record

if TYPE_CHECKING:
    from result_aggregator.store.dynamodb_client import Response, Transport

    from tests.bad_input.conftest import Deliveries
    from tests.bad_input.good import Good
    from tests.handlers.conftest import Logs, Service

every_topic = pytest.mark.parametrize("good", ONE_A_TOPIC, ids=lambda good: good.topic)
every_fault = pytest.mark.parametrize(
    "fault", [Fault.THROTTLE, Fault.ERROR_500, Fault.NO_CONNECTION, Fault.LOST_ANSWER, Fault.RESET]
)

SECONDS = 6.0
"""What a function has for trying, by a clock that only its pauses move."""


BATCH = "hurt"
NEIGHBOURS = ("before", "after")


class Hurt(FaultyTransport):
    """Faults for the requests on one batch, as `suffer` plans them, once each of its neighbours has had an answer.

    The functions' clock is moved by pauses alone: it may run out before another writer's thread has even begun.
    """

    def __init__(self, real: Transport) -> None:
        super().__init__(real)
        self._waited_for = set(NEIGHBOURS)
        self._neighbours_answered = threading.Event()

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        asked = body.decode()
        if f"batch#{BATCH}" in asked:
            assert self._neighbours_answered.wait(60)
            self.enter(BATCH)
            return super().send(headers, body)
        self.enter("")
        response = super().send(headers, body)
        self._waited_for -= {name for name in NEIGHBOURS if f"batch#{name}" in asked}
        if not self._waited_for:
            self._neighbours_answered.set()
        return response

    def suffer(self, *faults: Fault) -> None:
        """What becomes of the next requests."""
        self.plan(BATCH, list(faults))


@pytest.fixture(params=[server(EMULATOR), server(DYNOXIDE)])
def dynamodb_url(request: pytest.FixtureRequest) -> str:
    fixtures = {DYNOXIDE: "dynoxide_url", EMULATOR: "emulator_url"}
    url: str = request.getfixturevalue(fixtures[request.param])
    return url


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The functions' clock, and their client's pauses: nobody waits."""
    time = Time()
    monkeypatch.setattr(
        Deadline, "of_function", lambda _: Deadline(SECONDS, clock=time.clock, sleep=time.sleep)
    )
    monkeypatch.setattr(dynamodb_client, "_LONGEST_PAUSE_S", 0)
    return time


@pytest.fixture
def hurt(service: Service) -> Hurt:  # noqa: ARG001 - its client is made with it
    """The seam between the functions' client and its connections."""
    client = dynamodb_client.client()
    client.transport = transport = Hurt(client.transport)
    return transport


def records(good: Good) -> list[dict[str, Any]]:
    """One record whose batch is hurt, and its neighbours: good, poison, good."""
    values: list[Any] = [good.of("before"), good.of(BATCH), b"poison", good.of("after")]
    return [record(good.topic, value, offset, 2) for offset, value in enumerate(values, 10)]


@every_topic
@pytest.mark.usefixtures("time")
def test_passing_failures_are_got_over(deliveries: Deliveries, hurt: Hurt, good: Good) -> None:
    """A record that meets every fault in turn is in at the end of the invocation, once."""
    every = [Fault.THROTTLE, Fault.ERROR_500, Fault.NO_CONNECTION, Fault.LOST_ANSWER, Fault.RESET]
    hurt.suffer(*every)
    counts = deliveries.invoke(good.topic, records(good))

    assert hurt.injected == dict.fromkeys(every, 1)
    # A write whose answer is lost is found to be in already. Where the event has another item, that is written now.
    is_alone = len(table_layout.changes_of(good.event())) == 1
    assert counts == ({"applied": 2, "duplicate": 1} if is_alone else {"applied": 3}) | {"rejected": 1}
    assert deliveries.stored(BATCH) == deliveries.stored("after") != []


@every_fault
def test_what_does_not_pass_is_handed_back(
    deliveries: Deliveries, logs: Logs, hurt: Hurt, time: Time, fault: Fault
) -> None:
    """After its time, and alone; delivered again when the table is well, it is in as if nothing had been."""
    good = ONE_A_TOPIC[0]
    hurt.suffer(*[fault] * 1000)
    begun = time.now
    logs.take()
    answer = deliveries.service.invoke(TOPICS[good.topic].function, msk_event(records(good)))

    place = {"partition": f"{good.topic}-2", "offset": 11}
    assert answer == {"batchItemFailures": [{"itemIdentifier": place}]}
    assert deliveries.counts(4) == {"applied": 2, "rejected": 1, "handed_back": 1}
    assert len(time.pauses) > 3
    assert SECONDS / 2 <= time.now - begun <= SECONDS
    [key] = deliveries.service.dead_letters()
    assert key.startswith(f"rejected/{good.topic}/2/{12:020d}-")

    hurt.suffer()
    counts = deliveries.invoke(good.topic, records(good)[1:2])

    was_in = fault in (Fault.LOST_ANSWER, Fault.RESET)
    assert counts == {"duplicate" if was_in else "applied": 1}
    assert deliveries.stored(BATCH) == deliveries.stored("after") != []


@pytest.mark.usefixtures("time")
def test_without_partial_batch_responses_it_raises(
    deliveries: Deliveries, logs: Logs, hurt: Hurt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole batch comes again, and what was in already changes nothing."""
    monkeypatch.setenv("PARTIAL_BATCH_RESPONSE", "false")
    good = ONE_A_TOPIC[0]
    hurt.suffer(*[Fault.THROTTLE] * 1000)
    with pytest.raises(HandedBackError, match="1 of 4 records"):
        deliveries.service.invoke(TOPICS[good.topic].function, msk_event(records(good)))
    logs.take()
    hurt.suffer()

    assert deliveries.invoke(good.topic, records(good)) == {"applied": 1, "duplicate": 2, "rejected": 1}
    assert deliveries.stored(BATCH) == deliveries.stored("after") != []
