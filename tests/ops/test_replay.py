"""Replaying dead letters through the real handlers: what can be applied is, nothing is lost, nothing is for ever."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ras.dead_letters import replay as replaying
from ras.dead_letters.bucket import DeadLetterBucket, Filters
from ras.dead_letters.letter import Kind, Place, RecordId
from ras.dead_letters.replay import Choice, Result
from ras.errors import OperatorError
from ras.invoke import FunctionFailedError
from ras.kafka.msk_iam import Brokers
from ras.kafka.publish import publish as publish_events
from ras.kafka.topic import TopicLog
from result_aggregator.contracts.rejection import RejectedError
from result_aggregator.dead_letter_key import record_digest
from result_aggregator.domain import statuses
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.msk_event import records_of
from result_aggregator.store.dead_letters import DeadLetterStore
from result_aggregator.store.view_store import ViewStore
from result_aggregator.topics import TOPICS

from tests import samples
from tests.ops import made
from tests.ops.made import REGISTERED, SPELLCHECK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras_local.mapping.records import KafkaRecord

    from tests.handlers.conftest import Service

STATUS = "/internal/v1/batches/{batch_id}/status"
ALL = Filters()


@pytest.fixture
def letters(service: Service) -> DeadLetterBucket:
    return DeadLetterBucket(service.s3, service.bucket)


def replay(
    service: Service,
    bucket: DeadLetterBucket,
    *,
    invoke: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
    filters: Filters = ALL,
    **choice: Any,
) -> Result:
    """One run of `ras dead-letters replay`, through the functions."""
    return replaying.through_functions(
        bucket.objects(list(bucket.entries(filters))),
        bucket,
        invoke or service.invoke,
        Choice(filters, **choice),
    )


def deliver(service: Service, *records: KafkaRecord) -> None:
    """What the mapping delivers."""
    for record in records:
        event = samples.msk_event([made.received(record)])
        assert service.invoke(TOPICS[record.topic].function, event) == {"batchItemFailures": []}


def essays(service: Service) -> list[str]:
    answer = service.get(STATUS, batch_id="b")
    return [essay["essay_id"] for essay in answer["body"]["essays"]] if answer["statusCode"] == 200 else []


def answers(service: Service) -> dict[str, Any]:
    """Every answer to what the samples and these tests are about."""
    bodies = {batch: service.get(STATUS, batch_id=batch)["body"] for batch in (*samples.expected(), "b")}
    return {batch: {**body, "correlation_id": None} for batch, body in bodies.items()}


def named(bucket: DeadLetterBucket, offset: int) -> frozenset[RecordId]:
    """The records at an offset of the spellcheck's topic."""
    return frozenset(bucket.of(RecordId(Place(SPELLCHECK, 0, offset), "")))


def places(bucket: DeadLetterBucket, *kinds: Kind) -> dict[str, int]:
    """Offset -> replays of every letter."""
    filters = Filters(kinds=frozenset(kinds or Kind))
    return {f"{one.kind} {one.place.offset}": one.replays for one in made.letters(bucket, filters)}


