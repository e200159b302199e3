"""Prometheus text, read by Prometheus' own client library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Iterable[Metric]:
    """The metric families of a scrape. Raises ValueError for what is no Prometheus text."""
    return text_string_to_metric_families(text)


def samples(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        value for (sample, given), value in found.items() if sample == name and labels.items() <= set(given)
    )
