"""`ras unclaimed`: the results that no batch has claimed for an hour, by event time, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from ras import deployment as deployments
from ras import unclaimed
from ras.cli import main
from result_aggregator.domain import registers
from result_aggregator.domain.events import EssayIdentified, EssayPhaseEnded
from result_aggregator.domain.registers import time_text
from result_aggregator.store.view_store import ViewStore

from tests import writer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB


@pytest.fixture
def dynamodb_url() -> str | None:
    """A scan is a scan: the emulated one will do."""
    return None


@pytest.fixture
def store(table: str, http_client: DynamoDB) -> ViewStore:
    return ViewStore(table, http_client)


def result(
    store: ViewStore, essay_id: str, minutes: int, phase: str = "nlp", batch_id: str | None = None
) -> None:
    version = f"{time_text(datetime.now(UTC) - timedelta(minutes=minutes))} {'0' * 32}"
    event = EssayPhaseEnded(version=version, batch_id=batch_id, essay_id=essay_id, phase=phase, result={})
    writer.write(store, event)


def slot(store: ViewStore, essay_id: str) -> None:
    version = f"{time_text(datetime.now(UTC))} {'0' * 32}"
    event = EssayIdentified(
        version=version, batch_id="b", essay_id=essay_id, filename=None, original_text_storage_id=None
    )
    writer.write(store, event)


def test_what_waits_for_an_hour_is_listed(
    store: ViewStore, dynamodb: DynamoDBClient, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first; not what was claimed before or after, nor what is recent, nor what names its batch."""
    result(store, "waits", 90)
    result(store, "waits", 5, "ai_feedback")
    result(store, "older", 600)
    result(store, "recent", 5)
    result(store, "claimed-since", 90)
    slot(store, "claimed-since")
    slot(store, "claimed-before")
    result(store, "claimed-before", 90)
    result(store, "named", 90, batch_id="b")
    deployment = SimpleNamespace(
        cloud=SimpleNamespace(dynamodb=dynamodb), environment=lambda _: {"TABLE_NAME": table}
    )
    monkeypatch.setattr(deployments, "choose", lambda *_, **__: deployment)
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(main, ["unclaimed"])

    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.output.splitlines()]
    assert [row[1:] for row in rows[2:4]] == [["nlp", "older"], ["nlp", "waits"]]
    assert rows[2][0] < rows[3][0] < registers.api_time(time_text(datetime.now(UTC)))
    assert "2 results unclaimed for over an hour" in shown.output
    assert [*unclaimed.unclaimed(dynamodb, table, datetime.now(UTC) - timedelta(days=1))] == []
