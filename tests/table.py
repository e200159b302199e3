"""The view's table for tests and benchmarks that create one themselves, without a synthesis.

`table.json` holds what the templates deploy: `tests/template/test_data.py` compares the two, and
`python -m tests.template.table` writes the file again after a change of the table in `infra/`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("table.json")


def create_table_arguments(table_name: str = "ras-view") -> dict[str, Any]:
    """The arguments for boto3's `create_table`: keys, indexes and billing of the table that is deployed."""
    kept: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return {"TableName": table_name, **kept}
