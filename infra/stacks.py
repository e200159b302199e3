"""The stacks: they wire what the constructs build, and say what the outside may know.

    data <- network, msk, ingest, api, operations;  network <- msk <- ingest, operations;  network <- api

An existing cluster needs no msk stack; a stage without a private network (the local one) has neither. The client stack,
which depends on none and is not needed locally either, holds what other teams' functions call the API with; the
github stack, which depends on none either, what deploys all of them.
"""

import json
from pathlib import Path

from aws_cdk import (
    App,
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
from result_aggregator.names import stack_name

from infra.cluster import Cluster
from infra.context import as_context
from infra.data import DeadLetters, OperationsKey, ViewTable
from infra.functions import asset, output
from infra.github import GitHubRoles
from infra.ingest import Ingest, add_ingest
from infra.layers import Artefacts
from infra.network import NetworkStack, PrivateNetwork, role_arn
from infra.operations import Operations
from infra.query import add_query
from infra.settings import Settings


def add_stacks(app: App, settings: Settings, artefacts: Artefacts) -> None:
    """Every stack of a stage. Raises SettingsError."""

    def stack(part: str, description: str, kind: type[Stack] = Stack) -> Stack:
        return kind(
            app,
            stack_name(settings.stage, part),
            env=Environment(account=settings.account, region=settings.region),
            description=f"Result Aggregator Service ({settings.stage}): {description}",
            synthesizer=_synthesizer(settings),
            # What holds data. The others can be made anew, without taking the table's protection back first.
            termination_protection=settings.deletion_protection and part in ("data", "msk"),
        )

    data = stack("data", "the view and the dead letters")
    tables = _add_tables(data, settings)
    bucket = _add_bucket(data, settings)
    # A rebuild changes a few settings only, and has to know which others the next deployment must not leave out.
    output(
        data, "Settings", json.dumps(as_context(settings), sort_keys=True), "By `cdk -c`, beside the stage"
    )
    key = OperationsKey(data, "Operations", settings=settings).key if settings.own_key else None

    network = None
    if settings.private_network:
        network = _add_network(stack("network", "VPC and endpoints", NetworkStack), settings, key)
    cluster_arn = settings.cluster_arn
    if cluster_arn is None and network:
        cluster_arn = _add_cluster(stack("msk", "the event cluster"), settings, network.vpc, key)
    if cluster_arn is None:
        raise AssertionError("settings allow no stage with neither a cluster nor a network")

    ingest = Ingest(settings=settings, tables=tables, bucket=bucket, cluster_arn=cluster_arn, key=key)
    add_ingest(stack("ingest", "events in"), ingest, artefacts)
    endpoint = network.api_endpoint if network else None
    add_query(stack("api", "queries out"), settings, artefacts, tables, endpoint, key)
    if settings.operations:
        _add_operations(stack("operations", "dashboard and alarms"), ingest)
    if artefacts.client is not None:
        _add_client(stack("client", "what callers call it with"), artefacts.client)
    if settings.github_repository is not None:
        _add_github(stack("github", "who deploys it"), settings, settings.github_repository)

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


def _add_bucket(data: Stack, settings: Settings) -> s3.Bucket:
    bucket = DeadLetters(data, "DeadLetters", settings=settings).bucket
    output(
        data,
        "DeadLetterBucketName",
        bucket.bucket_name,
        "Records that could not be applied, with their reasons",
    )
    return bucket


def _add_network(stack: Stack, settings: Settings, key: kms.IKey | None) -> PrivateNetwork:
    network = PrivateNetwork(
        stack,
        "Network",
        settings=settings,
        caller_role_arns=[role_arn(role) for role in settings.callers.values()],
        key=key,
    )
    subnets = network.vpc.select_subnets(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED).subnet_ids
    output(stack, "VpcId", network.vpc.vpc_id, "Where the API is reached from")
    output(stack, "SubnetIds", ",".join(subnets), "Its subnets, separated by commas")
    output(stack, "ApiEndpointId", network.api_endpoint.vpc_endpoint_id, "The API's door")
    return network


def _add_cluster(stack: Stack, settings: Settings, vpc: ec2.IVpc, key: kms.IKey | None) -> str:
    cluster = Cluster(stack, "Events", settings=settings, vpc=vpc, key=key)
    output(stack, "ClusterArn", cluster.cluster_arn, "The cluster that the service consumes")
    output(
        stack, "BrokerSecurityGroupId", cluster.security_group_id, "Who has this group reaches the brokers"
    )
    return cluster.cluster_arn


def _add_operations(stack: Stack, ingest: Ingest) -> None:
    live = ingest.tables[ingest.settings.table_generation]
    topic = Operations(
        stack,
        "OnCall",
        settings=ingest.settings,
        table=live,
        # Of the same deployments as the functions that write it: what still imports its name keeps it from going.
        second=next((table for table in ingest.written if table is not live), None),
        bucket=ingest.bucket,
        key=ingest.key,
        cluster_arn=ingest.cluster_arn,
    ).topic
    output(stack, "AlarmTopicArn", topic.topic_arn, "Where alarms go; subscribe whoever is on call")


def _add_github(stack: Stack, settings: Settings, repository: str) -> None:
    roles = GitHubRoles(stack, "Workflows", settings=settings, repository=repository)
    output(stack, "DeployRoleArn", roles.deploy.role_arn, "The variable AWS_DEPLOY_ROLE")
    output(stack, "DiffRoleArn", roles.diff.role_arn, "The variable AWS_DIFF_ROLE")


def _add_client(stack: Stack, client: Path) -> None:
    layer = lambda_.LayerVersion(
        stack,
        "Layer",
        layer_version_name=stack.stack_name,
        code=asset(client),
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
