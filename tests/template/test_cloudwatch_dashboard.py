"""The dashboard: it shows every outcome, and computes with the price list."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from result_aggregator.domain.outcomes import OUTCOMES

from tests.template.watched import widgets

if TYPE_CHECKING:
    from tests.template.synth import Assembly


def test_dashboard_shows_every_outcome_and_no_other(prod: Assembly) -> None:
    assert set(re.findall(r"ras_records_(\w+)_total", json.dumps(widgets(prod)))) == set(OUTCOMES)


def test_estimated_cost_is_the_price_list_times_use(prod: Assembly) -> None:
    """A million of each, by the same formula that the dashboard has, costs what the price list says."""
    (widget,) = (w for w in widgets(prod) if "dollars" in w.get("title", ""))
    expressions = {m[0]["label"]: m[0]["expression"] for m in widget["metrics"] if isinstance(m[0], dict)}

    def cost(label: str, **use: float | None) -> float:
        assert "e-" not in expressions[label], "metric math knows no exponents"
        # The formulas are products and sums, which Python reads alike, of series that may have no data.
        known = use | {"FILL": lambda series, filled: filled if series is None else series}
        return round(float(eval(expressions[label], {"__builtins__": {}}, known)), 4)  # noqa: S307 - our own text

    idle: dict[str, float | None] = {f"{letter}{number}": None for letter in "dn" for number in range(4)}
    for number, of in enumerate(("table", "table index")):
        assert cost(f"DynamoDB {of}", **{f"w{number}": 1e6, f"r{number}": None}) == 0.625
        assert cost(f"DynamoDB {of}", **{f"w{number}": 0, f"r{number}": 1e6}) == 0.125
    assert cost("API Gateway", a=1e6) == 3.5
    # A million invocations of 100 ms at 512 MB are 50,000 GB-seconds.
    assert cost("Lambda", **{**idle, "d3": 1e8, "n3": 1e6}) == round(0.2 + 50_000 * 1.33334e-5, 4)


def test_metric_ids_of_the_cost_formulas_are_given(prod: Assembly) -> None:
    """A formula over a metric that is not on the widget shows nothing."""
    (widget,) = (w for w in widgets(prod) if "dollars" in w.get("title", ""))
    ids = {m[-1]["id"] for m in widget["metrics"] if isinstance(m[-1], dict) and "id" in m[-1]}
    used = {
        name
        for m in widget["metrics"]
        if isinstance(m[0], dict)
        for name in re.findall(r"\b[a-z][a-z0-9]*\b", m[0]["expression"])
    }

    assert used <= ids


def test_cold_starts_are_read_from_the_lines_that_lambda_writes(prod: Assembly) -> None:
    """Its report is JSON as the functions' log format says; a line of text has neither field."""
    (widget,) = (w for w in widgets(prod) if w.get("title") == "Cold starts and restores")

    assert 'type = "platform.report"' in widget["query"]
    assert {"record.metrics.initDurationMs", "record.metrics.restoreDurationMs"} <= set(
        re.findall(r"record\.[\w.]+", widget["query"])
    )
