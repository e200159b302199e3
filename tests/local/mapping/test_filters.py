"""Filter criteria on a record's value: AWS Lambda developer guide, and EventBridge's patterns that it refers to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ras_local.mapping.errors import PatternError
from ras_local.mapping.filters import FilterCriteria


def takes(pattern: Any, value: Any) -> bool:
    """Whether a JSON pattern for the value takes a JSON value."""
    return FilterCriteria([json.dumps({"value": pattern})]).take(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        pytest.param({"a": [None]}, [{"a": None}], [{}, {"a": 0}, {"a": ""}], id="null"),
        pytest.param({"a": [""]}, [{"a": ""}], [{}, {"a": None}, {"a": " "}], id="empty"),
        pytest.param(
            {"a": ["Alice"]}, [{"a": "Alice", "b": 1}], [{"a": "alice"}, {"b": "Alice"}], id="equals"
        ),
        pytest.param({"a": [True]}, [{"a": True}], [{"a": 1}, {"a": "true"}, {"a": False}], id="boolean"),
        pytest.param({"a": [1]}, [{"a": 1}], [{"a": True}, {"a": "1"}, {"a": 2}], id="number"),
        pytest.param(
            {"a": [{"equals-ignore-case": "aLICE"}]},
            [{"a": "Alice"}, {"a": "alice"}],
            [{"a": "Alic"}, {"a": 1}, {}],
            id="equals, ignore case",
        ),
        pytest.param(
            {"city": ["New York"], "day": ["Monday"]},
            [{"city": "New York", "day": "Monday"}],
            [{"city": "New York"}, {"city": "New York", "day": "Friday"}],
            id="and",
        ),
        pytest.param(
            {"paid": ["Credit", "Debit"]},
            [{"paid": "Credit"}, {"paid": "Debit"}],
            [{"paid": "Cash"}],
            id="or",
        ),
        pytest.param(
            {"$or": [{"city": ["New York"]}, {"day": ["Monday"]}]},
            [{"city": "New York"}, {"day": "Monday", "city": "Lund"}],
            [{"city": "Lund"}, {}],
            id="or, several fields",
        ),
        pytest.param(
            {"kind": ["x"], "$or": [{"a": [1]}, {"b": {"c": [2]}}]},
            [{"kind": "x", "a": 1}, {"kind": "x", "b": {"c": 2}}],
            [{"kind": "x"}, {"kind": "y", "a": 1}],
            id="or beside and",
        ),
        pytest.param(
            {"weather": [{"anything-but": ["Raining", "Snowing"]}]},
            [{"weather": "Sunny"}, {"weather": 3}, {"weather": None}],
            [{"weather": "Raining"}, {"weather": "Snowing"}, {}],
            id="not",
        ),
        pytest.param({"n": [{"anything-but": 5}]}, [{"n": 6}, {"n": "5"}], [{"n": 5}, {}], id="not a number"),
        pytest.param(
            {"price": [{"numeric": ["=", 100]}]},
            [{"price": 100}, {"price": 100.0}, {"price": 1e2}],
            [{"price": 101}, {"price": "100"}, {}],
            id="numeric, equals",
        ),
        pytest.param(
            {"price": [{"numeric": [">", 10, "<=", 20]}]},
            [{"price": 10.01}, {"price": 20}],
            [{"price": 10}, {"price": 20.5}, {"price": None}, {"price": True}],
            id="numeric, range",
        ),
        pytest.param(
            {"name": [{"exists": True}]},
            [{"name": None}, {"name": ""}, {"name": 0}],
            [{}, {"x": 1}],
            id="exists",
        ),
        pytest.param({"name": [{"exists": False}]}, [{}, {"x": 1}], [{"name": None}], id="does not exist"),
        pytest.param(
            {"region": [{"prefix": "us-"}]},
            [{"region": "us-east-1"}],
            [{"region": "eu"}, {"region": 1}, {}],
            id="begins",
        ),
        pytest.param(
            {"file": [{"suffix": ".png"}]},
            [{"file": "a.png"}],
            [{"file": "a.PNG"}, {"file": "png"}, {}],
            id="ends",
        ),
        pytest.param(
            {"file": [{"suffix": {"equals-ignore-case": ".PNG"}}, {"prefix": {"equals-ignore-case": "B"}}]},
            [{"file": "a.png"}, {"file": "bild"}],
            [{"file": "a.jpg"}],
            id="begins or ends, ignore case",
        ),
        pytest.param(
            {"a": {"b": {"c": ["d"]}}},
            [{"a": {"b": {"c": "d", "x": 1}}}],
            [{"a": {"b": "d"}}, {"a": {"c": "d"}}, {"a": "d"}],
            id="several levels",
        ),
    ],
)
def test_every_operator(pattern: Any, taken: list[Any], refused: list[Any]) -> None:
    """Lambda developer guide, filter rule syntax: what each comparison takes and what it refuses."""
    assert [value for value in taken if not takes(pattern, value)] == []
    assert [value for value in refused if takes(pattern, value)] == []


def test_numbers_are_compared_as_they_are_written() -> None:
    """Lambda developer guide, filter rule syntax, note: 300, 300.0 and 3.0e2 are not considered equal."""
    criteria = FilterCriteria(['{"value": {"n": [300]}}'])

    assert criteria.take(b'{"n": 300}')
    assert not criteria.take(b'{"n": 300.0}')
    assert not criteria.take(b'{"n": 3.0e2}')


def test_in_an_array_one_value_is_enough() -> None:
    """EventBridge user guide, matching arrays: the two arrays must have a value in common."""
    assert takes({"tags": ["a", "b"]}, {"tags": ["x", "b"]})
    assert takes({"tags": ["b"]}, {"tags": [["x"], ["b"]]})
    assert takes({"tags": [{"prefix": "b"}]}, {"tags": [1, "bc"]})
    assert not takes({"tags": ["a"]}, {"tags": []})


def test_in_an_array_of_objects_one_must_pass_as_a_whole() -> None:
    """EventBridge's own matcher is consistent within an array: fields of two entries never make up one match."""
    pattern = {"essays": {"id": ["e-1"], "status": ["done"]}}

    assert takes(pattern, {"essays": [{"id": "e-2"}, {"id": "e-1", "status": "done"}]})
    assert not takes(pattern, {"essays": [{"id": "e-1"}, {"id": "e-2", "status": "done"}]})


