"""Laws 1, 2, 3, 5 and 7 over generated histories: at least 1,000 of them in CI, half on each implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from result_aggregator.domain.outcomes import OUTCOMES

from tests.convergence import machine
from tests.convergence.backend import client, faulty, quiet
from tests.convergence.faults import Fault
from tests.real_servers import DYNAMODB_LOCAL, EMULATOR, server

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine
    from mypy_boto3_dynamodb import DynamoDBClient

HISTORIES = 500


@pytest.fixture(params=[EMULATOR, server(DYNAMODB_LOCAL)])
def real_dynamodb(request: pytest.FixtureRequest) -> DynamoDBClient:
    """A DynamoDB behind HTTP. moto is none: it answers inside the client, and decides conditions unatomically."""
    fixtures = {DYNAMODB_LOCAL: "dynamodb_local_url", EMULATOR: "emulator_url"}
    return client(request.getfixturevalue(fixtures[request.param]))


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
def test_histories_converge(real_dynamodb: DynamoDBClient, table_arguments: dict[str, Any]) -> None:
    """Every answer is the fold of the distinct events, under faults, crashes, disorder and invocations at once."""
    table = f"histories-{id(real_dynamodb)}"
    real_dynamodb.create_table(**{**table_arguments, "TableName": table})
    machine_class = machine.on(real_dynamodb, faulty(real_dynamodb), table)
    with quiet():
        converge(machine_class, HISTORIES)
    finished = machine_class.finished
    outcomes = sum((world.outcomes for world in finished), machine.no_outcomes())

    assert len(finished) >= HISTORIES
    assert outcomes.keys() == set(OUTCOMES), "the histories did not come to every outcome"
    assert machine_class.session.injected.keys() == set(Fault), "the histories did not meet every fault"
