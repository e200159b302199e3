"""Baseline for queries: an item per essay read through `boto3.resource`, a pydantic model per essay and per answer."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.conditions import Key

from benchmarks.baselines import models
from benchmarks.baselines.idempotency import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.measured_process import Doer

_AT = datetime(2026, 3, 2, 8, tzinfo=UTC).isoformat()


def make(settings: Mapping[str, str]) -> Doer:
    """A function that answers API Gateway's event of a batch's status."""
    os.environ |= settings
    table = boto3.resource("dynamodb").Table(TABLE)

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        query: dict[str, Any] = {
            "KeyConditionExpression": Key("pk").eq(f"batch#{event['pathParameters']['batch_id']}"),
            "ConsistentRead": True,
        }
        page = table.query(**query)
        items = page["Items"]
        while "LastEvaluatedKey" in page:
            page = table.query(**query, ExclusiveStartKey=page["LastEvaluatedKey"])
            items += page["Items"]
        batch: dict[str, Any] = items[0]
        found = models.BatchStatus(**batch, essays=[models.FullEssayStatus(**essay) for essay in items[1:]])  # type: ignore[arg-type] # DynamoDB's values, which the model reads
        body = found.model_dump_json()
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": body}

    return answer


def fill(settings: Mapping[str, str], batch_id: str, essays: int) -> None:
    """Put a batch into the table, completed."""
    table = boto3.resource(
        "dynamodb",
        endpoint_url=settings["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    ).Table(TABLE)
    with table.batch_writer() as writer:
        writer.put_item(
            Item={
                "pk": f"batch#{batch_id}",
                "sk": "batch",
                "batch_id": batch_id,
                "user_id": f"teacher-{batch_id}",
                "overall_status": "COMPLETED",
                "essay_count": essays,
                "completed_essay_count": essays,
                "failed_essay_count": 0,
                "requested_pipeline": "spellcheck,cj_assessment",
                "created_at": _AT,
                "last_updated": _AT,
                "processing_started_at": _AT,
                "processing_completed_at": _AT,
            }
        )
        for number in range(essays):
            essay_id = f"{batch_id}-essay-{number:04d}"
            writer.put_item(
                Item={
                    "pk": f"batch#{batch_id}",
                    "sk": f"essay#{essay_id}",
                    "essay_id": essay_id,
                    "spellcheck_status": "COMPLETED",
                    "spellcheck_correction_count": 17,
                    "spellcheck_corrected_text_storage_id": f"corrected-{essay_id}",
                    "cj_assessment_status": "COMPLETED",
                    "cj_rank": number + 1,
                    "cj_comparison_count": 12,
                    "cj_score": Decimal(str(3 - (number + 1) / 100)),
                    "last_updated": _AT,
                }
            )
