"""What the alarms and the dashboard of a synthesised stage read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.template.synth import Assembly


ALARM = "AWS::CloudWatch::Alarm"
MAPPING = "AWS::Lambda::EventSourceMapping"


def alarms_of(stage: Assembly) -> list[dict[str, Any]]:
    """Those of the stage, and those of its mappings, which are where the mappings are."""
    return [alarm for part in ("operations", "ingest") for alarm in stage.properties(part, ALARM)]


def metrics_of_alarms(stage: Assembly) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of every metric that an alarm reads."""
    for alarm in alarms_of(stage):
        for metric in [
            alarm,
            *(query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query),
        ]:
            if "MetricName" in metric:
                dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
                yield metric["Namespace"], metric["MetricName"], dimensions


def metrics_of(stage: Assembly) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The same, and those that the dashboard reads."""
    yield from metrics_of_alarms(stage)
    for widget in widgets(stage):
        for namespace, name, *rest in (m for m in widget.get("metrics", []) if isinstance(m[0], str)):
            pairs = [value for value in rest if isinstance(value, str)]
            yield namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


def widgets(stage: Assembly) -> list[dict[str, Any]]:
    body = stage.only("operations", "AWS::CloudWatch::Dashboard")["DashboardBody"]
    return [widget["properties"] for widget in json.loads(body)["widgets"]]


def only_table(stage: Assembly) -> tuple[str, list[str]]:
    """The table, and its indexes."""
    ((name, table),) = stage.resources("data", "AWS::DynamoDB::Table").items()
    return name, [index["IndexName"] for index in table["Properties"]["GlobalSecondaryIndexes"]]


def sections_of(stage: Assembly) -> dict[str, set[str]]:
    """The runbook's section -> the names of the alarms that link it."""
    found: dict[str, set[str]] = {}
    for alarm in alarms_of(stage):
        (section,) = re.findall(r"Runbook: docs/runbook\.md#([a-z0-9-]+)$", alarm["AlarmDescription"])
        found.setdefault(section, set()).add(alarm["AlarmName"])
    return found
