"""Versions sort as the design compares them: event time, then event id."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from result_aggregator.domain import registers

if TYPE_CHECKING:
    from uuid import UUID

MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(MOMENTS, st.uuids(), MOMENTS, st.uuids())
def test_text_order_is_version_order(a: datetime, a_id: UUID, b: datetime, b_id: UUID) -> None:
    """Comparing two versions as strings compares (time, id)."""
    text_a = registers.version(registers.time_text(a), a_id)
    text_b = registers.version(registers.time_text(b), b_id)

    assert (text_a < text_b) == ((a, a_id.hex) < (b, b_id.hex))


@given(MOMENTS, st.uuids(), st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_what_goes_in_comes_out(moment: datetime, event_id: UUID, payload: object) -> None:
    """A register gives back its version, time and payload."""
    version = registers.version(registers.time_text(moment), event_id)
    value = registers.encode(version, [payload])

    assert registers.version_of(value) == version
    assert registers.time_of(value) == registers.time_text(moment)
    assert registers.payload_of(value) == [payload]


@given(MOMENTS)
def test_api_time_is_the_same_moment(moment: datetime) -> None:
    """What the API shows parses back to the event time."""
    shown = registers.api_time(registers.time_text(moment))

    assert datetime.fromisoformat(shown) - moment == timedelta(0)
    assert shown.endswith("Z")


VERSIONS = st.builds(
    lambda moment, event_id: registers.version(registers.time_text(moment), event_id), MOMENTS, st.uuids()
)


@given(VERSIONS, VERSIONS)
def test_short_versions_sort_as_long_ones(one: str, other: str) -> None:
    """In Python as in DynamoDB, which compares bytes."""
    short, other_short = registers.encode_short(one, ""), registers.encode_short(other, "")

    assert (short < other_short) == (one < other)
    assert (short == other_short) == (one == other)
    assert len(short) == registers.SHORT_LENGTH + len('""')


@given(VERSIONS)
def test_both_forms_are_read(version: str) -> None:
    """The same version, time and payload; a long one is shortened, a short one stays."""
    long, short = registers.encode(version, ["å", 1]), registers.encode_short(version, ["å", 1])

    for value in (long, short):
        assert registers.version_of(value) == version
        assert registers.time_of(value) == version[: registers.TIME_LENGTH]
        assert registers.payload_of(value) == ["å", 1]
        assert registers.shortened(value) == short
