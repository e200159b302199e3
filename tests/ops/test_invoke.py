"""Handing records to functions: batches that fit, and what comes back."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from ras.errors import OperatorError
from ras.invoke import BATCH_BYTES, FAILED, FunctionFailedError, Outcome, Redelivery, deliver, of_lambda
from result_aggregator import replay_headers
from result_aggregator.topics import TOPICS

from tests.ops import made
from tests.ops.made import RANKING, SPELLCHECK


def redelivery(offset: int, value: bytes = b"x", topic: str = SPELLCHECK, arn: str = "arn") -> Redelivery:
    return Redelivery(made.received(made.record(value, offset, offset % 3, topic)), arn)


class Functions:
    """Functions that apply every record but those of some offsets, on which they break."""

    def __init__(self, *broken: int) -> None:
        self.broken = set(broken)
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, folder: str, event: dict[str, Any]) -> dict[str, Any]:
        self.events.append((folder, event))
        records = [(lane, one["offset"]) for lane, batch in event["records"].items() for one in batch]
        if self.broken & {offset for _, offset in records}:
            raise FunctionFailedError("out of memory")
        return {
            "batchItemFailures": [],
            "outcomes": [
                {"partition": lane, "offset": offset, "outcome": "applied", "reason": ""}
                for lane, offset in records
            ],
        }

    def sizes(self) -> list[tuple[str, int]]:
        return [(folder, sum(map(len, event["records"].values()))) for folder, event in self.events]


def test_records_go_to_the_functions_of_their_topics() -> None:
    """As events of a replay, lanes named as AWS names them, a hundred records each; of one cluster each."""
    functions = Functions()
    records = [redelivery(n) for n in range(150)] + [redelivery(0, topic=RANKING), redelivery(1, arn="other")]
    found = list(deliver(functions, records))

    assert functions.sizes() == [
        (TOPICS[SPELLCHECK].function, 100),
        (TOPICS[SPELLCHECK].function, 50),
        (TOPICS[RANKING].function, 1),
        (TOPICS[SPELLCHECK].function, 1),
    ]
    event = functions.events[0][1]
    assert (event["eventSource"], event["eventSourceArn"]) == (replay_headers.EVENT_SOURCE, "arn")
    assert set(event["records"]) == {f"{SPELLCHECK}-{n}" for n in range(3)}
    assert {outcome.name for outcomes in found for outcome in outcomes.values()} == {"applied"}


def test_an_event_stays_below_the_limit_of_requests() -> None:
    """Lambda takes 6 MB; a record that is larger goes alone."""
    functions = Functions()
    values = [b"x" * size for size in (2_000_000, 2_000_000, 10, 5_000_000, 10)]
    list(deliver(functions, [redelivery(n, value) for n, value in enumerate(values)]))
    sizes = [len(json.dumps(event)) for _, event in functions.events]

    assert [number for _, number in functions.sizes()] == [1, 2, 1, 1]
    assert [size < BATCH_BYTES + 1000 for size in sizes] == [True, True, False, True]


def test_topics_that_nobody_reads_have_no_outcome() -> None:
    """There is no function to hand them to."""
    assert list(deliver(Functions(), [redelivery(0, topic="unknown")])) == []


def test_the_record_that_breaks_the_function_is_found() -> None:
    """By halves; all others are applied."""
    functions = Functions(3, 77)
    [outcomes] = deliver(functions, [redelivery(n) for n in range(100)])
    failed = {place.offset: outcome for place, outcome in outcomes.items() if outcome.name == FAILED}

    assert failed == dict.fromkeys((3, 77), Outcome(FAILED, "out of memory"))
    assert len(outcomes) == 100
    assert len(functions.events) < 30


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": []},
        {"outcomes": []},
        {"outcomes": [{"partition": "t-0", "offset": 5, "outcome": "applied", "reason": ""}]},
        {"outcomes": "x"},
        None,
        [],
    ],
)
def test_a_function_that_tells_nothing_is_not_believed(answer: Any) -> None:
    """An earlier version of it, for example: nothing may be removed on its word."""
    with pytest.raises(OperatorError, match="does not tell"):
        list(deliver(lambda *_: answer, [redelivery(0)]))


class Lambda:
    """As much of Lambda's client as is used."""

    class exceptions:  # noqa: N801 - its name there
        class RequestTooLargeException(Exception):  # noqa: N818 - its name there
            pass

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - their names there
        json.loads(Payload)
        self.asked.append(FunctionName)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {**self.answer, "Payload": io.BytesIO(self.answer["Payload"])}


def invoke(answer: dict[str, Any] | Exception) -> tuple[Lambda, Any]:
    client = Lambda(answer)
    call: Any = of_lambda  # its parameter is a client of boto3
    return client, call(client, "dev")


def test_a_stages_function_is_invoked_by_its_name() -> None:
    """`ras-<stage>-<folder>`; its answer is read."""
    client, call = invoke({"Payload": b'{"a": 1}'})

    assert call("ingest_essays", {}) == {"a": 1}
    assert client.asked == ["ras-dev-ingest-essays"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"Payload": b'{"errorMessage": "boom"}', "FunctionError": "Unhandled"}, "boom"),
        (Lambda.exceptions.RequestTooLargeException("7 MB"), "no invocation can carry it: 7 MB"),
    ],
)
def test_what_is_the_records_fault_is_a_failure_of_the_function(
    answer: dict[str, Any] | Exception, message: str
) -> None:
    """It raised, or the record is larger than any request."""
    with pytest.raises(FunctionFailedError, match=message):
        invoke(answer)[1]("ingest_essays", {})


def test_a_function_out_of_reach_is_told() -> None:
    """That is nobody's record's fault."""
    with pytest.raises(OperatorError, match="cannot be invoked"):
        invoke(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))[1]("ingest_essays", {})
