"""Baseline (a): Powertools' batch processor, its idempotency utility around every record, `boto3.resource` behind it.

Put together as Powertools' documentation has it ("Batch processing", "Idempotency": with the batch utility, keyed by
what makes a record unique, here the event's id). What is bought for less is bought: the event is parsed once, the
idempotency key is the id alone and not the whole record, and a ranking goes through `batch_writer`, 25 items a call.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from benchmarks import workload
from benchmarks.baselines import models
from tests.handlers.conftest import Context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.data_classes.kafka_event import KafkaEventRecord
    from pydantic import BaseModel

    from benchmarks.measured_process import Doer

TABLE = "baseline-view"
IDEMPOTENCY_TABLE = "idempotency"

TABLES: tuple[dict[str, Any], ...] = (
    {
        "TableName": TABLE,
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    },
    {
        "TableName": IDEMPOTENCY_TABLE,
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    },
)
"""Arguments of CreateTable."""

MODELS: Mapping[str, type[models.AnyEvent]] = {
    workload.SPELLCHECKED: models.SpellcheckCompleted,
    workload.RANKED: models.CJAssessmentCompleted,
    workload.REGISTERED: models.BatchRegistered,
    workload.OUTCOME: models.PhaseOutcome,
}


def make(settings: Mapping[str, str]) -> Doer:
    """A function that ingests an event source mapping's event. Raises RuntimeError where records were handed back."""
    os.environ |= settings
    table = boto3.resource("dynamodb").Table(TABLE)
    config = IdempotencyConfig()
    persistence = DynamoDBPersistenceLayer(table_name=IDEMPOTENCY_TABLE)
    processor = BatchProcessor(event_type=EventType.Kafka)

    def apply(event_id: str, event: models.AnyEvent) -> None:  # noqa: ARG001 - the id is what makes the event unique
        match event:
            case models.SpellcheckCompleted(data=data):
                table.put_item(Item=_item(data, f"essay#{data.essay_id}#spellcheck", event))
            case models.CJAssessmentCompleted(data=data):
                with table.batch_writer() as writer:
                    for ranked in data.rankings:
                        sort_key = f"essay#{ranked.essay_id}#cj_assessment"
                        writer.put_item(Item=_item(ranked, sort_key, event, batch_id=data.batch_id))
            case models.BatchRegistered(data=data):
                table.put_item(Item=_item(data, "registration", event))
            case models.PhaseOutcome(data=data):
                table.put_item(Item=_item(data, f"phase#{data.phase}", event))

    once = idempotent_function(
        apply, data_keyword_argument="event_id", config=config, persistence_store=persistence
    )

    def handle_record(record: KafkaEventRecord) -> None:
        event = MODELS[record.topic].model_validate_json(record.decoded_value)
        once(event_id=str(event.event_id), event=event)

    def handle(invocation: dict[str, Any]) -> None:
        context: Any = Context()
        config.register_lambda_context(context)
        answer = process_partial_response(
            event=invocation, record_handler=handle_record, processor=processor, context=context
        )
        if answer["batchItemFailures"]:
            raise RuntimeError(f"records were handed back: {processor.exceptions[0]!r}")

    return handle


def _item(data: BaseModel, sort_key: str, event: models.Event, batch_id: str = "") -> dict[str, Any]:
    fields = data.model_dump(exclude_none=True)
    batch_id = batch_id or fields["batch_id"]
    return {
        "pk": f"batch#{batch_id}",
        "sk": sort_key,
        **fields,
        "updated_at": event.event_timestamp.isoformat(),
    }
