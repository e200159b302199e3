"""The custom metrics that alarms and the dashboard read are ones that the functions emit, dimensions and all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator import metrics
from result_aggregator.observability import EMF_NAMESPACE

from tests import samples
from tests.handlers.conftest import logs, service
from tests.template.synth import assembly
from tests.template.watched import metrics_of

if TYPE_CHECKING:
    from tests.handlers.conftest import Logs, Service

__all__ = ["logs", "service"]

Emitted = tuple[str, str, frozenset[str]]
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"


def emitted(lines: list[dict[str, Any]]) -> set[Emitted]:
    """Namespace, name and dimensions' names of every metric in EMF lines."""
    return {
        (directive["Namespace"], metric["Name"], frozenset(dimensions))
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
    }


def test_alarms_read_what_is_emitted(service: Service, logs: Logs) -> None:
    """An alarm on a name or a set of dimensions that nothing emits would never ring."""
    value = samples.envelope({"batch_id": "b", "essay_id": "e", "status": "COMPLETED"})
    service.deliver([samples.Line(SPELLCHECK, "k", value), samples.Line(SPELLCHECK, "k", {"no": "event"})])
    service.get("/internal/v1/batches/{batch_id}/status", batch_id="b")
    _, lines = logs.take()
    found = emitted(lines)
    read = {
        # The stage's own, which this process has not been told of.
        (namespace.replace(metrics.namespace("prod"), EMF_NAMESPACE), name, frozenset(dimensions))
        for namespace, name, dimensions in metrics_of(assembly("prod"))
        if not namespace.startswith("AWS/")
    }

    assert len(read) == 9
    assert read <= found
    assert {line["service"] for line in lines} == {"result-aggregator"}
