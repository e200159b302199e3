"""What CloudWatch does by itself and the emulator does not: make metrics of the lines that functions print.

`python -m ras_local.servers.emf_to_cloudwatch ENDPOINT_URL REGION POSITION_FILE SINCE_MS NAMESPACE GROUP…` runs until it is
terminated. It follows the log groups, reads lines in the embedded metric format, and puts their values into CloudWatch.

Each line counts once, over restarts too: what is about to be put is written down before, and every PutMetricData
also counts itself in the metric PUTS, by which the next start sees what of it arrived. It may only be lost or doubled
where this process is killed *while* the emulator is paused.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from ras.aws import Cloud
from ras.state_folder import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef
    from mypy_boto3_logs import CloudWatchLogsClient

    Dimensions = tuple[tuple[str, str], ...]

logger = logging.getLogger("ras_local.servers.emf_to_cloudwatch")

PUTS = "ras_local_embedded_metrics_puts"
"""The extractor's own metric: how many calls of PutMetricData it has made."""

ROUND_S = 1.0
# An event may be stored a little after the time that it carries; up to here, nothing is looked for yet.
_SETTLED_MS = 1000
# FilterLogEvents takes no more, and the emulator has no second page.
_EVENTS_AT_MOST = 10_000
# PutMetricData takes no more (API reference); one is PUTS.
_DATA_AT_MOST = 1000 - 1
_VALUES_AT_MOST = 150  # different values in one datum, likewise


@dataclass(frozen=True, slots=True)
class Position:
    """Lines before `start` are in. Those up to `end` are being put, by the calls after the first `puts`."""

    start: int
    end: int
    puts: int = 0


