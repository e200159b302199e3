"""Laws 1, 2, 3, 5 and 7 over generated histories, on each of two implementations of DynamoDB."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ras_local.clients import dynamodb_at
from result_aggregator.domain.outcomes import OUTCOMES

from tests import samples
from tests.convergence import machine
from tests.convergence.backend import faulty, quiet
from tests.convergence.faults import Fault
from tests.convergence.world import World
from tests.dynamodb import client
from tests.real_servers import DYNOXIDE, EMULATOR, server
from tests.tiers import long

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.stateful import RuleBasedStateMachine

    from tests.convergence.world import Step

HISTORIES = [100, long(1000)]
"""On each implementation."""
ENOUGH = 1000
"""So many drawn histories meet every fault; how a smaller number goes is chance."""

SPELLCHECK, REGISTERED = "huleedu.essay.spellcheck.completed.v1", "huleedu.batch.essays.registered.v1"


@pytest.fixture(params=[server(EMULATOR), server(DYNOXIDE)])
def real_url(request: pytest.FixtureRequest) -> str:
    """The address of a DynamoDB behind HTTP. moto is none: it answers inside the client, and decides conditions unatomically."""
    fixtures = {DYNOXIDE: "dynoxide_url", EMULATOR: "emulator_url"}
    url: str = request.getfixturevalue(fixtures[request.param])
    return url


def made(url: str, name: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """Two tables: one, and another for rebuilding."""
    tables = (name, f"{name}-new")
    for table in tables:
        dynamodb_at(url).create_table(**{**arguments, "TableName": table})
    return tables


def converge(machine_class: type[RuleBasedStateMachine], histories: int) -> None:
    run_state_machine_as_test(
        machine_class,
        settings=settings(
            max_examples=histories,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# Long enough for a failing history to be made small, too.
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("histories", HISTORIES)
def test_histories_converge(real_url: str, histories: int, table_arguments: dict[str, Any]) -> None:
    """Every answer is the fold of the distinct events, under faults, crashes, disorder and invocations at once."""
    tables = made(real_url, f"histories-{histories}", table_arguments)
    # Without attempts of its own: what fails shall be seen by the service.
    dynamodb = client(real_url, attempts=1)
    with quiet(), closing(faulty(dynamodb)) as transport:
        machine_class = machine.on(dynamodb, transport, tables)
        converge(machine_class, histories)
    finished = machine_class.finished
    outcomes = sum((world.outcomes for world in finished), machine.no_outcomes())

    assert len(finished) >= histories
    if histories >= ENOUGH:
        assert outcomes.keys() == set(OUTCOMES), "the histories did not come to every outcome"
        assert machine_class.session.injected.keys() == set(Fault), "the histories did not meet every fault"


ESSAY = {"batch_id": "b", "essay_id": "e", "status": "COMPLETED", "correction_count": 1}
REGISTRATION = {"batch_id": "b", "user_id": "u", "expected_essay_count": 1}
# In the order of the outcomes that they come to, each in an invocation of its own.
NEWER = samples.envelope(ESSAY, at="2026-03-02T08:00:02Z")
WRITTEN = [
    (SPELLCHECK, NEWER),
    (SPELLCHECK, NEWER),
    (SPELLCHECK, samples.envelope(ESSAY, at="2026-03-02T08:00:01Z")),
    (SPELLCHECK, None),
    (SPELLCHECK, "poison"),
    (REGISTERED, samples.envelope(REGISTRATION, at="2026-03-02T08:00:00Z")),
]


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_got_over(real_url: str, fault: Fault, table_arguments: dict[str, Any]) -> None:
    """A written history meets each at its first requests and at all of them, and comes to every outcome."""
    tables = made(real_url, f"written-{fault}".replace("_", "-"), table_arguments)
    dynamodb = client(real_url, attempts=1)
    with quiet(), closing(faulty(dynamodb)) as transport:
        world = World(dynamodb, transport, tables, "written")
        for number, (topic, value) in enumerate(WRITTEN):
            world.run({"do": "publish", "topic": topic, "value": value})
            for faults in ([fault], [None, fault], [fault] * 100):
                world.run(delivery(number, faults))
                world.run(delivery(number, []))
        world.run({"do": "check"})
        world.run({"do": "replay", "seed": 1, "size": 2})
        world.run({"do": "check"})

    assert transport.injected.keys() == {fault}
    assert world.outcomes.keys() == set(OUTCOMES)


def delivery(record: int, faults: Sequence[Fault | None]) -> Step:
    return {"do": "deliver", "invocations": [{"records": [record], "faults": [*faults], "partial": True}]}
