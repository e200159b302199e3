"""Errors and results cross the borders of processes: pickled, copied and deep-copied, they keep every field."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import result_aggregator_client
from result_aggregator_client import (
    Address,
    BatchPage,
    BatchStatus,
    ForbiddenError,
    Health,
    ResultAggregatorError,
    Retries,
    Timeouts,
    errors,
)
from result_aggregator_client.models import read

from tests.client.answers import listing, summary

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = [
    one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, ResultAggregatorError)
]
"""Every class of errors that there is, so that one that is added is tested too."""


def _pickled(protocol: int, value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301 - our own bytes


WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {protocol}": partial(_pickled, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}

RESULTS = [
    read(
        BatchStatus,
        {
            **summary(),
            "phases": [{"name": "nlp", "essay_statuses": {"COMPLETED": 3}}],
            "essays": [{"essay_id": "e", "spellcheck_metrics": {"word_count": 3}}],
        },
    ),
    read(BatchPage, listing("1", "2", total=2).body),
    read(Health, {"status": "healthy"}),
    Timeouts(read_s=3),
    Retries(attempts=2),
    Address.endpoint_dns("v.example", api_id="a1", stage="prod"),
]


def error(kind: type[ResultAggregatorError]) -> ResultAggregatorError:
    """One with every field set."""
    made = kind(
        "a sentence",
        code="a_code",
        correlation_id="abc-1",
        status=418,
        details={"parameter": "limit", "allowed": ["1"]},
        retry_after_s=7.5,
    )
    made.add_note("seen in the middle of a page")
    return made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ERRORS)
def test_errors_keep_their_fields(kind: type[ResultAggregatorError], way: str) -> None:
    """Each class by each way: the same class, fields, notes and text."""
    original = error(kind)
    again = WAYS[way](original)

    assert type(again) is kind
    assert vars(again) == vars(original)
    assert (str(again), repr(again), again.args) == (str(original), repr(original), original.args)
    assert again.__notes__ == ["seen in the middle of a page"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_results_and_settings_keep_their_fields(result: object, way: str) -> None:
    """Each is equal to what it was made from."""
    again = WAYS[way](result)

    assert type(again) is type(result)
    assert again == result


def test_an_error_shows_what_it_is() -> None:
    """In a log that has only its repr: class, status, code and correlation id."""
    assert repr(error(ForbiddenError)) == (
        "ForbiddenError('a sentence', status=418, code='a_code', correlation_id='abc-1')"
    )


def test_every_exported_class_is_tested() -> None:
    """Of errors and of results; a client has connections and threads, which cannot be copied."""
    exported = {getattr(result_aggregator_client, name) for name in result_aggregator_client.__all__}
    exported_errors = {one for one in exported if inspect.isclass(one) and issubclass(one, Exception)}

    assert exported_errors == set(ERRORS)


def _refused() -> None:
    raise error(ForbiddenError)


@pytest.mark.slow
def test_a_process_pool_hands_an_error_back() -> None:
    """As what it was; the pool goes on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in range(2):
            with pytest.raises(ForbiddenError) as caught:
                pool.submit(_refused).result()

            assert (caught.value.status, caught.value.correlation_id) == (418, "abc-1")
