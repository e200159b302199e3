"""AWS's JSON schema of the embedded metric format, and what its page says beside it.

"Specification: Embedded metric format" in the CloudWatch user guide.
"""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

SCHEMA: Final = {
    "type": "object",
    "title": "Root Node",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "title": "Metadata",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "title": "MetricDirective",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "title": "DimensionSet",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "title": "DimensionReference",
                                    "minItems": 1,
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "title": "MetricDefinition",
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                        "Unit": {"type": "string"},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}

_UNITS: Final = frozenset({"Count", "Seconds", "Milliseconds", "Bytes", "Percent", "None"})
"""Those that are used here, of the MetricDatum's."""
MOST_METRICS: Final = 100
MOST_VALUES: Final = 100
MOST_BYTES: Final = 1024 * 1024

_VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def problems(line: dict[str, Any]) -> list[str]:
    """Why CloudWatch would take no metric, or a wrong one, out of this line of the log."""
    found = [f"{error.instance_path}: {error.message}" for error in _VALIDATOR.iter_errors(line)]
    if found:
        return found
    if len(json.dumps(line)) > MOST_BYTES:
        found.append("the line is over 1 MB")
    for directive in line["_aws"]["CloudWatchMetrics"]:
        if len(directive["Metrics"]) > MOST_METRICS:
            found.append(f"{len(directive['Metrics'])} metrics in one directive")
        for name in (name for dimensions in directive["Dimensions"] for name in dimensions):
            if not isinstance(line.get(name), str) or not 1 <= len(line[name]) <= 1024:
                found.append(f"dimension {name} is {line.get(name)!r}")
        for metric in directive["Metrics"]:
            values = line.get(metric["Name"])
            several = values if isinstance(values, list) else [values]
            numbers = [one for one in several if isinstance(one, int | float) and not isinstance(one, bool)]
            if len(numbers) != len(several) or not 1 <= len(several) <= MOST_VALUES:
                found.append(f"metric {metric['Name']} is {values!r}")
            if metric.get("Unit", "None") not in _UNITS:
                found.append(f"metric {metric['Name']} has the unit {metric['Unit']}")
    return found
