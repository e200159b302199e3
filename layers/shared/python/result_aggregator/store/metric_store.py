"""The service's metrics in CloudWatch, which makes them of what the functions print (embedded metric format)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.metrics import METRICS, SERVICE, SERVICE_DIMENSION, Kind, Series, Total
from result_aggregator.store.aws import config, session, translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef, MetricOutputTypeDef

# GetMetricData takes at most 500 queries, and answers up to 100,800 data points in one page (API reference); a month
# of days in each is 15,500.
_QUERIES_AT_MOST = 500
_DAY_S = 86_400

_STATISTICS = {Kind.COUNTER: ("Sum",), Kind.SUMMARY: ("Sum", "SampleCount")}


@cache
def _client() -> CloudWatchClient:
    # One attempt: a scraper comes again by itself, and both calls must be over before the function's time is.
    return session().client("cloudwatch", config=config().merge(Config(retries={"total_max_attempts": 1})))


class MetricStore:
    """The metrics of one namespace. Methods raise UnavailableError (`domain.store_interface`)."""

    def __init__(self, namespace: str, cloudwatch: CloudWatchClient | None = None) -> None:
        self._namespace = namespace
        self._cloudwatch = cloudwatch or _client()

    def totals(self, start: datetime, end: datetime) -> dict[Series, Total]:
        """What each series of the registry came to from `start` to `end`, both midnight UTC.

        One ListMetrics per 500 metrics and one GetMetricData per 500 queries; a counter is one query, a summary two.
        A series that is younger than some 15 minutes or had no value for two weeks is not listed (ListMetrics), and
        so not here.
        """
        try:
            return self._read([*self._listed()], start, end)
        except (ClientError, BotoCoreError) as error:
            raise translated(error) from error

    def _listed(self) -> Iterator[tuple[Series, MetricOutputTypeDef]]:
        pages = self._cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=self._namespace, Dimensions=[{"Name": SERVICE_DIMENSION, "Value": SERVICE}]
        )
        for page in pages:
            for listed in page["Metrics"]:
                if series := _series(listed):
                    yield series, listed

    def _read(
        self, listed: Iterable[tuple[Series, MetricOutputTypeDef]], start: datetime, end: datetime
    ) -> dict[Series, Total]:
        wanted: dict[str, tuple[Series, str]] = {}
        queries: list[MetricDataQueryTypeDef] = []
        for series, metric in listed:
            for statistic in _STATISTICS[series.metric.kind]:
                query_id = f"q{len(queries)}"
                wanted[query_id] = series, statistic
                # Days, because they begin at `start` whether periods are counted from there or from 1970.
                stat: Any = {"Metric": metric, "Period": _DAY_S, "Stat": statistic}
                queries.append({"Id": query_id, "MetricStat": stat})
        found = dict.fromkeys(wanted, 0.0)
        for first in range(0, len(queries), _QUERIES_AT_MOST):
            for query_id, value in self._values(queries[first : first + _QUERIES_AT_MOST], start, end):
                found[query_id] += value
        sums: dict[tuple[Series, str], float] = {wanted[query_id]: value for query_id, value in found.items()}
        return {
            series: Total(sums[series, "Sum"], sums.get((series, "SampleCount"), 0))
            for series, statistic in sums
            if statistic == "Sum"
        }

    def _values(
        self, queries: Sequence[MetricDataQueryTypeDef], start: datetime, end: datetime
    ) -> Iterator[tuple[str, float]]:
        pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=start, EndTime=end
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                # PartialData goes on on the next page; anything else would be a counter that steps down.
                if result.get("StatusCode", "Complete") not in ("Complete", "PartialData"):
                    raise UnavailableError(f"GetMetricData: {result.get('StatusCode')}")
                yield from ((result["Id"], value) for value in result["Values"])


def _series(listed: MetricOutputTypeDef) -> Series | None:
    """What the registry calls a metric of CloudWatch; None of one that it does not have (any more)."""
    metric = METRICS.get(listed.get("MetricName", ""))
    values: Mapping[str, str] = {
        dimension["Name"]: dimension["Value"]
        for dimension in listed.get("Dimensions", [])
        if dimension["Name"] != SERVICE_DIMENSION
    }
    if metric is None or values.keys() != set(metric.labels):
        return None
    return Series(metric, tuple(values[label] for label in metric.labels))
