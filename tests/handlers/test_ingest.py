"""The ingest functions: every record ends as exactly one outcome, and poison stays alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.domain import table_layout
from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError
from result_aggregator.ingest_handler import HandedBackError
from result_aggregator.store.view_store import ViewStore

from tests import samples
from tests.samples import envelope, msk_event, record

if TYPE_CHECKING:
    from result_aggregator.domain.store_interface import Written
    from result_aggregator.domain.table_layout import Change

    from tests.handlers.conftest import Logs, Service

SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
STATUS = "/internal/v1/batches/{batch_id}/status"


def result(essay: str, **data: Any) -> dict[str, Any]:
    return envelope({"batch_id": "b", "essay_id": essay, "status": "COMPLETED", **data})


def registration(service: Service) -> None:
    value = envelope({"batch_id": "b", "user_id": "u", "expected_essay_count": 2})
    service.invoke("ingest_batches", msk_event([record(REGISTERED, value)]))


def essays(service: Service) -> list[str]:
    answer = service.get(STATUS, batch_id="b")
    assert answer["statusCode"] == 200
    return [essay["essay_id"] for essay in answer["body"]["essays"]]


def total(metrics: list[dict[str, Any]], name: str, **dimensions: str) -> float:
    """The sum of a metric over all blobs with these dimensions."""
    values = [blob[name] for blob in metrics if name in blob and dimensions.items() <= blob.items()]
    return float(sum(sum(value) if isinstance(value, list) else value for value in values))


def test_samples_answer_as_written_down(service: Service) -> None:
    """All samples through the functions into the table and out of the query function, twice over."""
    for _ in range(2):
        service.deliver(samples.events())
    for batch_id, expectation in samples.expected().items():
        answer = service.get(STATUS, batch_id=batch_id)

        assert samples.differences(answer["body"], expectation) == []
    assert service.dead_letters() == {}


def test_a_ranking_of_five_thousand_switches_whole(service: Service) -> None:
    """5,000 essays fit, and the next ranking replaces them all."""
    registration(service)
    for at, sign in (("2026-03-02T08:00:00Z", 1), ("2026-03-02T09:00:00Z", -1)):
        entries = [{"essay_id": f"{n:032x}", "rank": n, "score": sign * n / 7} for n in range(1, 5001)]
        value = envelope({"batch_id": "b", "status": "COMPLETED", "rankings": entries}, at=at)
        service.invoke("ingest_rankings", msk_event([record(RANKING, value)]))
    scores = [essay["cj_score"] for essay in service.get(STATUS, batch_id="b")["body"]["essays"]]

    assert len(scores) == 5000
    assert max(scores) < 0


def test_the_closing_counts_add_up(service: Service, logs: Logs) -> None:
    """One record of each kind: the log line and the metrics say what became of it, and add up to what came in."""
    first, newer = result("a"), result("a") | {"event_timestamp": "2026-03-02T09:00:00Z"}
    older = result("a") | {"event_timestamp": "2026-03-01T00:00:00Z"}
    service.invoke("ingest_essays", msk_event([record(SPELLCHECK, first)]))
    logs.take()
    values = [first, newer, newer, older, None, b"poison"]
    records = [record(SPELLCHECK, value, n) for n, value in enumerate(values, 1)]
    service.invoke("ingest_essays", msk_event([*records, record("huleedu.unknown.v1", b"x")]))
    lines, metrics = logs.take()
    [closing] = [line for line in lines if line["message"] == "ingested"]
    counts = {
        "received": 7,
        "applied": 1,
        "duplicate": 1,
        "stale": 2,
        "ignored": 2,
        "rejected": 1,
        "handed_back": 0,
    }

    assert counts.items() <= closing.items()
    assert sum(counts.values()) == 2 * counts["received"]
    assert total(metrics, "ras_messages_processed_total", function="test") == 7
    assert total(metrics, "ras_dlq_messages_sent_total") == 1
    assert total(metrics, "ras_invalid_messages_total", topic=SPELLCHECK, error_type="not_json") == 1
    assert total(metrics, "ras_essays_aggregated_total", phase="spellcheck") == 1
    assert total(metrics, "ras_batches_aggregated_total") == 1


@pytest.mark.parametrize("event", [{}, {"records": {}}, msk_event([])])
def test_an_empty_event_is_no_error(service: Service, event: dict[str, Any]) -> None:
    """Nothing in, nothing out."""
    assert service.invoke("ingest_essays", event) == {"batchItemFailures": []}


# It passes, but not soon: no time goes by with retries.
NOT_PERMITTED = UnavailableError("not permitted", soon=False)


def fail_item(monkeypatch: pytest.MonkeyPatch, sort_key: str, error: StoreError = NOT_PERMITTED) -> None:
    """Have the store fail writes of one item."""
    real = ViewStore.write

    def write(self: ViewStore, change: Change) -> dict[str, Written]:
        if change.key.sk == sort_key:
            raise error
        return real(self, change)

    monkeypatch.setattr(ViewStore, "write", write)


def test_only_what_failed_is_handed_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passing failure of one item hands back its records, by topic-partition and offset, and applies the others."""
    registration(service)
    fail_item(monkeypatch, "e#b")
    records = [record(SPELLCHECK, result(name), n, partition=2) for n, name in enumerate("abc", 10)]
    answer = service.invoke("ingest_essays", msk_event(records))

    identifier = {"partition": f"{SPELLCHECK}-2", "offset": 11}
    assert answer == {"batchItemFailures": [{"itemIdentifier": identifier}]}
    assert essays(service) == ["a", "c"]


