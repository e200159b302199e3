"""The deployed table as arguments of CreateTable, so that no test's keys can drift from the stack's."""

from __future__ import annotations

from typing import Any

from tests.template.synth import assembly

# What the API takes under the same name; the rest of the resource (TTL, backups, tags) has calls of its own.
_SAME_IN_API = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


def data_template(stage: str) -> dict[str, Any]:
    """The synthesised template of the stage's data stack (some seconds, once per test run)."""
    return assembly(stage).templates["data"]


def create_table_arguments(template: dict[str, Any], table_name: str = "ras-view") -> dict[str, Any]:
    """The arguments for boto3's `create_table`: keys, indexes and billing of the only table in `template`."""
    (table,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::DynamoDB::Table")
    properties = table["Properties"]
    return {"TableName": table_name, **{key: properties[key] for key in _SAME_IN_API}}
