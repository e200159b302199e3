"""Metrics as lines of a log: CloudWatch's embedded metric format, counts of several sets of labels in one line.

Powertools' Metrics makes a line for each set of labels, which took a fifth of the CPU of a small answer. The format takes
several metric directives in a line (CloudWatch user guide, "Specification: Embedded metric format"). Their labels and
values are members of one object, so those of one name and different values go to different lines.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from result_aggregator import metrics
from result_aggregator.metrics import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from result_aggregator.metrics import Metric

MOST_VALUES = 100
"""Values that a metric may have in a line (the specification)."""

_UNITS = {Kind.COUNTER: "Count", Kind.SUMMARY: "Seconds"}

_Line = tuple[list[dict[str, Any]], dict[str, Any]]


class EmbeddedMetrics:
    """What is counted, until it is written. Of one thread."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._lines: list[_Line] = []

    def add(self, labels: Mapping[str, str], values: Mapping[Metric, float | Sequence[float]]) -> None:
        """Count values of metrics that have these labels.

        Raises ValueError where they are not the metric's: `/metrics` would not know it.
        """
        counted: dict[Metric, Sequence[float]] = {}
        for metric, value in values.items():
            if labels.keys() != set(metric.labels):
                raise ValueError(f"{metric.name} has the labels {metric.labels}, not {tuple(labels)}")
            counted[metric] = [value] if isinstance(value, int | float) else value
        self._add(labels, {metric: some[:MOST_VALUES] for metric, some in counted.items()})
        if more := {
            metric: some[MOST_VALUES:] for metric, some in counted.items() if len(some) > MOST_VALUES
        }:
            self.add(labels, more)

    def _add(self, labels: Mapping[str, str], values: Mapping[Metric, Sequence[float]]) -> None:
        members: dict[str, Any] = {**labels, metrics.SERVICE_DIMENSION: metrics.SERVICE}
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [[*members]],
            "Metrics": [{"Name": metric.name, "Unit": _UNITS[metric.kind]} for metric in values],
        }
        members |= {metric.name: some for metric, some in values.items()}
        directives, shared = self._line_for(members)
        directives.append(directive)
        shared |= members

    def _line_for(self, members: Mapping[str, Any]) -> _Line:
        for line in self._lines:
            shared = line[1]
            # Values come as lists, and another list of the same name would take the place of the first.
            if all(
                name not in shared or (shared[name] == value and isinstance(value, str))
                for name, value in members.items()
            ):
                return line
        self._lines.append(([], {}))
        return self._lines[-1]

    def write(self) -> None:
        """Write what was counted since the last time to standard output, from where Lambda takes it to the log."""
        lines, self._lines = self._lines, []
        at = time.time_ns() // 1_000_000
        for directives, members in lines:
            head = {"Timestamp": at, "CloudWatchMetrics": directives}
            sys.stdout.write(to_json({"_aws": head, **members}).decode() + "\n")
