"""Events in: the ingest functions, what each may do, and the event source mappings that feed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from result_aggregator.names import (
    DISCARDED_BATCH_PREFIX,
    ENV_DEAD_LETTER_BUCKET,
    ENV_PARTIAL_BATCH_RESPONSE,
    ENV_TABLE_NAME,
    REJECTED_PREFIX,
)
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS

from infra.alarms import MappingAlarms
from infra.functions import ServiceFunction, asset, layers, output
from infra.layers import Artefacts
from infra.mapping_plans import Plan, plans
from infra.mappings import EventSourceMapping, allow_polling, as_told
from infra.nag import acknowledge_star
from infra.settings import Settings

_INGEST = {
    BATCHES: "Batch phases, registrations and pipeline ends into the view",
    ESSAYS: "Essay results into the view",
    RANKINGS: "CJ rankings into the view",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """What the ingest functions work with: `tables` by generation, and the cluster that they consume."""

    settings: Settings
    tables: Mapping[int, dynamodb.ITable]
    bucket: s3.Bucket
    cluster_arn: str
    key: kms.IKey | None

    @property
    def written(self) -> list[dynamodb.ITable]:
        """The tables that events go into, newest first."""
        return [self.tables[number] for number in self.settings.written_generations]


def add_ingest(stack: Stack, ingest: Ingest, artefacts: Artefacts) -> None:
    """Every ingest function with its mappings. `artefacts` is what is built. Raises SettingsError."""
    function_layers = layers(stack, ingest.settings, artefacts)
    made = plans(ingest.settings)
    told: list[dict[str, Any]] = []
    for folder, description in _INGEST.items():
        own = [plan for plan in made if plan.function == folder]
        service = ServiceFunction(
            stack,
            "".join(word.capitalize() for word in folder.split("_")),
            settings=ingest.settings,
            folder=folder,
            code=asset(artefacts.functions[folder]),
            description=description,
            memory_mb=ingest.settings.ingest_memory_mb,
            timeout_seconds=ingest.settings.ingest_timeout_seconds,
            environment={
                ENV_TABLE_NAME: ",".join(table.table_name for table in ingest.written),
                ENV_DEAD_LETTER_BUCKET: ingest.bucket.bucket_name,
                ENV_PARTIAL_BATCH_RESPONSE: "true" if ingest.settings.partial_batch_response else "false",
            },
            function_layers=function_layers,
            key=ingest.key,
            concurrency=ingest.settings.ingest_concurrency,
        )
        _allow_writing(service, ingest)
        allow_polling(service.role, cluster_arn=ingest.cluster_arn, made=own)
        _acknowledge_stars(stack, service, ingest)
        if ingest.settings.mappings_as_output:
            told += _told(service, ingest, own)
        else:
            _add_mappings(service, ingest, own)
    if told:
        output(stack, "Mappings", stack.to_json_string(told), "The mappings that an emulator cannot make")


def _allow_writing(service: ServiceFunction, ingest: Ingest) -> None:
    # Conditional writes decide everything, so an ingest function never reads the view.
    for number in ingest.settings.written_generations:
        service.allow_apart(
            f"WriteView{number}",
            actions=["dynamodb:UpdateItem"],
            resources=[ingest.tables[number].table_arn],
        )
    rejected = ingest.bucket.arn_for_objects(f"{REJECTED_PREFIX}*")
    service.allow("KeepRejected", actions=["s3:PutObject"], resources=[rejected])
    if ingest.settings.keeps_given_up:
        # Lambda keeps what the retries gave up with the function's own rights, under a prefix of its choice.
        discarded = ingest.bucket.arn_for_objects(f"{DISCARDED_BATCH_PREFIX}*")
        service.allow("KeepGivenUp", actions=["s3:PutObject"], resources=[discarded])
        service.allow("FindBucket", actions=["s3:ListBucket"], resources=[ingest.bucket.bucket_arn])


def _acknowledge_stars(stack: Stack, service: ServiceFunction, ingest: Ingest) -> None:
    acknowledge_star(
        service.role,
        "*",
        "Lambda checks the rights to enter the cluster's VPC on everything when it makes a mapping; X-Ray and asking for"
        " the names of brokers have no resources. Nothing else is on everything; test_stars_are_few_and_reasoned holds it.",
    )
    # As the report names the bucket: by the export that brings its ARN here.
    exported = Stack.of(ingest.bucket).export_value(ingest.bucket.bucket_arn)
    imported = stack.resolve(exported)["Fn::ImportValue"]
    kept = (REJECTED_PREFIX, DISCARDED_BATCH_PREFIX)
    for prefix in kept if ingest.settings.keeps_given_up else kept[:1]:
        acknowledge_star(
            service.role,
            f"{imported}/{prefix}*",
            "Objects are named by the topic, partition and offset of what was set aside, so the prefix is the"
            " narrowest name there is beforehand. The right is to add, not to read or delete.",
        )


def _add_mappings(service: ServiceFunction, ingest: Ingest, own: Sequence[Plan]) -> None:
    for plan in own:
        mapping = EventSourceMapping(
            service,
            plan.topic,
            plan=plan,
            cluster_arn=ingest.cluster_arn,
            function=service.function,
            dead_letter_bucket_arn=ingest.bucket.bucket_arn,
        )
        if plan.metrics:
            MappingAlarms(
                mapping, "OnCall", settings=ingest.settings, plan=plan, mapping_id=mapping.mapping_id
            )


def _told(service: ServiceFunction, ingest: Ingest, own: Sequence[Plan]) -> list[dict[str, Any]]:
    return [
        as_told(
            plan,
            cluster_arn=ingest.cluster_arn,
            function=service.function,
            dead_letter_bucket_arn=ingest.bucket.bucket_arn,
        )
        for plan in own
    ]
