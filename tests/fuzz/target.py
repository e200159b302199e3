"""What must hold of reading a record, whatever it is."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from result_aggregator import msk_event
from result_aggregator.contracts import Ignored, RejectedError, read
from result_aggregator.contracts.rejection import MAX_PROBLEMS
from result_aggregator.domain import registers, table_layout
from result_aggregator.domain.events import AnyEvent, BatchDescribed, EssayIdentified, EssayPhaseEnded
from result_aggregator.domain.ranking import RankingTooLargeError
from result_aggregator.msk_event import NotBase64Error

from tests import fold, samples

REJECTIONS = {
    "not_base64", "not_json", "not_an_object", "invalid_field", "unknown_status", "unknown_phase", "from_the_future",
    "essay_ranked_twice", "too_large",
}  # fmt: skip
IGNORED = {
    "unknown_topic", "tombstone", "registration_of_nothing", "summary_without_rankings", "summary_without_job",
    "empty_ranking", "phase_not_viewed",
}  # fmt: skip

# DynamoDB's limits (Service quotas): bytes of an item with its names, of a partition key, of a sort key.
ITEM_BYTES = 400 * 1024
PARTITION_KEY_BYTES = 2048
SORT_KEY_BYTES = 1024

_VERSION = re.compile(r"\d{8}T\d{12} [0-9a-f]{32}", re.ASCII)


def outcome(record: dict[str, Any]) -> str:
    """What reading a record comes to: `event <kind>`, `ignored <reason>` or `rejected <code>`.

    Raises AssertionError where something does not hold that must, and whatever the readers should not have raised.
    """
    found = _read(record)
    again = _read(record)
    assert found == again, f"read as {found}, then as {again}"
    if isinstance(found, RejectedError):
        _hold_rejection(found)
        return f"rejected {found.code}"
    if isinstance(found, Ignored):
        assert found.reason in IGNORED
        return f"ignored {found.reason}"
    event, changes = found
    for change in changes:
        _hold_change(change)
    _hold_answer(event)
    return f"event {type(event).__name__}"


def _read(record: dict[str, Any]) -> tuple[AnyEvent, list[table_layout.Change]] | Ignored | RejectedError:
    """As `ingest` reads a record, but for its last resort: what nobody foresaw comes out."""
    [received] = msk_event.records_of(samples.msk_event([record]))
    try:
        event = read(received.topic, received.value(), received.timestamp)
        return event if isinstance(event, Ignored) else (event, table_layout.changes_of(event))
    except NotBase64Error:
        return RejectedError("not_base64")
    except RankingTooLargeError:
        return RejectedError("too_large")
    except RejectedError as rejection:
        return rejection


def _hold_rejection(rejection: RejectedError) -> None:
    """Its code is known, and it is short whatever was rejected: it goes into logs, metrics and the letter."""
    assert rejection.code in REJECTIONS
    assert len(rejection.problems) <= MAX_PROBLEMS
    assert len(str(rejection).encode()) <= 4096


def _hold_change(change: table_layout.Change) -> None:
    """DynamoDB takes it, and it is what registers are: sorted by their versions, their payloads JSON."""
    size = len(change.key.pk.encode()) + len(change.key.sk.encode()) + 16
    assert len(change.key.pk.encode()) <= PARTITION_KEY_BYTES
    assert len(change.key.sk.encode()) <= SORT_KEY_BYTES
    assert change.registers or change.claims
    for name, value in change.registers.items():
        assert _VERSION.fullmatch(registers.version_of(value))
        json.loads(value[registers.payload_at(value) :], parse_constant=_refuse)
        size += len(name) + len(value.encode())
        for follower, attribute in change.followers.get(name, {}).items():
            assert attribute, "an index takes no empty key"
            size += len(follower) + len(attribute.encode() if isinstance(attribute, str) else attribute)
    assert size <= ITEM_BYTES
    once = table_layout.merged(None, change)
    assert table_layout.merged(once, change) == once


def _hold_answer(event: AnyEvent) -> None:
    """The API answers with it: a result that names no batch where a batch claims its essay."""
    version = "20000101T000000000000 " + "0" * 32
    batch_id = event.batch_id or "claims"
    events: list[AnyEvent] = [
        BatchDescribed(version=version, batch_id=batch_id, user_id="u", essay_count=1),
        event,
    ]
    if isinstance(event, EssayPhaseEnded) and event.batch_id is None:
        events.append(
            EssayIdentified(
                version=version,
                batch_id=batch_id,
                essay_id=event.essay_id,
                filename=None,
                original_text_storage_id=None,
            )
        )
    answer = fold.answer(fold.fold(events), batch_id)
    assert answer is not None
    json.dumps(answer, allow_nan=False).encode()


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")
