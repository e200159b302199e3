"""Queries out: the query function, what it may do, and the API in front of it."""

import json
from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from result_aggregator.names import (
    ENV_ALLOWED_CALLERS,
    ENV_COMPRESS_ANSWERS,
    ENV_DEFAULT_PIPELINE,
    ENV_TABLE_NAME,
    USER_INDEX,
)

from infra.api import QueryApi
from infra.functions import ServiceFunction, asset, layers, output
from infra.layers import Artefacts
from infra.nag import acknowledge_star
from infra.network import role_arn
from infra.settings import Settings


def add_query(
    stack: Stack,
    settings: Settings,
    artefacts: Artefacts,
    tables: Mapping[int, dynamodb.ITable],
    vpc_endpoint: ec2.IInterfaceVpcEndpoint | None,
    key: kms.IKey | None,
) -> None:
    """The query function and its API. `tables` go by generation; `artefacts` is what is built."""
    callers = {role_arn(role): service for service, role in settings.callers.items()}
    # An emulator's function that is told of no identity; `result_aggregator.api` knows it by no ARN.
    unidentified = {"": "unidentified"} if settings.serve_unidentified else {}
    service = ServiceFunction(
        stack,
        "Query",
        settings=settings,
        folder="query",
        code=asset(artefacts.functions["query"]),
        description="Answers from the view",
        memory_mb=settings.query_memory_mb,
        timeout_seconds=settings.query_timeout_seconds,
        environment={
            ENV_TABLE_NAME: tables[settings.table_generation].table_name,
            ENV_ALLOWED_CALLERS: json.dumps(callers | unidentified),
            ENV_DEFAULT_PIPELINE: settings.default_pipeline,
            ENV_COMPRESS_ANSWERS: "true" if settings.compress_answers else "false",
        },
        function_layers=layers(stack, settings, artefacts),
        key=key,
        concurrency=settings.query_concurrency,
        snap_start=settings.snap_start,
    )
    # Both tables, while events go into both: then the switch changes no right, and no answer fails in between.
    _allow_reading(service, [tables[number].table_arn for number in settings.written_generations])
    api = QueryApi(
        stack,
        "Queries",
        settings=settings,
        function=service.target,
        key=key,
        caller_role_arns=list(callers),
        vpc_endpoint=vpc_endpoint,
    ).api
    host = f"{api.rest_api_id}-{vpc_endpoint.vpc_endpoint_id}" if vpc_endpoint else api.rest_api_id
    output(stack, "ApiId", api.rest_api_id, "The private REST API")
    output(
        stack,
        "ApiUrl",
        f"https://{host}.execute-api.{stack.region}.{stack.url_suffix}/{settings.stage}",
        "Where callers reach it from inside the VPC; sign this host",
    )


def _allow_reading(service: ServiceFunction, table_arns: list[str]) -> None:
    service.allow(
        "ReadView",
        actions=["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Query"],
        resources=table_arns,
    )
    service.allow(
        "ListBatches",
        actions=["dynamodb:Query"],
        resources=[f"{table_arn}/index/{USER_INDEX}" for table_arn in table_arns],
    )
    # For `/metrics`. The service authorization reference has neither a resource nor a condition for them.
    service.allow(
        "ReadMetrics", actions=["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"], resources=["*"]
    )
    acknowledge_star(
        service.role,
        "*",
        "X-Ray and the reading of metrics have no resources; nothing else here is on everything.",
    )
