"""The stacks: they wire what the constructs build, and say what the outside may know.

    data <- network, msk, ingest, api, operations;  network <- msk <- ingest, operations;  network <- api

An existing cluster needs no msk stack; a stage without a private network (the local one) has neither. The client stack,
which depends on none and is not needed locally either, holds what other teams' functions call the API with; the
github stack, which depends on none either, what deploys all of them.
"""

import json
from pathlib import Path
from typing import Any

from aws_cdk import (
    App,
    AssetHashType,
    CliCredentialsStackSynthesizer,
    DefaultStackSynthesizer,
    Environment,
    IStackSynthesizer,
    RemovalPolicy,
    Stack,
    Tags,
)
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from result_aggregator.names import (
    DISCARDED_BATCH_PREFIX,
    ENV_ALLOWED_CALLERS,
    ENV_COMPRESS_ANSWERS,
    ENV_DEAD_LETTER_BUCKET,
    ENV_DEFAULT_PIPELINE,
    ENV_PARTIAL_BATCH_RESPONSE,
    ENV_TABLE_NAME,
    REJECTED_PREFIX,
    USER_INDEX,
    stack_name,
)
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS

from infra.api import QueryApi
from infra.data import DeadLetters, OperationsKey, ViewTable
from infra.functions import ServiceFunction, code, layers, output
from infra.github import GitHubRoles
from infra.mappings import EventSourceMapping, allow_polling, as_told, plans
from infra.nag import acknowledge_star
from infra.network import Cluster, NetworkStack, PrivateNetwork, role_arn
from infra.operations import MappingAlarms, Operations
from infra.settings import Settings, as_context

_INGEST = {
    BATCHES: "Batch phases, registrations and pipeline ends into the view",
    ESSAYS: "Essay results into the view",
    RANKINGS: "CJ rankings into the view",
}


def add_stacks(app: App, settings: Settings, dependencies: Path, client: Path | None) -> None:
    """Every stack of a stage. `dependencies` and `client` are built layers. Raises SettingsError."""
    environment = Environment(account=settings.account, region=settings.region)

    def stack(part: str, description: str, kind: type[Stack] = Stack) -> Stack:
        return kind(
            app,
            stack_name(settings.stage, part),
            env=environment,
            description=f"Result Aggregator Service ({settings.stage}): {description}",
            synthesizer=_synthesizer(settings),
            # What holds data. The others can be made anew, without taking the table's protection back first.
            termination_protection=settings.deletion_protection and part in ("data", "msk"),
        )

    caller_role_arns = [role_arn(role) for role in settings.callers.values()]
    data = stack("data", "the view and the dead letters")
    tables = _add_tables(data, settings)
    table = tables[settings.table_generation]
    bucket = DeadLetters(data, "DeadLetters", settings=settings).bucket
    output(
        data,
        "DeadLetterBucketName",
        bucket.bucket_name,
        "Records that could not be applied, with their reasons",
    )
    # A rebuild changes a few settings only, and has to know which others the next deployment must not leave out.
    output(
        data, "Settings", json.dumps(as_context(settings), sort_keys=True), "By `cdk -c`, beside the stage"
    )

    key = OperationsKey(data, "Operations", settings=settings).key if settings.own_key else None

    network = None
    if settings.private_network:
        network = PrivateNetwork(
            stack("network", "VPC and endpoints", NetworkStack),
            "Network",
            settings=settings,
            caller_role_arns=caller_role_arns,
            key=key,
        )
        where = Stack.of(network)
        subnets = ",".join(network.vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids)
        output(where, "VpcId", network.vpc.vpc_id, "Where the API is reached from")
        output(where, "SubnetIds", subnets, "Its subnets, separated by commas")
        output(where, "ApiEndpointId", network.api_endpoint.vpc_endpoint_id, "The API's door")

    cluster_arn = settings.cluster_arn
    if cluster_arn is None and network:
        msk = stack("msk", "the event cluster")
        cluster = Cluster(msk, "Events", settings=settings, vpc=network.vpc, key=key)
        cluster_arn = cluster.cluster_arn
        output(msk, "ClusterArn", cluster_arn, "The cluster that the service consumes")
        output(
            msk, "BrokerSecurityGroupId", cluster.security_group_id, "Who has this group reaches the brokers"
        )
    if cluster_arn is None:
        raise AssertionError("settings allow no stage with neither a cluster nor a network")

    ingest = stack("ingest", "events in")
    _add_ingest(ingest, settings, dependencies, tables, bucket, cluster_arn, key)

    api = stack("api", "queries out")
    _add_api(api, settings, dependencies, tables, network.api_endpoint if network else None, key)

    if settings.operations:
        operations = stack("operations", "dashboard and alarms")
        topic = Operations(
            operations,
            "OnCall",
            settings=settings,
            table=table,
            # Of the same deployments as the functions that write it: what still imports its name keeps it from going.
            second=next(
                (tables[number] for number in settings.written_generations if tables[number] is not table),
                None,
            ),
            bucket=bucket,
            key=key,
            cluster_arn=cluster_arn,
        ).topic
        output(operations, "AlarmTopicArn", topic.topic_arn, "Where alarms go; subscribe whoever is on call")

    if client is not None:
        _add_client(stack("client", "what callers call it with"), client)

    if settings.github_repository is not None:
        github = stack("github", "who deploys it")
        roles = GitHubRoles(github, "Workflows", settings=settings, repository=settings.github_repository)
        output(github, "DeployRoleArn", roles.deploy.role_arn, "The variable AWS_DEPLOY_ROLE")
        output(github, "DiffRoleArn", roles.diff.role_arn, "The variable AWS_DIFF_ROLE")

    Tags.of(app).add("service", "result-aggregator")
    Tags.of(app).add("stage", settings.stage)