def test_poison_that_is_read_by_now_is_applied(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status word that a later version knows: the record is applied, its letter is gone, the others stay."""
    deliver(
        service,
        made.record(made.registered(), 0, topic=REGISTERED),
        made.record(made.result("new", status="brand-new"), 1),
        made.record(made.result("never", correction_count=-1), 2),
    )
    assert essays(service) == []
    monkeypatch.setitem(statuses._EXACT, "brand-new", statuses.COMPLETED)
    result = replay(service, letters)

    assert essays(service) == ["new"]
    assert result.counts == {"applied": 1, "rejected": 1}
    assert [what for what, _, _ in result.left] == [f"{SPELLCHECK}/0/2"]
    assert places(letters) == {"rejected 2": 1}


def test_a_batch_that_was_given_up_is_applied(service: Service, letters: DeadLetterBucket) -> None:
    """What the function could not do then it can now; the object is removed."""
    again = made.result("c")
    records = [made.record(value, n) for n, value in enumerate((made.result("a"), None, again, again))]
    made.give_up(service.s3, letters.name, *records)
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))
    result = replay(service, letters)

    assert essays(service) == ["a", "c"]
    assert result.counts == {"applied": 2, "ignored": 1, "duplicate": 1}
    assert service.dead_letters() == {}


def test_poison_in_a_batch_gets_a_letter_of_its_own(service: Service, letters: DeadLetterBucket) -> None:
    """Rejected now with its reason; the batch is not needed any more."""
    made.give_up(service.s3, letters.name, made.record(made.result("a"), 1), made.record(b"poison", 2))
    result = replay(service, letters)
    [letter] = made.letters(letters)

    assert result.counts == {"applied": 1, "rejected": 1}
    assert (letter.kind, letter.place.offset, letter.code, letter.replays) == (
        Kind.REJECTED,
        2,
        "not_json",
        1,
    )
    assert letter.value() == b"poison"


def test_a_letter_is_not_replayed_for_ever(service: Service, letters: DeadLetterBucket) -> None:
    """Three times, then it is left alone and told; unless it is forced, or the limit is another."""
    deliver(service, made.record(b"poison", 1))
    runs = [replay(service, letters).counts for _ in range(5)]

    assert runs == [{"rejected": 1}] * 3 + [{replaying.OVER_LIMIT: 1}] * 2
    assert places(letters) == {"rejected 1": 3}
    assert replay(service, letters, force=True).counts == {"rejected": 1}
    assert replay(service, letters, limit=5).counts == {"rejected": 1}
    assert replay(service, letters, limit=5).counts == {replaying.OVER_LIMIT: 1}


@pytest.mark.parametrize("invoked", [1, 100], ids=["one by one", "together"])
def test_records_of_one_place_each_have_their_own_fate(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch, invoked: int
) -> None:
    """A topic that was created again: what became of the one says nothing of the other, whose letter stays."""
    monkeypatch.setattr("ras.invoke.BATCH_RECORDS", invoked)
    for value in (b"poison", made.result("a"), b"other poison", made.result("c")):
        made.reject(service.s3, letters.name, made.record(value, 1))
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))
    result = replay(service, letters)

    assert essays(service) == ["a", "c"]
    assert result.counts == {"applied": 2, "rejected": 2}
    assert {letter.value(): letter.replays for letter in made.letters(letters)} == {
        b"poison": 1,
        b"other poison": 1,
    }


def test_a_letter_of_an_earlier_version_is_replayed(service: Service, letters: DeadLetterBucket) -> None:
    """Its key has no digest. Applied, it is removed; rejected again, its record has one letter, its count raised."""
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))
    made.reject_as_earlier(service.s3, letters.name, made.record(made.result("a"), 1))
    made.reject_as_earlier(service.s3, letters.name, made.record(b"poison", 2))
    assert replay(service, letters).counts == {"applied": 1, "rejected": 1}

    assert essays(service) == ["a"]
    assert list(made.contents(service.s3, letters.name)) == [made.object_key(made.record(b"poison", 2))]
    assert places(letters) == {"rejected 2": 2}


@pytest.mark.parametrize("group", [1, 200])
def test_a_record_of_both_kinds_is_replayed_once(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    """Rejected, and given up with its batch as well, near to each other or not: handed over once in a run."""
    monkeypatch.setattr(replaying, "GROUP", group)
    good, poison = made.record(made.result("a"), 1), made.record(b"poison", 2)
    for record in (good, poison):
        made.reject(service.s3, letters.name, record)
    made.give_up(service.s3, letters.name, good, poison, good)
    result = replay(service, letters)

    assert result.counts == {"applied": 1, "rejected": 1}
    assert places(letters) == {"rejected 2": 1}


def test_only_what_is_asked_for_is_replayed(service: Service, letters: DeadLetterBucket) -> None:
    """By filter, or by name; the rest of a batch keeps waiting, each record by itself."""
    made.reject(service.s3, letters.name, made.record(made.result("a"), 1))
    made.give_up(service.s3, letters.name, *(made.record(made.result(f"g{n}"), n) for n in (2, 3, 4)))
    replay(service, letters, filters=Filters(kinds=frozenset({Kind.REJECTED})))
    assert places(letters) == {"given-up 2": 0, "given-up 3": 0, "given-up 4": 0}

    replay(service, letters, named=named(letters, 3))
    assert places(letters) == {"given-up 2": 0, "given-up 4": 0}
    assert +letters.counts() == {"given-up": 2}

    replay(service, letters)
    assert places(letters) == {}


def test_what_cannot_be_handled_now_stays_as_it_was(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table does not answer: nothing is counted against the letters, and all go when it does."""

    def unavailable(*_: Any) -> None:
        raise UnavailableError("throttled", soon=False)

    made.reject(service.s3, letters.name, made.record(made.result("a"), 1))
    made.give_up(service.s3, letters.name, made.record(made.result("c"), 2))
    before = made.contents(service.s3, letters.name)
    with monkeypatch.context() as failing:
        failing.setattr(ViewStore, "write", unavailable)
        result = replay(service, letters)

    assert result.counts == {"handed_back": 2}
    assert [(outcome, reason) for _, outcome, reason in result.left] == [("handed_back", "throttled")] * 2
    assert made.contents(service.s3, letters.name) == before
    assert replay(service, letters).clean
    assert service.dead_letters() == {}


def test_a_run_ends_where_nothing_can_be_done(service: Service, letters: DeadLetterBucket) -> None:
    """After three invocations in vain it stops instead of trying ten thousand letters."""
    invocations = []

    def handed_back(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        invocations.append(folder)
        return {
            "outcomes": [
                {"partition": lane, "offset": one["offset"], "outcome": "handed_back", "reason": "throttled"}
                for lane, batch in event["records"].items()
                for one in batch
            ]
        }

    made.give_up(service.s3, letters.name, *(made.record(b"x", n) for n in range(1000)))
    result = replay(service, letters, invoke=handed_back)

    assert len(invocations) == 3
    assert result.stopped == "throttled"
    assert not result.clean
    assert len(places(letters)) == 1000


def test_the_record_that_breaks_the_function_is_counted(service: Service, letters: DeadLetterBucket) -> None:
    """Its neighbours are applied; it stays by itself, one replay more, and the limit holds for it too."""

    def breaking(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        if any(one["offset"] == 2 for batch in event["records"].values() for one in batch):
            raise FunctionFailedError("out of memory")
        return service.invoke(folder, event)

    made.give_up(service.s3, letters.name, *(made.record(made.result(f"g{n}"), n) for n in (1, 2, 3)))
    made.reject(service.s3, letters.name, made.record(made.result("a"), 4))
    runs = [replay(service, letters, invoke=breaking) for _ in range(4)]

    assert runs[0].counts == {"applied": 3, "failed": 1}
    assert runs[0].left == [(f"{SPELLCHECK}/0/2", "failed", "out of memory")]
    assert runs[3].counts == {replaying.OVER_LIMIT: 1}
    assert places(letters) == {"given-up 2": 3}


def test_letters_of_topics_that_nobody_reads_stay(service: Service, letters: DeadLetterBucket) -> None:
    """And so do malformed objects; both are told."""
    made.reject(service.s3, letters.name, made.record(b"x", 1, topic="retired.v1"))
    service.s3.put_object(Bucket=letters.name, Key="rejected/t/0/1.json", Body=b"broken")
    result = replay(service, letters)

    assert result.counts == {replaying.NO_CONSUMER: 1, replaying.MALFORMED: 1}
    assert len(made.contents(service.s3, letters.name)) == 2


class Stopped(BaseException):
    """Ctrl-C, or whatever ends a process."""


@pytest.mark.slow
def test_an_interrupted_run_goes_on_without_skipping(service: Service, letters: DeadLetterBucket) -> None:
    """Stopped at every invocation in turn, and out of reach at some: what was done is not done again."""
    for n in range(30):
        made.reject(service.s3, letters.name, made.record(made.result(f"r{n}"), n, 1))
    batch = [made.record(made.result(f"g{n:03}") if n % 7 else b"poison", n) for n in range(220)]
    made.give_up(service.s3, letters.name, *batch)
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))
    handled: list[tuple[str, int]] = []

    def stopped_after(number: int, error: BaseException) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        left = iter(range(number))

        def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
            if next(left, None) is None:
                raise error
            answer = service.invoke(folder, event)
            handled.extend((one["partition"], one["offset"]) for one in answer["outcomes"])
            return answer

        return invoke

    for error in (Stopped(), OperatorError("out of reach")):
        with pytest.raises(type(error)):
            replay(service, letters, invoke=stopped_after(1, error), limit=1)
    replay(service, letters, invoke=stopped_after(100, Stopped()), limit=1)

    assert len(essays(service)) == 30 + 220 - 32
    assert sorted(handled) == sorted({*handled})
    assert places(letters) == {f"rejected {n}": 1 for n in range(0, 220, 7)}


def test_a_run_that_dies_before_it_tidies_up_changes_nothing(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the function's answer and the bucket: everything is replayed again, and is a duplicate."""
    made.reject(service.s3, letters.name, made.record(made.result("a"), 1))
    made.give_up(service.s3, letters.name, made.record(made.result("c"), 2))
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))

    def killed(*_: Any) -> None:
        raise Stopped

    with monkeypatch.context() as dying:
        dying.setattr(DeadLetterBucket, "take_out", killed)
        with pytest.raises(Stopped):
            replay(service, letters)
    before = answers(service)
    assert essays(service) == ["a", "c"]
    assert len(service.dead_letters()) == 2

    assert replay(service, letters).counts == {"duplicate": 2}
    assert service.dead_letters() == {}
    assert answers(service) == before


