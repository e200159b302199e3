"""Being on call: one dashboard that answers four questions, and alarms that each have a page in `docs/runbook.md`.

Metrics are named as the functions emit them (`result_aggregator.metrics`, which a test holds this against) and
as AWS does. A metric that is never emitted makes an alarm that never rings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Aws, Duration, Fn
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct
from result_aggregator.domain.outcomes import HANDED_BACK
from result_aggregator.metrics import (
    DLQ_MESSAGES_SENT,
    MESSAGES_PROCESSED,
    ORPHAN_BATCHES,
    RECORDS,
    SERVICE,
    SERVICE_DIMENSION,
    Metric,
    namespace,
)
from result_aggregator.names import USER_INDEX, function_name, log_group_name
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS, TOPICS

from infra.data import GIVEN_UP_METRICS
from infra.mappings import Plan, consumer_group, short_name
from infra.settings import Settings

INGEST = (BATCHES, ESSAYS, RANKINGS)

MINUTE = Duration.minutes(1)
FIVE_MINUTES = Duration.minutes(5)

# US dollars in us-east-1, where others cost up to a third more: on-demand DynamoDB per request unit, Lambda per
# GB-second and per request, REST API per request. Poller, cluster and endpoint hours do not depend on the load.
WRITE_UNIT_USD = 0.625e-6
READ_UNIT_USD = 0.125e-6
GB_SECOND_USD = {"arm64": 1.33334e-5, "x86_64": 1.66667e-5}
INVOCATION_USD = 0.2e-6
API_REQUEST_USD = 3.5e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm. `kind` is its section in the runbook; `part` tells apart several of a kind.

    It rings when `metric` is over `threshold` in `bad` of the last `of` periods. No data is no alarm: a mapping that
    stops is seen by what MSK itself says of its group (`stopped-topics`), no callers by the dashboard.
    """

    kind: str
    part: str
    meaning: str
    metric: cloudwatch.IMetric
    threshold: float
    bad: int
    of: int