def _add_tables(data: Stack, settings: Settings) -> dict[int, dynamodb.Table]:
    """The view's table, or two of them, by generation."""
    tables = {
        # The first one's name has no number, as it is of every deployment before there was a second.
        generation: ViewTable(
            data, f"View{generation}" if generation > 1 else "View", settings=settings
        ).table
        for generation in settings.generations
    }
    for table in tables.values():
        # Exported whether somebody imports it or not: what stops using a table is deployed after this stack, and
        # CloudFormation would refuse to take an export away that is still in use. That refusal is welcome elsewhere:
        # a deployment without these settings cannot take the table away that is being asked.
        data.export_value(table.table_name)
        data.export_value(table.table_arn)
    live = settings.table_generation
    output(data, "TableName", tables[live].table_name, "The table of the view")
    output(data, "TableGeneration", str(live), "The setting table_generation")
    if second := settings.second_generation:
        output(data, "SecondTableName", tables[second].table_name, "The table beside it")
        output(data, "SecondTableGeneration", str(second), "The setting second_generation")
    return tables


def _add_ingest(
    stack: Stack,
    settings: Settings,
    dependencies: Path,
    tables: dict[int, dynamodb.Table],
    bucket: s3.Bucket,
    cluster_arn: str,
    key: kms.IKey | None,
) -> None:
    function_layers = layers(stack, settings, dependencies)
    made = plans(settings)
    told: list[dict[str, Any]] = []
    for folder, description in _INGEST.items():
        own = [plan for plan in made if plan.function == folder]
        name = "".join(word.capitalize() for word in folder.split("_"))
        service = ServiceFunction(
            stack,
            name,
            settings=settings,
            folder=folder,
            code=code(settings, folder, dependencies),
            description=description,
            memory_mb=settings.ingest_memory_mb,
            timeout_seconds=settings.ingest_timeout_seconds,
            environment={
                ENV_TABLE_NAME: ",".join(
                    tables[number].table_name for number in settings.written_generations
                ),
                ENV_DEAD_LETTER_BUCKET: bucket.bucket_name,
                ENV_PARTIAL_BATCH_RESPONSE: "true" if settings.partial_batch_response else "false",
            },
            function_layers=function_layers,
            key=key,
            concurrency=settings.ingest_concurrency,
        )
        # Conditional writes decide everything, so an ingest function never reads the view.
        for number in settings.written_generations:
            service.allow_apart(
                f"WriteView{number}",
                actions=["dynamodb:UpdateItem"],
                resources=[tables[number].table_arn],
            )
        service.allow(
            "KeepRejected",
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects(f"{REJECTED_PREFIX}*")],
        )
        if settings.keeps_given_up:
            # Lambda keeps what the retries gave up with the function's own rights, under a prefix of its choice.
            service.allow(
                "KeepGivenUp",
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects(f"{DISCARDED_BATCH_PREFIX}*")],
            )
            service.allow("FindBucket", actions=["s3:ListBucket"], resources=[bucket.bucket_arn])
        allow_polling(service.role, cluster_arn=cluster_arn, made=own)
        acknowledge_star(
            service.role,
            "*",
            "Lambda checks the rights to enter the cluster's VPC on everything when it makes a mapping, and X-Ray has"
            " no resources. Nothing else is on everything; test_stars_are_few_and_reasoned holds it.",
        )
        # As the report names the bucket: by the export that brings its ARN here.
        imported = stack.resolve(Stack.of(bucket).export_value(bucket.bucket_arn))["Fn::ImportValue"]
        for prefix in (
            (REJECTED_PREFIX, DISCARDED_BATCH_PREFIX) if settings.keeps_given_up else (REJECTED_PREFIX,)
        ):
            acknowledge_star(
                service.role,
                f"{imported}/{prefix}*",
                "Objects are named by the topic, partition and offset of what was set aside, so the prefix is the"
                " narrowest name there is beforehand. The right is to add, not to read or delete.",
            )
        for plan in own:
            if settings.mappings_as_output:
                told.append(
                    as_told(
                        plan,
                        cluster_arn=cluster_arn,
                        function=service.function,
                        dead_letter_bucket_arn=bucket.bucket_arn,
                    )
                )
                continue
            mapping = EventSourceMapping(
                service,
                plan.topic,
                plan=plan,
                cluster_arn=cluster_arn,
                function=service.function,
                dead_letter_bucket_arn=bucket.bucket_arn,
            )
            if plan.metrics:
                MappingAlarms(mapping, "OnCall", settings=settings, plan=plan, mapping_id=mapping.mapping_id)
    if told:
        output(stack, "Mappings", stack.to_json_string(told), "The mappings that an emulator cannot make")