def test_what_no_table_can_hold_is_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would come again for ever: its record is a dead letter that says what the table said, its neighbours are in."""
    registration(service)
    fail_item(monkeypatch, "e#b", UnacceptableError("UpdateItem: ValidationException: Item size"))
    records = [record(SPELLCHECK, result(name), n) for n, name in enumerate("abc")]
    answer = service.invoke("ingest_essays", msk_event(records))
    [letter] = service.dead_letters().values()

    assert answer == {"batchItemFailures": []}
    assert letter["reason"] == {
        "code": "not_storable",
        "problems": [{"path": "", "message": "UpdateItem: ValidationException: Item size"}],
    }
    assert essays(service) == ["a", "c"]


def test_what_is_not_in_the_view_is_no_event_of_its_batch(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch's times are those of the events that were applied: not of one that no table can hold."""
    registration(service)
    fail_item(monkeypatch, "e#b", UnacceptableError("UpdateItem: ValidationException: Item size"))
    service.invoke("ingest_essays", msk_event([record(SPELLCHECK, result("a"), 1)]))
    before = service.get(STATUS, batch_id="b")["body"]["last_updated"]

    late = result("b") | {"event_timestamp": "2026-03-02T09:59:59Z"}
    service.invoke("ingest_essays", msk_event([record(SPELLCHECK, late, 2)]))

    assert len(service.dead_letters()) == 1
    after = service.get(STATUS, batch_id="b")["body"]["last_updated"]
    assert after == before


def test_a_dead_letter_is_stored_as_json(service: Service) -> None:
    """The console shows such an object as text; whoever fetches it over HTTP is told what it is."""
    service.invoke("ingest_essays", msk_event([record(SPELLCHECK, b"no event")]))
    [key] = service.dead_letters()

    assert service.s3.head_object(Bucket=service.bucket, Key=key)["ContentType"] == "application/json"


def test_a_stores_bug_costs_its_own_record_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a write raises, its neighbours are in, the counts add up, and only its record comes again."""
    registration(service)
    real = ViewStore.write

    def write(self: ViewStore, change: Change) -> dict[str, Written]:
        if change.key.sk == "e#b":
            raise KeyError("B")
        return real(self, change)

    monkeypatch.setattr(ViewStore, "write", write)
    records = [record(SPELLCHECK, result(name), n, partition=2) for n, name in enumerate("abc", 10)]
    answer = service.invoke("ingest_essays", msk_event(records))

    assert [failed["itemIdentifier"]["offset"] for failed in answer["batchItemFailures"]] == [11]
    assert essays(service) == ["a", "c"]


def test_where_the_mapping_takes_no_partial_response_it_raises(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An on-demand mapping would take a returned list for success: only an error makes the batch come again."""
    monkeypatch.setenv("PARTIAL_BATCH_RESPONSE", "false")
    fail_item(monkeypatch, "e#b")

    with pytest.raises(HandedBackError, match="1 of 2 records"):
        service.invoke(
            "ingest_essays", msk_event([record(SPELLCHECK, result(name), n) for n, name in enumerate("ab")])
        )


def test_a_batch_that_cannot_be_dated_hands_back_its_essays(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Essays are in but the batch's times are not: they come again, and as duplicates they mend it."""
    with monkeypatch.context() as failing:
        fail_item(failing, "batch")
        answer = service.invoke("ingest_essays", msk_event([record(SPELLCHECK, result("a"), 5)]))
    assert [one["itemIdentifier"]["offset"] for one in answer["batchItemFailures"]] == [5]

    service.invoke("ingest_essays", msk_event([record(SPELLCHECK, result("a"), 5)]))
    value = envelope({"batch_id": "b", "user_id": "u"}, at="2026-03-02T09:00:00Z")
    service.invoke("ingest_batches", msk_event([record(REGISTERED, value)]))

    assert service.get(STATUS, batch_id="b")["body"]["created_at"] == "2026-03-02T08:00:00.000000Z"


def test_poison_that_cannot_be_kept_is_handed_back(service: Service) -> None:
    """Without its dead letter a rejected record would vanish, so it comes again."""
    service.s3.delete_bucket(Bucket=service.bucket)
    answer = service.invoke("ingest_essays", msk_event([record(SPELLCHECK, b"poison", 4)]))

    assert [one["itemIdentifier"]["offset"] for one in answer["batchItemFailures"]] == [4]


def test_a_bug_in_a_reader_is_kept_and_stops_nobody(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw rejects its record alone."""
    real = table_layout.changes_of

    def changes_of(event: Any) -> list[Change]:
        if event.essay_id == "b":
            raise ZeroDivisionError
        return real(event)

    registration(service)
    monkeypatch.setattr(table_layout, "changes_of", changes_of)
    service.invoke(
        "ingest_essays", msk_event([record(SPELLCHECK, result(name), n) for n, name in enumerate("abc")])
    )
    [letter] = service.dead_letters().values()

    assert letter["reason"] == {
        "code": "reader_failed",
        "problems": [{"path": "", "message": "ZeroDivisionError: "}],
    }
    assert essays(service) == ["a", "c"]