class MappingAlarms(Construct):
    """Alarms on what Lambda counts of one provisioned mapping, by its id, which is known where the mapping is made.

    They live in the mapping's stack, so that operations can be destroyed without it and the other way round; the topic
    they go to is named, not imported. Lambda guide, "Event source mapping metrics": EventCount and ErrorCount have to be
    asked for (`infra.mappings`), and carry the dimension EventSourceMappingUUID.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, plan: Plan, mapping_id: str
    ) -> None:
        super().__init__(scope, construct_id)
        arn = f"arn:{Aws.PARTITION}:sns:{Aws.REGION}:{Aws.ACCOUNT_ID}:{settings.name('alarms')}"
        topic = sns.Topic.from_topic_arn(self, "Alarms", arn)

        def watch(kind: str, count: str, meaning: str, *, periods: int = 1) -> None:
            metric = cloudwatch.Metric(
                namespace="AWS/Lambda",
                metric_name=count,
                dimensions_map={"EventSourceMappingUUID": mapping_id},
                statistic="Sum",
                period=FIVE_MINUTES,
            )
            made = Watch(
                kind=kind,
                part=short_name(plan.topic),
                meaning=meaning,
                metric=metric,
                threshold=0,
                bad=periods,
                of=periods,
            )
            _alarm(self, settings, made, topic)

        watch("dropped-records", "DroppedEventCount", "The mapping dropped records and kept them nowhere.")
        watch(
            "polling-errors",
            "PollingErrorCount",
            "Reading its topic has failed in each of the last three periods of five minutes.",
            periods=3,
        )
        if plan.on_failure:
            watch(
                "given-up-batches",
                "OnFailureDestinationDeliveredEventCount",
                "The mapping gave up records after all its retries, and kept them at its destination.",
            )


class Operations(Construct):
    """The alarms' topic, the alarms and the dashboard of one stage."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        table: dynamodb.ITable,
        second: dynamodb.ITable | None,
        bucket: s3.IBucket,
        cluster_arn: str,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._written = {"table": table, **({"second-table": second} if second else {})}
        self._bucket = bucket
        self._cluster_name = Fn.select(1, Fn.split("/", cluster_arn))
        self.topic = self._topic(key)
        for watch in self._watches():
            _alarm(self, self._settings, watch, self.topic)
        self._dashboard()

    def _topic(self, key: kms.IKey | None) -> sns.Topic:
        topic = sns.Topic(
            self, "Alarms", topic_name=self._settings.name("alarms"), master_key=key, enforce_ssl=True
        )
        # Said out loud, because a topic that has a policy of its own loses the default one.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisStage",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": topic.stack.account}},
            )
        )
        for address in self._settings.alarm_emails:
            topic.add_subscription(subscriptions.EmailSubscription(address))
        return topic

    def _watches(self) -> list[Watch]:
        per_function = [watch for folder in INGEST for watch in self._ingest_watches(folder)]
        given_up = [
            Watch(
                kind="given-up-batches",
                part="bucket",
                meaning="Mappings have given up batches after all their retries, and kept them as dead letters.",
                metric=self._given_up(FIVE_MINUTES),
                threshold=0,
                bad=1,
                of=1,
            )
        ]
        return [
            *per_function,
            *(self._stopped(topic) for topic in TOPICS),
            *(given_up if self._settings.keeps_given_up else []),
            Watch(
                kind="api-5xx",
                part="api",
                meaning="More than one answer in a hundred was a 5xx.",
                # The average of zeros and ones is the share.
                metric=self._api("5XXError", "Average", FIVE_MINUTES),
                threshold=0.01,
                bad=2,
                of=3,
            ),
            Watch(
                kind="api-p99",
                part="api",
                meaning="One answer in a hundred takes longer than callers expect.",
                metric=self._api("Latency", "p99", FIVE_MINUTES),
                threshold=self._settings.slow_answer_ms,
                bad=3,
                of=5,
            ),
            Watch(
                kind="throttles",
                part="query",
                meaning="Queries were refused for want of concurrency.",
                metric=self._function("query", "Throttles", "Sum", FIVE_MINUTES),
                threshold=0,
                bad=2,
                of=3,
            ),
            *(
                Watch(
                    kind="throttles",
                    part=f"{part}-{what}s",
                    meaning=f"The {part.replace('-', ' ')} throttled {what}s.",
                    metric=self._of_table(
                        f"{what.capitalize()}ThrottleEvents", "Sum", FIVE_MINUTES, table, index
                    ),
                    threshold=0,
                    bad=2,
                    of=3,
                )
                for part, table, index in self._counted_apart()
                for what in ("read", "write")
            ),
            Watch(
                kind="orphan-batches",
                part="query",
                meaning="Batches are asked for, whose results came in but whose owner no event has named.",
                metric=self._emitted(ORPHAN_BATCHES, {"function": self._name("query")}, Duration.minutes(15)),
                threshold=0,
                bad=2,
                of=2,
            ),
        ]

    def _stopped(self, topic: str) -> Watch:
        """A topic that waits and is not read, as MSK says of the group: a mapping that is off counts nothing itself.

        MSK guide, "Monitor consumer lags": lag is told of a group that is STABLE or EMPTY, so also of one that nobody is
        in, but not before its first commit. An idle topic's lag is 0, and one that is read falls now and then.
        """
        return Watch(
            kind="stopped-topics",
            part=short_name(topic),
            meaning="Records wait, and for half an hour their number has hardly ever fallen.",
            metric=cloudwatch.MathExpression(
                expression="IF((lag > 0) AND (DIFF(lag) >= 0), 1, 0)",
                using_metrics={"lag": self._of_group(topic, "SumOffsetLag")},
                label="waiting, and not getting less",
                period=MINUTE,
            ),
            threshold=0,
            # A slow, steady topic has a record or two waiting at most looks, often as many as at the last one: drawn at
            # random (1 to 5 records a second, done with within the window) that makes 13 of 15 several times a month,
            # and 27 of 30 in none of four. The rest are to spare: the first minute has no difference, one may be missing.
            bad=27,
            of=30,
        )

    def _ingest_watches(self, folder: str) -> list[Watch]:
        part = folder.replace("_", "-")
        function = {"function": self._name(folder)}
        lag = self._function(folder, "OffsetLag", "Maximum", MINUTE)
        return [
            Watch(
                kind="offset-lag-growing",
                part=part,
                meaning="A topic is far behind and has not been catching up for a quarter of an hour.",
                # The maximum of the function's topics. Level counts as growing: what is stuck does not grow while
                # nobody publishes.
                metric=cloudwatch.MathExpression(
                    expression=f"IF((lag > {self._settings.lag_floor}) AND (DIFF(lag) >= 0), 1, 0)",
                    using_metrics={"lag": lag},
                    label="far behind, and not catching up",
                    period=MINUTE,
                ),
                threshold=0,
                bad=12,
                of=15,
            ),
            Watch(
                kind="dead-letters",
                part=part,
                meaning="Records were rejected for good and kept as dead letters.",
                metric=self._emitted(DLQ_MESSAGES_SENT, function, FIVE_MINUTES),
                threshold=0,
                bad=1,
                of=1,
            ),
            Watch(
                kind="handed-back-records",
                part=part,
                meaning="Records fail for a passing reason that does not pass.",
                metric=self._emitted(RECORDS[HANDED_BACK], function, FIVE_MINUTES),
                threshold=0,
                bad=3,
                of=3,
            ),
            Watch(
                kind="function-errors",
                part=part,
                meaning="Whole invocations fail: batches come again, and in the end are given up.",
                metric=self._function(folder, "Errors", "Sum", FIVE_MINUTES),
                threshold=0,
                bad=2,
                of=3,
            ),
            Watch(
                kind="throttles",
                part=part,
                meaning="Invocations were refused for want of concurrency.",
                metric=self._function(folder, "Throttles", "Sum", FIVE_MINUTES),
                threshold=0,
                bad=2,
                of=3,
            ),
        ]

    # --- the dashboard

    def _dashboard(self) -> None:
        dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self._settings.name("overview"),
            default_interval=Duration.hours(3),
        )
        for question, widgets in (
            ("Is it keeping up?", self._keeping_up()),
            ("Is it correct?", self._correct()),
            ("Is it fast?", self._fast()),
            ("What does it cost?", self._cost()),
        ):
            dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"## {question}", width=24, height=1))
            dashboard.add_widgets(*widgets)

    def _keeping_up(self) -> list[cloudwatch.IWidget]:
        return [
            _graph(
                "Records behind, worst topic of each function",
                [self._function(folder, "OffsetLag", "Maximum", MINUTE) for folder in INGEST],
            ),
            _graph(
                "Seconds behind, by topic (MSK's estimate)",
                [self._of_group(topic, "EstimatedMaxTimeLag") for topic in TOPICS],
            ),
            _graph(
                "Records handled a minute",
                [
                    self._emitted(MESSAGES_PROCESSED, {"function": self._name(folder)}, MINUTE)
                    for folder in INGEST
                ],
            ),
            _graph(
                "Throttles",
                [
                    *(self._function(folder, "Throttles", "Sum", MINUTE) for folder in (*INGEST, "query")),
                    *self._of_tables("WriteThrottleEvents", MINUTE),
                    *self._of_tables("ReadThrottleEvents", MINUTE),
                ],
            ),
        ]

    def _correct(self) -> list[cloudwatch.IWidget]:
        return [
            *(
                _graph(
                    f"What became of records: {self._name(folder)}",
                    [
                        self._emitted(metric, {"function": self._name(folder)}, MINUTE)
                        for metric in RECORDS.values()
                    ],
                )
                for folder in INGEST
            ),
            _graph(
                "Dead letters, failed invocations, orphans",
                [
                    *(
                        self._emitted(DLQ_MESSAGES_SENT, {"function": self._name(folder)}, MINUTE)
                        for folder in INGEST
                    ),
                    *(self._function(folder, "Errors", "Sum", MINUTE) for folder in (*INGEST, "query")),
                    self._emitted(ORPHAN_BATCHES, {"function": self._name("query")}, MINUTE),
                    *([self._given_up(MINUTE)] if self._settings.keeps_given_up else []),
                ],
            ),
        ]

    def _fast(self) -> list[cloudwatch.IWidget]:
        return [
            _graph(
                "API latency (ms)",
                [self._api("Latency", statistic, MINUTE) for statistic in ("p50", "p90", "p99")],
            ),
            _graph(
                "API requests and errors",
                [self._api(name, "Sum", MINUTE) for name in ("Count", "4XXError", "5XXError")],
            ),
            _graph(
                "Function time, p99 (ms)",
                [self._function(folder, "Duration", "p99", MINUTE) for folder in (*INGEST, "query")],
            ),
            cloudwatch.LogQueryWidget(
                title="Cold starts and restores",
                log_group_names=[log_group_name(self._name(folder)) for folder in (*INGEST, "query")],
                # Lambda's own lines: a function with a snapshot reports a restore where others report an init.
                query_lines=[
                    'filter @type = "REPORT"',
                    "parse @message /Restore Duration: (?<restore_ms>[0-9.]+) ms/",
                    "stats count(@initDuration) as cold_starts, max(@initDuration) as init_ms,"
                    " count(restore_ms) as restores, max(restore_ms) as slowest_restore_ms by @log",
                ],
                width=6,
                height=6,
                view=cloudwatch.LogQueryVisualizationType.TABLE,
            ),
        ]

    def _cost(self) -> list[cloudwatch.IWidget]:
        hour = Duration.hours(1)
        memory_gb = {
            **dict.fromkeys(INGEST, self._settings.ingest_memory_mb / 1024),
            "query": self._settings.query_memory_mb / 1024,
        }
        used = {f"d{number}": folder for number, folder in enumerate(memory_gb)}
        # Nothing counts as none, here and below: a sum over a series that has no data shows nothing.
        gb_second = _usd(GB_SECOND_USD[self._settings.architecture])
        lambda_usd = " + ".join(
            f"FILL({name}, 0) / 1000 * {memory_gb[folder]:g} * {gb_second}"
            f" + FILL({name.replace('d', 'n')}, 0) * {_usd(INVOCATION_USD)}"
            for name, folder in used.items()
        )
        per_hour = [
            # A line each, as what gives way to what is paid for is seen then.
            *(
                _money(
                    f"FILL(w{number}, 0) * {_usd(WRITE_UNIT_USD)} + FILL(r{number}, 0) * {_usd(READ_UNIT_USD)}",
                    {
                        f"w{number}": self._of_table("ConsumedWriteCapacityUnits", "Sum", hour, table, index),
                        f"r{number}": self._of_table("ConsumedReadCapacityUnits", "Sum", hour, table, index),
                    },
                    f"DynamoDB {part.replace('-', ' ')}",
                )
                for number, (part, table, index) in enumerate(self._counted_apart())
            ),
            _money(
                lambda_usd,
                {name: self._function(folder, "Duration", "Sum", hour) for name, folder in used.items()}
                | {
                    name.replace("d", "n"): self._function(folder, "Invocations", "Sum", hour)
                    for name, folder in used.items()
                },
                "Lambda",
            ),
            _money(f"a * {_usd(API_REQUEST_USD)}", {"a": self._api("Count", "Sum", hour)}, "API Gateway"),
        ]
        return [
            _graph(
                "Request units a minute",
                [
                    *self._of_tables("ConsumedWriteCapacityUnits", MINUTE),
                    *self._of_tables("ConsumedReadCapacityUnits", MINUTE),
                ],
            ),
            cloudwatch.GraphWidget(
                title="Estimated US dollars an hour, by use (prices of us-east-1; no hourly charges)",
                left=per_hour,
                stacked=True,
                width=12,
                height=6,
            ),
            _graph(
                "Most functions at once",
                [
                    self._function(folder, "ConcurrentExecutions", "Maximum", MINUTE)
                    for folder in (*INGEST, "query")
                ],
            ),
        ]

    # --- metrics

    def _name(self, folder: str) -> str:
        return function_name(self._settings.stage, folder)

    def _emitted(self, metric: Metric, dimensions: dict[str, str], period: Duration) -> cloudwatch.Metric:
        """A sum of a count that our functions emit; Powertools adds the service to what they say."""
        return cloudwatch.Metric(
            namespace=namespace(self._settings.stage),
            metric_name=metric.name,
            dimensions_map={SERVICE_DIMENSION: SERVICE, **dimensions},
            statistic="Sum",
            period=period,
        )

    def _function(self, folder: str, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        function = self._name(folder)
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": function},
            statistic=statistic,
            period=period,
            label=f"{function} {name}",
        )

    def _api(self, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name=name,
            dimensions_map={"ApiName": self._name("query"), "Stage": self._settings.stage},
            statistic=statistic,
            period=period,
            label=f"{name} {statistic}",
        )

    def _counted_apart(self) -> list[tuple[str, dynamodb.ITable, str | None]]:
        """Name, table and index of everything that DynamoDB counts by itself."""
        return [
            (f"{part}-index" if index else part, table, index)
            for part, table in self._written.items()
            for index in (None, USER_INDEX)
        ]

    def _of_table(
        self,
        name: str,
        statistic: str,
        period: Duration,
        table: dynamodb.ITable,
        index: str | None,
    ) -> cloudwatch.Metric:
        """A metric of DynamoDB, of a table, or of its index where that is named.

        DynamoDB guide, "WriteThrottleEvents": "The TableName dimension returns" those "for the table, but not for any
        global secondary indexes"; consumed units are told apart likewise.
        """
        return cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name=name,
            dimensions_map={
                "TableName": table.table_name,
                **({"GlobalSecondaryIndexName": index} if index else {}),
            },
            statistic=statistic,
            period=period,
        )

    def _of_tables(self, name: str, period: Duration) -> list[cloudwatch.IMetric]:
        """The sum of each table and of each index."""
        return [
            self._of_table(name, "Sum", period, table, index) for _, table, index in self._counted_apart()
        ]

    def _given_up(self, period: Duration) -> cloudwatch.Metric:
        """What Lambda has put into the bucket, for all mappings together."""
        return cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="PutRequests",
            dimensions_map={"BucketName": self._bucket.bucket_name, "FilterId": GIVEN_UP_METRICS},
            statistic="Sum",
            period=period,
            label="batches given up",
        )

    def _of_group(self, topic: str, name: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/Kafka",
            metric_name=name,
            dimensions_map={
                "Cluster Name": self._cluster_name,
                "Consumer Group": consumer_group(self._settings, topic),
                "Topic": topic,
            },
            statistic="Maximum",
            period=MINUTE,
            label=topic,
        )


def _alarm(scope: Construct, settings: Settings, watch: Watch, topic: sns.ITopic) -> None:
    alarm = cloudwatch.Alarm(
        scope,
        f"{watch.kind}-{watch.part}",
        alarm_name=settings.name(f"{watch.kind}-{watch.part}"),
        alarm_description=f"{watch.meaning} Runbook: {settings.runbook}#{watch.kind}",
        metric=watch.metric,
        threshold=watch.threshold,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        datapoints_to_alarm=watch.bad,
        evaluation_periods=watch.of,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    alarm.add_ok_action(actions.SnsAction(topic))


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=6, height=6)


def _usd(price: float) -> str:
    """Metric math knows no exponents."""
    return f"{price:.12f}".rstrip("0")


def _money(
    expression: str, metrics: Mapping[str, cloudwatch.IMetric], label: str
) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression=expression, using_metrics=dict(metrics), label=label, period=Duration.hours(1)
    )