def test_only_leaves_exist() -> None:
    """EventBridge user guide, exists matching: it works on leaf nodes, not on intermediate ones."""
    assert not takes({"a": [{"exists": True}]}, {"a": {"b": 1}})
    assert takes({"a": {"b": [{"exists": False}]}}, {})


def test_one_of_several_filters_is_enough() -> None:
    """Lambda developer guide, event filtering: filters are logically ORed."""
    criteria = FilterCriteria(['{"value": {"a": [1]}}', '{"value": {"b": [1]}}'])

    assert criteria.take(b'{"b": 1}')
    assert not criteria.take(b'{"c": 1}')


def test_of_repeated_keys_the_last_counts() -> None:
    """Lambda developer guide, event filtering, duplicate keys."""
    criteria = FilterCriteria(['{"value": {"k": ["hello"], "k": ["world"]}}'])

    assert criteria.take(b'{"k": "world"}')
    assert not criteria.take(b'{"k": "hello"}')


def test_without_filters_every_record_is_sent() -> None:
    """Lambda developer guide, event filtering: filtering is something a mapping asks for."""
    criteria = FilterCriteria([])

    assert not criteria
    assert criteria.take(None)
    assert criteria.take(b"\xff")


class TestFormats:
    """Lambda developer guide, properly filtering Kafka messages: what a mismatch of formats does."""

    JSON = FilterCriteria(['{"value": {"device_ID": [{"prefix": "AB"}]}}'])
    TEXT = FilterCriteria(['{"value": [{"anything-but": ["error"]}]}'])

    def test_json_with_a_json_pattern_is_filtered(self) -> None:
        """Valid JSON, valid JSON: Lambda filters; this is the guide's own example."""
        assert self.JSON.take(b'{"device_ID": "AB1234", "session": {"duration": 162}}')
        assert not self.JSON.take(b'{"device_ID": "CD1234"}')

    def test_plain_text_with_a_pattern_for_text_is_filtered(self) -> None:
        """Plain string, plain string: Lambda filters; this is the guide's other example."""
        assert self.TEXT.take(b"all is well")
        assert not self.TEXT.take(b"error")

    @pytest.mark.parametrize(
        "value", [b"plain", b"", b"12", b'"text"', b"{broken", b'{"n": NaN}', b"[" * 100_000]
    )
    def test_plain_text_passes_a_json_pattern(self, value: bytes) -> None:
        """Plain string, valid JSON: only metadata is filtered, of which Kafka has none, so the record is sent."""
        assert self.JSON.take(value)

    @pytest.mark.parametrize("value", [b'{"a": "error"}', b'["error"]'])
    def test_json_passes_a_pattern_for_text(self, value: bytes) -> None:
        """Valid JSON, plain string: only metadata is filtered, of which Kafka has none, so the record is sent."""
        assert self.TEXT.take(value)

    @pytest.mark.parametrize("criteria", [JSON, TEXT])
    def test_what_is_not_utf8_passes(self, criteria: FilterCriteria) -> None:
        """Non-UTF-8, any pattern: only metadata is filtered, so the record is sent."""
        assert criteria.take("error".encode("utf-16"))

    @pytest.mark.parametrize("criteria", [JSON, TEXT])
    def test_a_tombstone_passes(self, criteria: FilterCriteria) -> None:
        """The guide is silent on null values; chosen: they have no format that could match, so they are sent."""
        assert criteria.take(None)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "must be an object"),
        ('{"key": ["a"]}', "value alone"),
        ('{"value": "a"}', "must be a list"),
        ('{"value": []}', "must be a list"),
        ('{"value": {}}', "is empty"),
        ('{"value": {"a": 1}}', "must be a list"),
        ('{"value": {"a": [["b"]]}}', "is no rule"),
        ('{"value": {"a": [{"wildcard": "*"}]}}', "not one that Lambda takes"),
        ('{"value": {"a": [{"exists": "yes"}]}}', "true or false"),
        ('{"value": {"a": [{"prefix": 1}]}}', "must be a string"),
        ('{"value": {"a": [{"suffix": {"equals-ignore-case": 1}}]}}', "must be a string"),
        ('{"value": {"a": [{"equals-ignore-case": null}]}}', "must be a string"),
        ('{"value": {"a": [{"prefix": "a", "suffix": "b"}]}}', "one operator"),
        ('{"value": {"a": [{"anything-but": []}]}}', "strings or numbers"),
        ('{"value": {"a": [{"anything-but": [true]}]}}', "strings or numbers"),
        ('{"value": {"a": [{"anything-but": {"prefix": "a"}}]}}', "strings or numbers"),
        ('{"value": {"a": [{"numeric": [">"]}]}}', "comparisons"),
        ('{"value": {"a": [{"numeric": [">", "1"]}]}}', "comparisons"),
        ('{"value": {"a": [{"numeric": ["~", 1]}]}}', "comparisons"),
        ('{"value": {"$or": {"a": [1]}}}', "list of patterns"),
        ('{"$or": []}', "list of patterns"),
        ('{"value": {"$or": [1]}}', "must hold objects"),
    ],
)
def test_a_pattern_that_lambda_would_refuse_is_refused(pattern: str, problem: str) -> None:
    """Lambda developer guide, event filtering: a malformed pattern is an error of the mapping, not of a record."""
    with pytest.raises(PatternError, match=problem):
        FilterCriteria([pattern])


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(_json, st.binary(max_size=20))
def test_any_value_is_taken_or_not_without_an_error(value: Any, raw: bytes) -> None:
    """A filter never stops a partition: whatever the bytes are, it answers."""
    criteria = FilterCriteria(
        [
            '{"value": {"a": [{"numeric": [">", 0]}], "b": {"c": [{"exists": false}]}}}',
            '{"value": ["x", {"prefix": "y"}]}',
        ]
    )

    assert criteria.take(json.dumps(value).encode()) in (True, False)
    assert criteria.take(raw) in (True, False)


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.text(max_size=4) | st.booleans() | st.none(), min_size=1, max_size=3
    )
)
def test_a_value_passes_the_pattern_that_spells_it_out(value: dict[str, Any]) -> None:
    """Equality: each field in a list of one is a pattern that takes the value, and its negation by text does not."""
    assert takes({name: [one] for name, one in value.items()}, value)
    for name, one in value.items():
        if isinstance(one, str):
            assert not takes({name: [{"anything-but": [one]}]}, value)