class Extractor:
    """Follows the log groups. Times are milliseconds since the epoch, by the emulator's clock, which is this one's."""

    def __init__(
        self,
        logs: CloudWatchLogsClient,
        cloudwatch: CloudWatchClient,
        groups: Sequence[str],
        namespace: str,
        position_file: Path,
        since: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._logs = logs
        self._cloudwatch = cloudwatch
        self._groups = groups
        self._namespace = namespace
        self._file = position_file
        self._since = since
        self._clock = clock
        self._asked_at: int | None = None

    def step(self) -> int:
        """Put what was printed since the step before, up to a moment ago; how many lines that was.

        Raises ClientError and BotoCoreError, and goes on from there when it is called again.
        """
        now = int(self._clock() * 1000)
        self._logs.describe_log_groups(limit=1)
        lines = 0
        position = self._finish()
        # As of the question before this one, which was answered: what an emulator that stood still since then had
        # begun to write has had the time between two steps to arrive.
        end = self._asked_at - _SETTLED_MS if self._asked_at else 0
        while position.start < end:
            upto, documents = self._read(position.start, end)
            lines += len(documents)
            position = self._write(Position(position.start, upto, position.puts), documents, already=0)
        self._asked_at = now
        return lines

    def _finish(self) -> Position:
        """Where to go on, after what was begun and perhaps not finished."""
        try:
            position = Position(**json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            # What an emulator that ran before the stack has printed and counted is none of ours.
            position = Position(self._since, self._since, self._puts())
            write_private(self._file, json.dumps(asdict(position)))
        if position.start == position.end:
            return position
        # The same lines as then: nothing is printed with a time that is long over.
        documents = self._documents(position.start, position.end) or []
        return self._write(position, documents, already=self._puts() - position.puts)

    def _write(self, position: Position, documents: Sequence[str], *, already: int) -> Position:
        """Put the documents between a position's start and end, except for the calls that were made; what comes then."""
        data = metric_data(documents, self._namespace)
        calls = [data[first : first + _DATA_AT_MOST] for first in range(0, len(data), _DATA_AT_MOST)]
        if calls:
            write_private(self._file, json.dumps(asdict(position)))
        for call in calls[already:]:
            itself: MetricDatumTypeDef = {
                "MetricName": PUTS,
                # By the clock that `_puts` looks back from.
                "Timestamp": datetime.fromtimestamp(self._clock(), UTC),
                "Value": 1,
                "Unit": "Count",
            }
            self._cloudwatch.put_metric_data(Namespace=self._namespace, MetricData=[*call, itself])
        after = Position(position.end, position.end, position.puts + len(calls))
        write_private(self._file, json.dumps(asdict(after)))
        return after

    def _puts(self) -> int:
        """How many calls have arrived, in the life of the emulator."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        found = self._cloudwatch.get_metric_statistics(
            Namespace=self._namespace,
            MetricName=PUTS,
            StartTime=now - timedelta(days=14),
            EndTime=now + timedelta(days=1),
            Period=86_400,
            Statistics=["Sum"],
        )
        return round(sum(point["Sum"] for point in found["Datapoints"]))

    def _read(self, start: int, end: int) -> tuple[int, list[str]]:
        """The documents from `start` on, and up to when: `end`, or earlier where there are very many."""
        while (documents := self._documents(start, end)) is None:
            end = start + (end - start) // 2
        return end, documents

    def _documents(self, start: int, end: int) -> list[str] | None:
        """The lines of all groups from `start` to before `end`; None for more than an answer holds."""
        documents: list[str] = []
        for group in self._groups:
            found = self._logs.filter_log_events(
                logGroupName=group,
                startTime=start,
                endTime=end - 1,
                filterPattern='"CloudWatchMetrics"',
                limit=_EVENTS_AT_MOST,
            )["events"]
            if len(found) == _EVENTS_AT_MOST and end - start > 1:
                return None
            documents += (event["message"] for event in found)
        return documents


def metric_data(documents: Iterable[str], namespace: str) -> list[MetricDatumTypeDef]:
    """The values of one namespace in documents of the embedded metric format, by minute, always in the same order.

    A line that is no such document is passed over, as in CloudWatch.
    """
    values: dict[tuple[int, str, str, Dimensions], Counter[float]] = {}
    for document in documents:
        for key, value in _values(document, namespace):
            values.setdefault(key, Counter())[value] += 1
    data: list[MetricDatumTypeDef] = []
    for (minute, name, unit, dimensions), counts in sorted(values.items()):
        counted = list(counts.items())
        for first in range(0, len(counted), _VALUES_AT_MOST):
            some = counted[first : first + _VALUES_AT_MOST]
            datum: Any = {
                "MetricName": name,
                "Timestamp": datetime.fromtimestamp(minute * 60, UTC),
                "Unit": unit,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                "Values": [value for value, _ in some],
                "Counts": [count for _, count in some],
            }
            data.append(datum)
    return data


def _values(document: str, namespace: str) -> Iterator[tuple[tuple[int, str, str, Dimensions], float]]:
    try:
        parsed = json.loads(document)
        head = parsed["_aws"]
        for directive in head["CloudWatchMetrics"]:
            if directive["Namespace"] != namespace:
                continue
            for names in directive["Dimensions"]:
                dimensions = tuple(sorted((name, str(parsed[name])) for name in names))
                for metric in directive["Metrics"]:
                    found = parsed[metric["Name"]]
                    for value in found if isinstance(found, list) else [found]:
                        key = (head["Timestamp"] // 60_000, metric["Name"], metric["Unit"], dimensions)
                        yield key, float(value)
    except (ValueError, TypeError, KeyError):
        logger.warning("not a document of the embedded metric format: %.200s", document)


def main(arguments: list[str]) -> None:
    endpoint_url, region, position_file, since, namespace, *groups = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    # One attempt: a PutMetricData that is tried again counts twice.
    cloud = Cloud(endpoint_url, region, retries=1)
    extractor = Extractor(cloud.logs, cloud.metrics, groups, namespace, Path(position_file), int(since))
    told = ""
    while True:
        try:
            if lines := extractor.step():
                logger.info("%d lines", lines)
            told = ""
        except (BotoCoreError, ClientError) as error:
            if str(error) != told:
                told = str(error)
                logger.warning("CloudWatch: %s", told)
        time.sleep(ROUND_S)


if __name__ == "__main__":
    # Without a handler for SIGTERM: it ends at once, and may end anywhere.
    main(sys.argv[1:])