@pytest.mark.slow
def test_replaying_everything_changes_no_answer(service: Service, letters: DeadLetterBucket) -> None:
    """Samples applied, and also all of them in the bucket, as both kinds: replayed twice, not an answer differs."""
    lines = samples.events("platform_2025_06", "platform_2026_02")
    service.deliver(lines)
    before = answers(service)
    records = [made.record(line.encoded(), n, n % 8, line.topic) for n, line in enumerate(lines)]
    for _ in range(2):
        for record in records[::2]:
            made.reject(service.s3, letters.name, record)
        made.give_up(service.s3, letters.name, *reversed(records))
        result = replay(service, letters)

        assert result.clean
        assert result.counts["applied"] == 0
        assert result.counts.total() == len(lines)
        assert answers(service) == before
        assert service.dead_letters() == {}


numbers = itertools.count()
KINDS = st.sampled_from(["delivered", "rejected", "given up", "both"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(KINDS, st.booleans()), min_size=1, max_size=12),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
@pytest.mark.slow
def test_in_whichever_way_records_came_to_be_kept(
    service: Service, fates: list[tuple[str, bool]], interruptions: int, chance: Any
) -> None:
    """Good ones end in the view, poison ends as one letter each, however often the run is interrupted."""
    bucket = DeadLetterBucket(service.s3, service.bucket)
    for key in made.contents(service.s3, bucket.name):
        service.s3.delete_object(Bucket=bucket.name, Key=key)
    batch_id = f"batch-{next(numbers)}"
    records, batch = [], []
    for n, (fate, good) in enumerate(fates):
        value = made.result(f"e{n:02}", batch_id=batch_id) if good else b"poison"
        record = made.record(value, n, n % 3)
        records.append(record)
        if fate == "delivered":
            deliver(service, record)
        if fate in ("rejected", "both"):
            made.reject(service.s3, bucket.name, record)
        if fate in ("given up", "both"):
            batch.append(record)
    if batch:
        made.give_up(service.s3, bucket.name, *batch)
    for _ in range(interruptions):

        def interrupted(folder: str, event: dict[str, Any]) -> dict[str, Any]:
            answer = service.invoke(folder, event)
            if chance.random() < 0.5:
                raise Stopped
            return answer

        try:
            replay(service, bucket, invoke=interrupted, force=True)
        except Stopped:
            continue
    owner = {**samples.envelope({"batch_id": batch_id, "user_id": "u", "expected_essay_count": 1})}
    deliver(service, made.record(json.dumps(owner).encode(), 0, topic=REGISTERED))
    replay(service, bucket, force=True)
    shown = service.get(STATUS, batch_id=batch_id)["body"]["essays"]

    assert [essay["essay_id"] for essay in shown] == [f"e{n:02}" for n, (_, good) in enumerate(fates) if good]
    left = sorted(letter.place.offset for letter in made.letters(bucket))
    assert left == [n for n, (_, good) in enumerate(fates) if not good]


def test_a_preview_changes_nothing(service: Service, letters: DeadLetterBucket) -> None:
    """It says what would be taken and what would be left."""
    made.reject(service.s3, letters.name, made.record(made.result("a"), 1))
    made.give_up(service.s3, letters.name, made.record(b"x", 2), made.record(b"x", 3))
    deliver(service, made.record(b"poison", 4))
    for _ in range(3):
        replay(service, letters, named=named(letters, 4))
    before = made.contents(service.s3, letters.name)
    result, chosen = replaying.preview(letters.objects(letters.entries()), Choice(ALL))

    assert made.contents(service.s3, letters.name) == before
    assert [letter.place.offset for letter in chosen] == [1, 2, 3]
    assert result.counts == {replaying.TO_REPLAY: 3, replaying.OVER_LIMIT: 1}


def test_what_is_from_the_future_is_judged_by_its_first_time(
    service: Service, letters: DeadLetterBucket
) -> None:
    """A replay does not make a broken clock right: the record is rejected again."""
    future = json.dumps(
        samples.envelope({"batch_id": "b", "essay_id": "a", "status": "ok"}, at="2026-03-09T08:00:00Z")
    )
    deliver(service, made.record(future.encode(), 1))
    assert replay(service, letters).left[0][2].startswith("from_the_future")


def test_a_null_header_stays_null_through_kafka(
    service: Service, letters: DeadLetterBucket, brokers: Brokers
) -> None:
    """Where the event had a null, not an empty header; and the record is known again by its headers."""
    received = made.received(made.record(made.result("a"), 17)) | {"headers": [{"n": None}, {"e": []}]}
    [one] = records_of(samples.msk_event([received]))
    DeadLetterStore(letters.name, service.s3).keep(one, RejectedError("not_json", []))
    topic = Topic(brokers)
    publish(letters, brokers)
    [again] = topic.take()

    assert again.headers[:2] == (("n", None), ("e", b""))


# --- purging ---


def test_purging_removes_what_is_asked_for(service: Service, letters: DeadLetterBucket) -> None:
    """One record of a batch; then everything, malformed objects only where that is said."""
    first = made.record(made.result("a"), 1)
    made.reject(service.s3, letters.name, first)
    made.give_up(service.s3, letters.name, made.record(b"x", 2), made.record(b"x", 3))
    service.s3.put_object(Bucket=letters.name, Key="rejected/t/0/1.json", Body=b"broken")

    def purge(admit: Callable[[Any], bool], **options: Any) -> Result:
        return replaying.purge(letters.objects(list(letters.entries())), letters, admit, **options)

    assert purge(lambda letter: letter.place.offset == 2).counts == {"purged": 1, "malformed": 1}
    assert sorted(made.contents(service.s3, letters.name)) == [
        made.object_key(made.record(b"x", 3), "given-up/"),
        made.object_key(first),
        "rejected/t/0/1.json",
    ]
    assert purge(lambda _: True).counts == {"purged": 2, "malformed": 1}
    assert list(made.contents(service.s3, letters.name)) == ["rejected/t/0/1.json"]
    assert purge(lambda _: False, malformed=True).counts == {"purged": 1}
    assert made.contents(service.s3, letters.name) == {}


# --- through Kafka ---


class Topic:
    """The topic as the mapping reads it: what was published since this was made."""

    def __init__(self, brokers: Brokers) -> None:
        self._log = TopicLog(brokers, SPELLCHECK)
        self._start = self._ends()

    def _ends(self) -> dict[int, int]:
        return {number: held.high for number, held in self._log.bounds().items()}

    def take(self) -> list[KafkaRecord]:
        from ras_local.mapping.records import to_record

        ends = self._ends()
        found = [to_record(message) for message in self._log.read(self._start, ends)]
        self._start = ends
        return found


def publish(letters: DeadLetterBucket, brokers: Brokers, **choice: Any) -> Result:
    return replaying.through_kafka(
        letters.objects(list(letters.entries())),
        letters,
        Choice(ALL, **choice),
        bootstrap_servers=brokers.bootstrap_servers,
        settings={},
    )


def test_through_kafka_a_record_is_as_it_was(
    service: Service, letters: DeadLetterBucket, brokers: Brokers
) -> None:
    """Key, bytes, partition, and headers with their order and duplicates; ours come behind them."""
    headers = (("trace", b"\xff"), ("trace", b"2"), ("", b""))
    first = made.record(made.result("a"), 17, 2, key=b"\x00k", headers=headers)
    made.reject(service.s3, letters.name, first)
    made.give_up(service.s3, letters.name, made.record(None, 3, 1))
    topic = Topic(brokers)
    result = publish(letters, brokers)
    tombstone, again = sorted(topic.take(), key=lambda one: one.partition)

    assert result.counts == {"published": 2}
    assert (again.partition, again.key, again.value) == (2, first.key, first.value)
    assert again.headers[:3] == headers
    assert dict(again.headers[3:]) == {
        "ras-replay-attempt": b"1",
        "ras-replay-of": f"2/17/{first.timestamp}/{record_digest(made.received(first))}".encode(),
    }
    assert again.timestamp > first.timestamp
    assert (tombstone.value, tombstone.key) == (None, None)


def test_through_kafka_a_partition_that_is_not_there_is_the_keys(
    service: Service, letters: DeadLetterBucket, brokers: Brokers
) -> None:
    """The topic was made anew with fewer partitions: the record still goes out."""
    made.reject(service.s3, letters.name, made.record(made.result("a"), 17, 99, key=b"k"))
    topic = Topic(brokers)
    publish(letters, brokers)

    assert [one.key for one in topic.take()] == [b"k"]


def test_through_kafka_letters_are_set_aside_and_come_back(
    service: Service, letters: DeadLetterBucket, brokers: Brokers
) -> None:
    """The applied one stays set aside; the one that is rejected again is back in its place, its count raised."""
    deliver(service, made.record(made.registered(), 0, topic=REGISTERED))
    made.reject(service.s3, letters.name, made.record(made.result("a"), 1, 1))
    deliver(service, made.record(b"poison", 2, 3))
    topic = Topic(brokers)
    for attempt in (1, 2, 3):
        publish(letters, brokers)
        assert "rejected 2" not in places(letters)

        deliver(service, *topic.take())
        assert places(letters) == {"rejected 2": attempt, "replayed 1": 1, "replayed 2": attempt}
    result = publish(letters, brokers)

    assert essays(service) == ["a"]
    assert result.counts == {replaying.OVER_LIMIT: 1, "published": 0}
    assert topic.take() == []


def test_a_letter_that_comes_back_first_is_not_set_aside(
    service: Service, letters: DeadLetterBucket, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function is quicker than the tool: its newer letter is in the bucket, and stays."""
    deliver(service, made.record(b"poison", 2, 3))
    topic = Topic(brokers)
    real = publish_events

    def published(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        deliver(service, *topic.take())

    monkeypatch.setattr(replaying, "publish", published)
    publish(letters, brokers)

    assert places(letters) == {"rejected 2": 1, "replayed 2": 1}


def test_what_kafka_could_not_have_held_is_left(
    service: Service, letters: DeadLetterBucket, brokers: Brokers
) -> None:
    """A value that is not base64 cannot be published as it was."""
    broken = made.received(made.record(b"x", 1)) | {"value": "%%%"}
    service.invoke("ingest_essays", samples.msk_event([broken]))
    result = publish(letters, brokers)

    assert result.left[0][1] == replaying.NOT_BYTES
    assert places(letters) == {"rejected 1": 0}


def test_nothing_is_set_aside_that_no_broker_took(
    service: Service, letters: DeadLetterBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is away: told, and everything is where it was."""
    made.reject(service.s3, letters.name, made.record(made.result("a"), 1))
    before = made.contents(service.s3, letters.name)
    monkeypatch.setattr(replaying, "publish", partial(publish_events, timeout_s=1))
    with pytest.raises(OperatorError, match="no broker answers"):
        publish(letters, Brokers("127.0.0.1:1"))

    assert made.contents(service.s3, letters.name) == before
