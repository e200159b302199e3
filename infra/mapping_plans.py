"""The event source mappings: one per topic, with what each may ask of Lambda checked before it is deployed.

CDK's own ManagedKafkaEventSource is not used: it writes any combination of options without a word (the refusal
comes at deploy time), attaches a managed policy with rights on everything, and leaves out every
`kafka-cluster:*` action that IAM authentication needs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aws_cdk import Fn
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct
from result_aggregator.topics import TOPICS

from infra.settings import (
    BATCH_LIMIT,
    RECORD_AGE_LIMIT_S,
    RETRIES_LIMIT,
    WINDOW_LIMIT_S,
    Settings,
    SettingsError,
)

# Lambda's limits: a consumer group id, mappings in a poller group, their pollers together.
GROUP_ID_LIMIT = 200
GROUP_MAPPINGS_LIMIT = 100
GROUP_POLLERS_LIMIT = 2000

# LATEST can lose what arrives while a mapping starts; a group with commits goes on from them anyway.
STARTING_POSITION = "TRIM_HORIZON"
# All that AWS::Lambda::EventSourceMapping MetricsConfig allows, in provisioned mode: CloudFormation's reference.
METRICS = ("EventCount", "ErrorCount", "KafkaMetrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one mapping asks for. `None` leaves an option out, as on-demand mode demands of most."""

    topic: str
    function: str
    consumer_group: str
    batch_size: int
    window_seconds: int
    on_failure: bool
    on_failure_topic: str | None = None
    pollers: tuple[int, int] | None = None
    poller_group: str | None = None
    retries: int | None = None
    max_record_age_seconds: int | None = None
    bisect: bool | None = None
    report_batch_item_failures: bool = False
    metrics: bool = False


def plans(settings: Settings) -> list[Plan]:
    """A checked plan for every topic of the service. Raises SettingsError for what Lambda would refuse."""
    made = [_plan(settings, topic) for topic in TOPICS]
    check(made)
    return made


def consumer_group(settings: Settings, topic: str) -> str:
    """`ras-<stage>-<topic without its common prefix>`: what an operator names to look at lag or to rewind."""
    prefix = settings.consumer_group_prefix or settings.name("")
    return prefix + short_name(topic)


def short_name(topic: str) -> str:
    return topic.removeprefix("huleedu.")


def _plan(settings: Settings, topic: str) -> Plan:
    batching = settings.batching(topic)
    common = Plan(
        topic=topic,
        function=TOPICS[topic].function,
        consumer_group=consumer_group(settings, topic),
        batch_size=batching.batch_size,
        window_seconds=batching.window_seconds,
        on_failure=settings.on_failure,
        on_failure_topic=settings.on_failure_topic,
    )
    if not settings.provisioned:
        return common
    return replace(
        common,
        pollers=(settings.minimum_pollers, settings.maximum_pollers),
        poller_group=settings.poller_group or settings.name("pollers"),
        retries=settings.retries,
        max_record_age_seconds=settings.max_record_age_seconds,
        bisect=settings.bisect,
        report_batch_item_failures=settings.partial_batch_response,
        metrics=settings.operations,
    )


def check(made: Sequence[Plan]) -> None:
    """Raise SettingsError with every reason why Lambda would refuse these mappings, or lose records with them."""
    problems = [f"{plan.topic}: {problem}" for plan in made for problem in _problems(plan)]
    groups = Counter(plan.consumer_group for plan in made)
    problems += [f"consumer group {group} is used by {n} mappings" for group, n in groups.items() if n > 1]
    for poller_group in {plan.poller_group for plan in made if plan.poller_group}:
        members = [plan.pollers for plan in made if plan.poller_group == poller_group and plan.pollers]
        if len(members) > GROUP_MAPPINGS_LIMIT:
            problems.append(
                f"poller_group {poller_group}: {len(members)} mappings, allowed {GROUP_MAPPINGS_LIMIT}"
            )
        asked = sum(maximum for _, maximum in members)
        if asked > GROUP_POLLERS_LIMIT:
            problems.append(
                f"maximum_pollers: poller group {poller_group} asks for {asked} pollers in sum,"
                f" allowed {GROUP_POLLERS_LIMIT}"
            )
    if problems:
        raise SettingsError("\n".join(f"event source mapping {problem}" for problem in problems))


def _problems(plan: Plan) -> list[str]:
    problems = []
    if not 1 <= plan.batch_size <= BATCH_LIMIT:
        problems.append(f"batch_size: {plan.batch_size}, allowed 1 to {BATCH_LIMIT}")
    if not 0 <= plan.window_seconds <= WINDOW_LIMIT_S:
        problems.append(f"window_seconds: {plan.window_seconds}, allowed 0 to {WINDOW_LIMIT_S}")
    if not 1 <= len(plan.consumer_group) <= GROUP_ID_LIMIT:
        problems.append(
            f"consumer group id has {len(plan.consumer_group)} characters, allowed 1 to {GROUP_ID_LIMIT}"
        )
    if plan.pollers is None:
        asked = {
            "poller_group": plan.poller_group is not None,
            "retries": plan.retries is not None,
            "max_record_age_seconds": plan.max_record_age_seconds is not None,
            "bisect": plan.bisect is not None,
            "partial batch responses": plan.report_batch_item_failures,
            "on_failure_topic": plan.on_failure_topic is not None,
            "metrics": plan.metrics,
        }
        problems += [
            f"{option} needs mapping_mode provisioned" for option, is_asked in asked.items() if is_asked
        ]
    if plan.retries is not None and not -1 <= plan.retries <= RETRIES_LIMIT:
        problems.append(f"retries: {plan.retries}, allowed 0 to {RETRIES_LIMIT}")
    age = plan.max_record_age_seconds
    if age is not None and age != -1 and not 60 <= age <= RECORD_AGE_LIMIT_S:
        problems.append(f"max_record_age_seconds: {age}, allowed -1 or 60 to {RECORD_AGE_LIMIT_S}")
    if plan.pollers and not 1 <= plan.pollers[0] <= plan.pollers[1]:
        problems.append(
            f"minimum_pollers: {plan.pollers[0]}, allowed 1 to maximum_pollers ({plan.pollers[1]})"
        )
    if plan.on_failure_topic == plan.topic:
        problems.append(
            f"on_failure_topic: {plan.topic!r} is the mapping's own source; allowed: any other topic"
        )
    if plan.retries == -1 and plan.on_failure:
        problems.append("retries: -1 with an on-failure destination is silently 10; say a number")
    return problems


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
            # What the alarms read (`infra.operations.MappingAlarms`), and the lag by mapping beside it.
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
            actions=["kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"],
            resources=[cluster_arn],
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
