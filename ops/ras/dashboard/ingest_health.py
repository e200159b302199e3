"""Ingest health: what became of the records, minute by minute, and how far behind the mappings are.

The counts are the functions' own, out of CloudWatch. How far behind: on this machine what brokers and poller say, as
`ras status` shows it; in AWS the largest `OffsetLag` among each function's topics, which Lambda reports.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from result_aggregator.domain.outcomes import OUTCOMES
from result_aggregator.metrics import RECORDS, SERVICE, SERVICE_DIMENSION, namespace
from result_aggregator.names import function_name, resource_name
from result_aggregator.topics import TOPICS

from ras import stack_file, unclaimed
from ras.kafka import lag as kafka_lag
from ras.replay.rewind import enable_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mypy_boto3_cloudwatch import CloudWatchClient

    from ras.dashboard.data_source import DataSource

MINUTES = 60
"""How far back the chart of outcomes goes."""

_MINUTE_S = 60
# Lambda reports lag once a minute, and CloudWatch shows it a little later.
_LAG_WINDOW = timedelta(minutes=10)
# Less than a page waits: it says that the broker is silent, and shows the rest.
_BROKER_S = 5.0


def outcomes(source: DataSource, now: datetime) -> dict[str, Any]:
    """Records by outcome in each of the last MINUTES minutes, the running one last, and the sums.

    `{"minutes": [ISO times], "series": {outcome: [records]}, "totals": {outcome: records}}`. Raises botocore's errors.
    """
    last = now.replace(second=0, microsecond=0)
    minutes = [last - timedelta(minutes=back) for back in reversed(range(MINUTES))]
    wanted = [(outcome, name) for outcome in OUTCOMES for name in _functions(source.deployment.stage)]
    queries = [
        _query(
            number,
            namespace(source.deployment.stage),
            RECORDS[outcome].name,
            {SERVICE_DIMENSION: SERVICE, "function": name},
            "Sum",
        )
        for number, (outcome, name) in enumerate(wanted)
    ]
    series = {outcome: dict.fromkeys(minutes, 0) for outcome in OUTCOMES}
    for number, moment, value in _values(
        source.deployment.cloud.metrics, queries, minutes[0], last + timedelta(minutes=1)
    ):
        counted = series[wanted[number][0]]
        if moment in counted:
            counted[moment] += round(value)
    return {
        "minutes": [moment.isoformat() for moment in minutes],
        "series": {outcome: list(counted.values()) for outcome, counted in series.items()},
        "totals": {outcome: sum(counted.values()) for outcome, counted in series.items()},
    }


def lag(source: DataSource, now: datetime) -> dict[str, Any]:
    """How far behind each topic (on this machine) or function (in AWS) is, in records.

    `{"rows": [{"name", "function", "lag", …}], "consumed": records or null}`: `lag` is null where nothing has told.
    Raises OperatorError, botocore's errors.
    """
    return _local_lag(source) if source.is_local else _reported_lag(source, now)


def waiting(source: DataSource, now: datetime) -> dict[str, Any]:
    """How many results that name no batch nobody has claimed for an hour, by event time, and when they were counted.

    `{"unclaimed": results, "at": ISO time}`. A scan of the table: whoever asks keeps the answer for minutes.
    Raises OperatorError, botocore's errors.
    """
    return {"unclaimed": len(unclaimed.of_deployment(source.deployment, now)), "at": now.isoformat()}


def paused(source: DataSource, _now: datetime) -> list[dict[str, str]]:
    """The mappings that an interrupted replay has left disabled, each in a sentence and with the command that enables it.

    `[{"text", "enable"}]`. Raises botocore's errors.
    """
    deployment = source.deployment
    return [
        {"text": str(one), "enable": enable_command(deployment)}
        for one in deployment.paused_mappings.interrupted()
    ]


def _local_lag(source: DataSource) -> dict[str, Any]:
    stack = stack_file.load(source.deployment.state)
    groups = stack_file.consumer_groups(stack)
    progress = kafka_lag.progress(stack.bootstrap_servers, groups, timeout_s=_BROKER_S)
    told = {entry["topic"]: entry for entry in stack_file.mappings(source.deployment.state)}
    rows = []
    for topic, route in sorted(TOPICS.items()):
        entry: Mapping[str, Any] = told.get(topic, {})
        at = progress.get(topic)
        rows.append(
            {
                "name": topic,
                "function": route.function.replace("_", "-"),
                "state": entry.get("state", "unknown"),
                "lag": at.lag if at else None,
                "consumed": at.committed if at else None,
                "failures": entry.get("failures"),
                "given_up": entry.get("discarded"),
                "problem": entry.get("problem", ""),
            }
        )
    return {"rows": rows, "consumed": sum(at.committed for at in progress.values())}


def _reported_lag(source: DataSource, now: datetime) -> dict[str, Any]:
    names = _functions(source.deployment.stage)
    queries = [
        _query(number, "AWS/Lambda", "OffsetLag", {"FunctionName": name}, "Maximum")
        for number, name in enumerate(names)
    ]
    latest: dict[int, tuple[datetime, float]] = {}
    for number, moment, value in _values(source.deployment.cloud.metrics, queries, now - _LAG_WINDOW, now):
        if number not in latest or moment > latest[number][0]:
            latest[number] = moment, value
    rows = [
        {
            "name": name,
            "function": name.removeprefix(resource_name(source.deployment.stage, "")),
            "lag": round(latest[number][1]) if number in latest else None,
            "at": latest[number][0].isoformat() if number in latest else None,
        }
        for number, name in enumerate(names)
    ]
    return {"rows": rows, "consumed": None}


def _functions(stage: str) -> list[str]:
    return sorted({function_name(stage, topic.function) for topic in TOPICS.values()})


def _query(number: int, of: str, name: str, dimensions: Mapping[str, str], statistic: str) -> dict[str, Any]:
    metric = {
        "Namespace": of,
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": _MINUTE_S, "Stat": statistic}}


def _values(
    cloudwatch: CloudWatchClient, queries: Sequence[Any], start: datetime, end: datetime
) -> Iterable[tuple[int, datetime, float]]:
    """(number of the query, minute, value) of all data points."""
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=end
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            for moment, value in zip(result["Timestamps"], result["Values"], strict=True):
                yield int(result["Id"][1:]), moment.astimezone(UTC), value
