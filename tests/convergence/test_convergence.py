"""Laws 1, 2, 3, 5 and 7 over generated histories, on each of two implementations of DynamoDB."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ras_local.aws import dynamodb_client
from result_aggregator.domain.outcomes import OUTCOMES

from tests.convergence import machine
from tests.convergence.backend import faulty, quiet
from tests.convergence.faults import Fault
from tests.dynamodb import client
from tests.real_servers import DYNOXIDE, EMULATOR, server
from tests.tiers import long

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

HISTORIES = [100, long(1000)]
"""On each implementation."""


@pytest.fixture(params=[server(EMULATOR), server(DYNOXIDE)])
def real_url(request: pytest.FixtureRequest) -> str:
    """The address of a DynamoDB behind HTTP. moto is none: it answers inside the client, and decides conditions unatomically."""
    fixtures = {DYNOXIDE: "dynoxide_url", EMULATOR: "emulator_url"}
    url: str = request.getfixturevalue(fixtures[request.param])
    return url


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
    table = f"histories-{histories}"
    dynamodb_client(real_url).create_table(**{**table_arguments, "TableName": table})
    # Without attempts of its own: what fails shall be seen by the service.
    dynamodb = client(real_url, attempts=1)
    with quiet(), closing(faulty(dynamodb)) as transport:
        machine_class = machine.on(dynamodb, transport, table)
        converge(machine_class, histories)
    finished = machine_class.finished
    outcomes = sum((world.outcomes for world in finished), machine.no_outcomes())

    assert len(finished) >= histories
    assert outcomes.keys() == set(OUTCOMES), "the histories did not come to every outcome"
    assert machine_class.session.injected.keys() == set(Fault), "the histories did not meet every fault"
