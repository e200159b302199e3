"""The table as the templates deploy it: `python -m tests.template.table` writes it to `tests/table.json`."""

from __future__ import annotations

import json
from typing import Any

from tests import table
from tests.template.synth import assembly

# What CreateTable takes under the same name; the rest of the resource (TTL, backups, tags) has calls of its own.
_SAME_IN_API = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


def deployed(stage: str) -> dict[str, Any]:
    """CreateTable's arguments, but for the name, of the only table in the stage's data stack."""
    (found,) = assembly(stage).resources("data", "AWS::DynamoDB::Table").values()
    return {name: found["Properties"][name] for name in _SAME_IN_API}


if __name__ == "__main__":
    table.FILE.write_text(json.dumps(deployed("local"), indent=2) + "\n", encoding="utf-8")
