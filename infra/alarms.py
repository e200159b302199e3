"""The alarms, each with a page of its kind in `docs/runbook.md`."""

from dataclasses import dataclass

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct
from result_aggregator.domain.outcomes import HANDED_BACK
from result_aggregator.metrics import DLQ_MESSAGES_SENT, ORPHAN_BATCHES, RECORDS
from result_aggregator.topics import TOPICS

from infra.cloudwatch_metrics import FIVE_MINUTES, INGEST, MINUTE, StageMetrics, of_mapping
from infra.mapping_plans import Plan, short_name
from infra.settings import Settings


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
    they go to is named, not imported.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, plan: Plan, mapping_id: str
    ) -> None:
        super().__init__(scope, construct_id)
        arn = f"arn:{Aws.PARTITION}:sns:{Aws.REGION}:{Aws.ACCOUNT_ID}:{settings.name('alarms')}"
        topic = sns.Topic.from_topic_arn(self, "Alarms", arn)

        def watch(kind: str, count: str, meaning: str, *, periods: int = 1) -> None:
            made = Watch(
                kind=kind,
                part=short_name(plan.topic),
                meaning=meaning,
                metric=of_mapping(mapping_id, count),
                threshold=0,
                bad=periods,
                of=periods,
            )
            add_alarm(self, settings, made, topic)

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


def watches(metrics: StageMetrics) -> list[Watch]:
    """Every watch of a stage but those of its provisioned mappings (`MappingAlarms`)."""
    return [
        *(watch for folder in INGEST for watch in _ingest_watches(metrics, folder)),
        *(_stopped(metrics, topic) for topic in TOPICS),
        *([_given_up(metrics)] if metrics.settings.keeps_given_up else []),
        *_api_watches(metrics),
        _throttled_queries(metrics),
        *_table_watches(metrics),
        _orphans(metrics),
    ]


def _given_up(metrics: StageMetrics) -> Watch:
    return Watch(
        kind="given-up-batches",
        part="bucket",
        meaning="Mappings have given up batches after all their retries, and kept them as dead letters.",
        metric=metrics.given_up(FIVE_MINUTES),
        threshold=0,
        bad=1,
        of=1,
    )


def _api_watches(metrics: StageMetrics) -> list[Watch]:
    return [
        Watch(
            kind="api-5xx",
            part="api",
            meaning="More than one answer in a hundred was a 5xx.",
            # The average of zeros and ones is the share.
            metric=metrics.of_api("5XXError", "Average", FIVE_MINUTES),
            threshold=0.01,
            bad=2,
            of=3,
        ),
        Watch(
            kind="api-p99",
            part="api",
            meaning="One answer in a hundred takes longer than callers expect.",
            metric=metrics.of_api("Latency", "p99", FIVE_MINUTES),
            threshold=metrics.settings.slow_answer_ms,
            bad=3,
            of=5,
        ),
    ]


def _throttled_queries(metrics: StageMetrics) -> Watch:
    return Watch(
        kind="throttles",
        part="query",
        meaning="Queries were refused for want of concurrency.",
        metric=metrics.of_function("query", "Throttles", "Sum", FIVE_MINUTES),
        threshold=0,
        bad=2,
        of=3,
    )


def _table_watches(metrics: StageMetrics) -> list[Watch]:
    return [
        Watch(
            kind="throttles",
            part=f"{part}-{what}s",
            meaning=f"The {part.replace('-', ' ')} throttled {what}s.",
            metric=metrics.of_table(f"{what.capitalize()}ThrottleEvents", "Sum", FIVE_MINUTES, table, index),
            threshold=0,
            bad=2,
            of=3,
        )
        for part, table, index in metrics.counted_apart()
        for what in ("read", "write")
    ]


def _orphans(metrics: StageMetrics) -> Watch:
    return Watch(
        kind="orphan-batches",
        part="query",
        meaning="Batches are asked for, whose results came in but whose owner no event has named.",
        metric=metrics.emitted(ORPHAN_BATCHES, {"function": metrics.function("query")}, Duration.minutes(15)),
        threshold=0,
        bad=2,
        of=2,
    )


def _stopped(metrics: StageMetrics, topic: str) -> Watch:
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
            using_metrics={"lag": metrics.of_group(topic, "SumOffsetLag")},
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


def _ingest_watches(metrics: StageMetrics, folder: str) -> list[Watch]:
    part = folder.replace("_", "-")
    function = {"function": metrics.function(folder)}
    lag = metrics.of_function(folder, "OffsetLag", "Maximum", MINUTE)
    return [
        Watch(
            kind="offset-lag-growing",
            part=part,
            meaning="A topic is far behind and has not been catching up for a quarter of an hour.",
            # The maximum of the function's topics. Level counts as growing: what is stuck does not grow while
            # nobody publishes.
            metric=cloudwatch.MathExpression(
                expression=f"IF((lag > {metrics.settings.lag_floor}) AND (DIFF(lag) >= 0), 1, 0)",
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
            metric=metrics.emitted(DLQ_MESSAGES_SENT, function, FIVE_MINUTES),
            threshold=0,
            bad=1,
            of=1,
        ),
        Watch(
            kind="handed-back-records",
            part=part,
            meaning="Records fail for a passing reason that does not pass.",
            metric=metrics.emitted(RECORDS[HANDED_BACK], function, FIVE_MINUTES),
            threshold=0,
            bad=3,
            of=3,
        ),
        Watch(
            kind="function-errors",
            part=part,
            meaning="Whole invocations fail: batches come again, and in the end are given up.",
            metric=metrics.of_function(folder, "Errors", "Sum", FIVE_MINUTES),
            threshold=0,
            bad=2,
            of=3,
        ),
        Watch(
            kind="throttles",
            part=part,
            meaning="Invocations were refused for want of concurrency.",
            metric=metrics.of_function(folder, "Throttles", "Sum", FIVE_MINUTES),
            threshold=0,
            bad=2,
            of=3,
        ),
    ]


def add_alarm(scope: Construct, settings: Settings, watch: Watch, topic: sns.ITopic) -> None:
    """The alarm of a watch. It sends to `topic` when it rings and when it is over."""
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
