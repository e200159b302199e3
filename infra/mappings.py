"""The event source mappings: one per topic, as its plan (`infra.mapping_plans`) asks for.

CDK's own ManagedKafkaEventSource is not used: it writes any combination of options without a word (the refusal
comes at deploy time), attaches a managed policy with rights on everything, and leaves out every
`kafka-cluster:*` action that IAM authentication needs.
"""

from collections.abc import Sequence
from typing import Any

from aws_cdk import Fn
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.mapping_plans import Plan

# LATEST can lose what arrives while a mapping starts; a group with commits goes on from them anyway.
STARTING_POSITION = "TRIM_HORIZON"
# All that AWS::Lambda::EventSourceMapping MetricsConfig allows, in provisioned mode: CloudFormation's reference.
METRICS = ("EventCount", "ErrorCount", "KafkaMetrics")


class EventSourceMapping(Construct):
    """One topic of an MSK cluster feeding one function, and the rights its role needs for that."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        plan: Plan,
        cluster_arn: str,
        function: lambda_.Function,
        dead_letter_bucket_arn: str,
    ) -> None:
        super().__init__(scope, construct_id)
        # Property classes, never plain dicts: CDK drops what it does not know of a dict without a word.
        destination = None
        if plan.on_failure:
            destination = lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(
                    destination=_destination(plan, dead_letter_bucket_arn)
                )
            )
        pollers = None
        if plan.pollers:
            minimum, maximum = plan.pollers
            pollers = lambda_.CfnEventSourceMapping.ProvisionedPollerConfigProperty(
                minimum_pollers=minimum, maximum_pollers=maximum, poller_group_name=plan.poller_group
            )
        mapping = lambda_.CfnEventSourceMapping(
            self,
            "Mapping",
            function_name=function.function_arn,
            event_source_arn=cluster_arn,
            topics=[plan.topic],
            starting_position=STARTING_POSITION,
            amazon_managed_kafka_event_source_config=lambda_.CfnEventSourceMapping.AmazonManagedKafkaEventSourceConfigProperty(
                consumer_group_id=plan.consumer_group
            ),
            batch_size=plan.batch_size,
            maximum_batching_window_in_seconds=plan.window_seconds,
            provisioned_poller_config=pollers,
            maximum_retry_attempts=plan.retries,
            maximum_record_age_in_seconds=plan.max_record_age_seconds,
            bisect_batch_on_function_error=plan.bisect,
            function_response_types=["ReportBatchItemFailures"] if plan.report_batch_item_failures else None,
            destination_config=destination,
            # What the alarms read (`infra.alarms.MappingAlarms`), and the lag by mapping beside it.
            metrics_config=lambda_.CfnEventSourceMapping.MetricsConfigProperty(metrics=list(METRICS))
            if plan.metrics
            else None,
        )
        self.mapping_id = mapping.ref


def _destination(plan: Plan, dead_letter_bucket_arn: str) -> str:
    return f"kafka://{plan.on_failure_topic}" if plan.on_failure_topic else dead_letter_bucket_arn


def as_told(
    plan: Plan, *, cluster_arn: str, function: lambda_.Function, dead_letter_bucket_arn: str
) -> dict[str, Any]:
    """What Lambda would tell of the mapping, in the words of GetEventSourceMapping, where an emulator makes none."""
    destination = _destination(plan, dead_letter_bucket_arn)
    told: dict[str, Any] = {
        # It has no id, and no other mapping has its consumer group.
        "UUID": plan.consumer_group,
        "FunctionArn": function.function_arn,
        "EventSourceArn": cluster_arn,
        "Topics": [plan.topic],
        "StartingPosition": STARTING_POSITION,
        "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": plan.consumer_group},
        "BatchSize": plan.batch_size,
        "MaximumBatchingWindowInSeconds": plan.window_seconds,
        "MaximumRetryAttempts": plan.retries,
        "MaximumRecordAgeInSeconds": plan.max_record_age_seconds,
        "BisectBatchOnFunctionError": plan.bisect,
        "FunctionResponseTypes": ["ReportBatchItemFailures"] if plan.report_batch_item_failures else None,
        "DestinationConfig": {"OnFailure": {"Destination": destination}} if plan.on_failure else None,
    }
    if plan.pollers:
        minimum, maximum = plan.pollers
        told["ProvisionedPollerConfig"] = {
            "MinimumPollers": minimum,
            "MaximumPollers": maximum,
            "PollerGroupName": plan.poller_group,
        }
    return {name: value for name, value in told.items() if value is not None}


def allow_polling(role: iam.IRole, *, cluster_arn: str, made: Sequence[Plan]) -> None:
    """Give a function's role what its mappings do in its name: find the brokers, enter the VPC, read the topics."""
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="FindBrokers",
            actions=["kafka:DescribeClusterV2"],
            resources=[cluster_arn],
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="NameBrokers",
            actions=["kafka:GetBootstrapBrokers"],
            # The service authorization data give it no resource type, so a cluster's ARN may never match. It tells the
            # names of brokers, which let nobody in.
            resources=["*"],
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="ConnectToCluster",
            actions=["kafka-cluster:Connect", "kafka-cluster:DescribeClusterDynamicConfiguration"],
            resources=[cluster_arn],
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="ReadTopics",
            actions=["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"],
            resources=[_within(cluster_arn, "topic", plan.topic) for plan in made],
        )
    )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="CommitOffsets",
            actions=["kafka-cluster:DescribeGroup", "kafka-cluster:AlterGroup"],
            resources=[_within(cluster_arn, "group", plan.consumer_group) for plan in made],
        )
    )
    given_up = sorted({plan.on_failure_topic for plan in made if plan.on_failure and plan.on_failure_topic})
    if given_up:
        role.add_to_principal_policy(
            iam.PolicyStatement(
                sid="PublishGivenUp",
                actions=["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"],
                resources=[_within(cluster_arn, "topic", topic) for topic in given_up],
            )
        )
    role.add_to_principal_policy(
        iam.PolicyStatement(
            sid="EnterVpc",
            actions=[
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            # Lambda validates these on * when it creates the mapping; most have no resource-level form.
            resources=["*"],
        )
    )


def _within(cluster_arn: str, kind: str, name: str) -> str:
    """The ARN of a topic or group: the cluster's, with `cluster/` replaced and the name appended."""
    before, after = (Fn.select(part, Fn.split(":cluster/", cluster_arn)) for part in (0, 1))
    return f"{before}:{kind}/{after}/{name}"
