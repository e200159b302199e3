"""The bucket: letters are found by what is asked for, and only the version that was read is ever removed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from ras.dead_letters.bucket import DeadLetterBucket, Filters, Malformed, Stored
from ras.dead_letters.letter import Kind, Place, RecordId
from result_aggregator.contracts.rejection import Problem

from tests.ops import made
from tests.ops.made import NOON, RANKING, SPELLCHECK

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def letters(s3: S3Client, bucket: str) -> DeadLetterBucket:
    return DeadLetterBucket(s3, bucket)


@pytest.fixture
def several(s3: S3Client, letters: DeadLetterBucket) -> DeadLetterBucket:
    """Letters of both kinds, of two topics, of several hours."""
    hour = timedelta(hours=1)
    made.reject(s3, letters.name, made.record(made.result("a"), 1), at=NOON)
    made.reject(s3, letters.name, made.record(b"{", 2), "not_json", at=NOON + hour)
    ranking = made.record(b'{"data": {"batch_id": "other"}}', 3, topic=RANKING)
    made.reject(s3, letters.name, ranking, "invalid_field", at=NOON + 2 * hour)
    made.give_up(s3, letters.name, made.record(made.result("x"), 8), made.record(None, 9), at=NOON + 3 * hour)
    return letters


def places(found: DeadLetterBucket, **filters: Any) -> list[str]:
    return [str(one.place) for one in made.letters(found, Filters(**filters))]


@pytest.mark.parametrize(
    ("filters", "offsets"),
    [
        ({}, "312 89"),
        ({"kinds": frozenset({Kind.REJECTED})}, "312"),
        ({"kinds": frozenset({Kind.GIVEN_UP})}, "89"),
        ({"kinds": frozenset({Kind.REPLAYED})}, ""),
        ({"topics": frozenset({SPELLCHECK})}, "12 89"),
        ({"topics": frozenset({RANKING, "unknown"})}, "3"),
        ({"reasons": frozenset({"not_json", "UNKNOWN_STATUS"})}, "12"),
        ({"reasons": frozenset({"RetryAttemptsExhausted"})}, "89"),
        ({"since": NOON + timedelta(hours=2)}, "3 89"),
        ({"until": NOON + timedelta(hours=1)}, "1"),
        ({"since": NOON + timedelta(minutes=1), "until": NOON + timedelta(hours=2)}, "2"),
        ({"batch_id": "b"}, "1 8"),
        ({"batch_id": "other", "topics": frozenset({SPELLCHECK})}, ""),
    ],
)
def test_filters(several: DeadLetterBucket, filters: dict[str, Any], offsets: str) -> None:
    """Every filter, and several together; records of a batch that was given up are filtered one by one."""
    found = [place.rsplit("/", 1)[1] for place in places(several, **filters)]

    assert "".join(found) == offsets.replace(" ", "")


def test_counts_are_of_both_kinds(several: DeadLetterBucket) -> None:
    """What a person is told first."""
    assert +several.counts() == {"rejected": 3, "batches": 1}


def test_a_copy_whose_fate_is_known_is_not_counted(s3: S3Client, several: DeadLetterBucket) -> None:
    """Published to Kafka and rejected again: the record waits under `rejected/`, its copy for nothing. Others do."""
    for part in ("00001-", "00002-"):
        stored = one(several, part)
        several.set_aside(stored, {stored.letters[0].id: 1})
    batch = one(several, "aws/lambda")
    several.set_aside(batch, {batch.letters[0].id: 1})
    assert +several.counts() == {"rejected": 1, "given-up": 1, "replayed": 3}

    made.reject(s3, several.name, made.record(b"{", 2), "not_json")
    assert +several.counts() == {"rejected": 2, "given-up": 1, "replayed": 2}
    # One of a discarded batch, which the function rejects this time.
    s3.put_object(Bucket=several.name, Key=batch.letters[0].id.object_key("rejected/"), Body=b"{}")
    assert +several.counts() == {"rejected": 3, "given-up": 1, "replayed": 1}


def test_many_letters_come_in_order_and_all(s3: S3Client, letters: DeadLetterBucket) -> None:
    """More than are read ahead."""
    for offset in range(200):
        s3.put_object(
            Bucket=letters.name, Key=Place("t", 0, offset).key_prefix("rejected/"), Body=b"no letter"
        )
    found = list(letters.objects(letters.entries()))

    assert [one.entry.key[-4:] for one in found] == [f"{n:04d}" for n in range(200)]
    assert all(isinstance(one, Malformed) for one in found)


def test_malformed_objects_are_reported_beside_the_others(s3: S3Client, several: DeadLetterBucket) -> None:
    """With their keys and what is wrong; the letters around them are read."""
    s3.put_object(Bucket=several.name, Key="rejected/t/0/1.json", Body=b"broken")
    s3.put_object(Bucket=several.name, Key="aws/lambda/x", Body=b"{}")
    found = list(several.objects(several.entries()))
    malformed = {one.entry.key: one.problem for one in found if isinstance(one, Malformed)}

    assert malformed.keys() == {"rejected/t/0/1.json", "aws/lambda/x"}
    assert sum(len(one.letters) for one in found if isinstance(one, Stored)) == 5


def test_what_goes_between_listing_and_reading_is_left_out(s3: S3Client, several: DeadLetterBucket) -> None:
    """Somebody else was quicker: no error."""
    entries = list(several.entries())
    s3.delete_object(Bucket=several.name, Key=entries[0].key)

    assert [one.entry.key for one in several.objects(entries)] == [entry.key for entry in entries[1:]]


def test_a_record_is_found_by_its_place(several: DeadLetterBucket) -> None:
    """Its own object, and the batch that holds it; none where there is none."""
    [alone], [in_batch] = (at_place(several, offset).values() for offset in (1, 9))

    assert alone.entry.key.startswith(f"rejected/{SPELLCHECK}/0/{1:020d}-")
    assert in_batch.entry.key.startswith("aws/lambda/")
    assert at_place(several, 5) == {}
    assert several.at("rejected/huleedu") is None


def at_place(bucket: DeadLetterBucket, offset: int) -> dict[RecordId, Stored]:
    return bucket.of(RecordId(Place(SPELLCHECK, 0, offset), ""))


def test_several_records_of_one_place_are_all_found(s3: S3Client, several: DeadLetterBucket) -> None:
    """By their place; each of them by its digest or the beginning of it; also one kept before there were digests."""
    made.reject(s3, several.name, made.record(b"of the topic that was created again", 1))
    earlier = made.record(b"kept by an earlier version", 1)
    made.reject_as_earlier(s3, several.name, earlier)
    found = at_place(several, 1)

    assert len(found) == 3
    for record, stored in found.items():
        assert [letter.id for letter in stored.letters] == [record]
        assert several.of(RecordId(record.place, record.digest[:12])) == {record: stored}
        assert several.of(record) == {record: stored}


def one(bucket: DeadLetterBucket, key_part: str) -> Stored:
    [found] = [one for one in made.stored(bucket) if key_part in one.entry.key]
    return found


def test_taking_out_a_letter_removes_its_object(several: DeadLetterBucket) -> None:
    """And no other."""
    stored = one(several, "00002-")
    several.take_out(stored, {stored.letters[0].id})

    assert [place[-1] for place in places(several)] == ["3", "1", "8", "9"]


def test_a_newer_letter_is_not_removed(s3: S3Client, several: DeadLetterBucket) -> None:
    """Rejected again since it was read: the newer letter stays, whatever the older was to become."""
    stored = one(several, "00002-")
    record = stored.letters[0].id
    made.reject(s3, several.name, made.record(b"{", 2), "reader_failed")
    several.take_out(stored, {record})
    several.take_out(stored, set(), {record: 7})
    several.take_out(one(several, "00001-"), set())
    [letter] = one(several, "00002-").letters

    assert (letter.code, letter.replays) == ("reader_failed", 0)


def test_replays_are_noted_on_a_letter(several: DeadLetterBucket) -> None:
    """Everything else of it stays as it was."""
    before = one(several, "00001-")
    several.take_out(before, set(), {before.letters[0].id: 2})
    [after] = one(several, "00001-").letters

    assert after.replays == 2
    assert {**vars(after), "replays": 0} == vars(before.letters[0])


def test_what_stays_of_a_batch_becomes_letters_of_its_own(several: DeadLetterBucket) -> None:
    """One record is gone, the other keeps reason, bytes and time, and is found under its place."""
    batch = one(several, "aws/lambda")
    gone, stays = batch.letters
    several.take_out(batch, {gone.id}, {stays.id: 1})
    again = one(several, "given-up/")
    [letter] = again.letters

    assert +several.counts() == {"rejected": 3, "given-up": 1}
    assert {**vars(letter), "replays": 0, "object_key": ""} == {**vars(stays), "object_key": ""}
    assert letter.replays == 1
    assert several.of(stays.id) == {stays.id: again}


def test_a_whole_batch_is_removed_at_once(several: DeadLetterBucket) -> None:
    """Nothing is written for records that are all done."""
    batch = one(several, "aws/lambda")
    several.take_out(batch, {letter.id for letter in batch.letters})

    assert +several.counts() == {"rejected": 3}


def test_letters_are_set_aside_with_their_count(several: DeadLetterBucket) -> None:
    """Published to Kafka: they leave what waits, and are kept beside it until they are purged."""
    single, batch = one(several, "00001-"), one(several, "aws/lambda")
    chosen = batch.letters[0]
    several.set_aside(single, {single.letters[0].id: 1})
    several.set_aside(batch, {chosen.id: 3})

    assert [place[-1] for place in places(several)] == ["3", "2", "9"]
    replayed = list(made.letters(several, Filters(kinds=frozenset({Kind.REPLAYED}))))
    assert [(letter.place.offset, letter.replays, letter.kind) for letter in replayed] == [
        (1, 1, Kind.REPLAYED),
        (8, 3, Kind.REPLAYED),
    ]
    assert replayed[1].problems == chosen.problems


def test_setting_aside_twice_keeps_one(several: DeadLetterBucket) -> None:
    """A letter that was set aside may be replayed from there."""
    for replays in (1, 2):
        stored = one(several, "00001-")
        several.set_aside(stored, {stored.letters[0].id: replays})
    [letter] = one(several, "00001-").letters

    assert (letter.kind, letter.replays) == (Kind.REPLAYED, 2)


def test_problems_survive_whatever_they_say(s3: S3Client, letters: DeadLetterBucket) -> None:
    """Field paths and messages as the function wrote them."""
    problems = (Problem("data.rankings.3.rank", "[too small] ö"), Problem("", ""))
    made.reject(s3, letters.name, made.record(b"x"), problems=problems)
    [letter] = made.letters(letters)

    assert letter.problems == problems