def _add_api(
    stack: Stack,
    settings: Settings,
    dependencies: Path,
    tables: dict[int, dynamodb.Table],
    vpc_endpoint: ec2.IInterfaceVpcEndpoint | None,
    key: kms.IKey | None,
) -> None:
    callers = {role_arn(role): service for service, role in settings.callers.items()}
    # An emulator's function that is told of no identity; `result_aggregator.api` knows it by no ARN.
    unidentified = {"": "unidentified"} if settings.serve_unidentified else {}
    service = ServiceFunction(
        stack,
        "Query",
        settings=settings,
        folder="query",
        code=code(settings, "query", dependencies),
        description="Answers from the view",
        memory_mb=settings.query_memory_mb,
        timeout_seconds=settings.query_timeout_seconds,
        environment={
            ENV_TABLE_NAME: tables[settings.table_generation].table_name,
            ENV_ALLOWED_CALLERS: json.dumps(callers | unidentified),
            ENV_DEFAULT_PIPELINE: settings.default_pipeline,
            ENV_COMPRESS_ANSWERS: "true" if settings.compress_answers else "false",
        },
        function_layers=layers(stack, settings, dependencies),
        key=key,
        concurrency=settings.query_concurrency,
        snap_start=settings.snap_start,
    )
    # Both tables, while events go into both: then the switch changes no right, and no answer fails in between.
    readable = [tables[number].table_arn for number in settings.written_generations]
    service.allow(
        "ReadView",
        actions=["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:Query"],
        resources=readable,
    )
    service.allow(
        "ListBatches",
        actions=["dynamodb:Query"],
        resources=[f"{table_arn}/index/{USER_INDEX}" for table_arn in readable],
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


def _add_client(stack: Stack, client: Path) -> None:
    layer = lambda_.LayerVersion(
        stack,
        "Layer",
        layer_version_name=stack.stack_name,
        # Named by the hash of what went into it.
        code=lambda_.Code.from_asset(
            str(client), asset_hash_type=AssetHashType.CUSTOM, asset_hash=client.name
        ),
        compatible_runtimes=[
            lambda_.Runtime.PYTHON_3_11,
            lambda_.Runtime.PYTHON_3_12,
            lambda_.Runtime.PYTHON_3_13,
            lambda_.Runtime.PYTHON_3_14,
        ],
        compatible_architectures=[lambda_.Architecture.ARM_64, lambda_.Architecture.X86_64],
        description="result_aggregator_client, sync and async; botocore is the runtime's own",
        # Functions of other teams name a version; deleted, it could no longer be deployed with them.
        removal_policy=RemovalPolicy.RETAIN,
    )
    output(stack, "ClientLayerArn", layer.layer_version_arn, "The layer for functions that ask the API")


def _synthesizer(settings: Settings) -> IStackSynthesizer:
    # An emulator has no bootstrap roles to assume: the keys of whoever deploys do it all.
    return CliCredentialsStackSynthesizer() if settings.is_local else DefaultStackSynthesizer()
