"""Results that name no batch and that no batch has claimed: `ras unclaimed`, and the count on the dashboard.

They are found by a scan, which the service never does: its functions count what begins to wait and what is claimed
(`ras_results_waiting_total`, `ras_results_claimed_total`), and an index of what waits would cost a write more for each.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from result_aggregator.domain import claims, registers, table_layout
from result_aggregator.names import ENV_TABLE_NAME

from ras import options as shared
from ras.terminal import console, many, plain, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from ras.deployment import Deployment

PATIENCE = timedelta(hours=1)
"""So long a result may wait, by its event time, before it is worth a look: its batch's slots come within minutes."""

_SHOWN = 100


class Unclaimed(NamedTuple):
    """One result that waits."""

    event_time: str
    """ISO 8601"""
    phase: str
    essay_id: str


def unclaimed(dynamodb: DynamoDBClient, table_name: str, before: datetime) -> Iterator[Unclaimed]:
    """The results whose events are from before a moment and that no batch has claimed, in no order.

    A scan of the whole table, eventually consistent: half a read unit per four kilobytes. Raises botocore's errors.
    """
    latest = registers.time_text(before)
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table_name,
        FilterExpression="sk = :results AND attribute_not_exists(#claims)",
        ExpressionAttributeNames={"#claims": table_layout.CLAIMS},
        ExpressionAttributeValues={":results": {"S": table_layout.RESULTS}},
    )
    for page in pages:
        for raw in page["Items"]:
            item: table_layout.Item = {name: str(typed.get("S", "")) for name, typed in raw.items()}
            essay_id = table_layout.essay_of(table_layout.Key(str(item["pk"]), str(item["sk"]))) or ""
            for phase, time in claims.results_of(item):
                if time < latest:
                    yield Unclaimed(registers.api_time(time), phase, essay_id)


def of_deployment(deployment: Deployment, now: datetime) -> list[Unclaimed]:
    """What waits in the table that is asked, for longer than PATIENCE, the oldest first.

    Raises OperatorError and botocore's errors.
    """
    table_name = deployment.environment("query").get(ENV_TABLE_NAME, "")
    return sorted(unclaimed(deployment.cloud.dynamodb, table_name, now - PATIENCE))


@click.command("unclaimed")
@click.option("--all", "everything", is_flag=True, help=f"Show all, not the {_SHOWN} oldest.")
@shared.of_deployment
@shared.failures
def command(*, everything: bool, **options: Any) -> None:
    """List the results that name no batch and that no batch has claimed for an hour, by event time.

    They are not lost: each appears as soon as a slot assignment, or a summary of its batch, names its essay. Where that
    has long been published, look for it among the dead letters (`ras dead-letters`).

    Scans the table that is asked, all of it, so it costs half a read unit per four kilobytes there. It needs
    lambda:GetFunctionConfiguration and dynamodb:Scan.
    """
    found = of_deployment(shared.deployment(options), datetime.now(UTC))
    out = console()
    if found:
        shown = table("event time", "phase", "essay")
        for one in found if everything else found[:_SHOWN]:
            shown.add_row(one.event_time, one.phase, plain(one.essay_id))
        out.print(shown)
    out.print(f"{many(len(found), 'result')} unclaimed for over an hour")
