"""The functions in the runtime's client: answers, exit codes and every line of the log, as Lambda would have them."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import metrics
from result_aggregator.names import ENV_DEAD_LETTER_BUCKET, ENV_TABLE_NAME, GATEWAY_CALLER, REJECTED_PREFIX
from result_aggregator.topics import TOPICS

from tests import samples
from tests.runtime import emf
from tests.runtime.events import LISTING, STATUS, rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from tests.runtime.conftest import Function, Runtime

    Start = Callable[..., Function]

pytestmark = pytest.mark.integration

SPELLCHECK = "huleedu.essay.spellcheck.results.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
FOLDERS = ("ingest_batches", "ingest_essays", "ingest_rankings", "query")


@pytest.fixture(scope="module")
def query(start: Start, stores: dict[str, str]) -> Iterator[Function]:
    with start("query", **stores) as function:
        yield function


@pytest.fixture(scope="module")
def essays(start: Start, stores: dict[str, str]) -> Iterator[Function]:
    with start("ingest_essays", **stores) as function:
        yield function


@pytest.fixture(scope="module")
def filled(start: Start, stores: dict[str, str]) -> list[dict[str, Any]]:
    """The samples of the platform, brought in by the three functions; every line of their logs."""
    by_function: dict[str, list[dict[str, Any]]] = {}
    for offset, line in enumerate(samples.events("platform_2026_02")):
        made = samples.record(line.topic, line.value, offset)
        by_function.setdefault(TOPICS[line.topic].function, []).append(made)
    lines = []
    for folder, records in by_function.items():
        with start(folder, **stores) as function:
            done = function.invoke(samples.msk_event(records))
            assert (done.outcome, done.answer) == ("response", {"batchItemFailures": []})
            lines += function.lines
    return lines


def body_of(answer: dict[str, Any]) -> Any:
    text = answer["body"]
    if answer.get("isBase64Encoded"):
        text = gzip.decompress(b64decode(text)).decode()
    return json.loads(text) if text else None


def spellchecked(batch: str, number: int, **extra: Any) -> dict[str, Any]:
    """An essay's spellcheck, as the guide has it."""
    (line, *_) = [one for one in samples.events("platform_2026_02") if one.topic == SPELLCHECK]
    event = line.value
    data = {
        **event["data"],
        "batch_id": batch,
        "essay_id": f"essay-{number}",
        "entity_id": f"essay-{number}",
        "parent_id": batch,
    }
    return {**samples.envelope(data), **extra}


def test_samples_are_answered_as_written_down(filled: list[dict[str, Any]], query: Function) -> None:
    """The same expectation that the handlers are held to in the tests' own process."""
    assert filled
    for batch_id, wanted in samples.expected("platform_2026_02").items():
        done = query.invoke(rest(STATUS, batch_id=batch_id))

        assert done.outcome == "response"
        assert done.answer["statusCode"] == 200
        assert samples.differences(body_of(done.answer), wanted) == []


def test_what_a_request_has_none_of_is_null(query: Function) -> None:
    """No query, no path parameters, no body: nothing fails that has to look into them."""
    done = query.invoke(rest("/healthz"))
    bare = rest("/healthz")
    for name in ("headers", "multiValueHeaders"):
        bare[name] = None

    assert done.answer["statusCode"] == 200
    assert query.invoke(bare).answer["statusCode"] == 200


def test_a_parameter_that_comes_several_times(filled: list[dict[str, Any]], query: Function) -> None:
    """One value is read; several values of one are refused, not guessed among."""
    assert filled
    one = query.invoke(rest(LISTING, user_id="teacher-anna", query={"limit": ["1"]})).answer
    several = query.invoke(rest(LISTING, user_id="teacher-anna", query={"limit": ["1", "2"]})).answer

    assert len(body_of(one)["batches"]) <= 1
    assert (several["statusCode"], body_of(several)["code"]) == (400, "bad_request")


@pytest.mark.parametrize(("role", "status"), [(GATEWAY_CALLER, 200), ("somebody-else", 403), (None, 403)])
def test_the_session_of_an_assumed_role_is_its_role(query: Function, role: str | None, status: int) -> None:
    """By the template's own list of callers; without an identity nobody is let in."""
    assert query.invoke(rest(LISTING, role=role, user_id="teacher-anna")).answer["statusCode"] == status


def test_head_is_no_method_of_the_api(query: Function) -> None:
    """Refused by the function, too, in the API's own form."""
    answer = query.invoke(rest(LISTING, method="HEAD", user_id="teacher-anna")).answer

    assert answer["statusCode"] == 405


def test_text_outside_ascii_arrives(query: Function) -> None:
    """The runtime answers in UTF-8 as it stands; the body is a string inside of that."""
    name = "lärare-åäö-✓"
    done = query.invoke(rest(LISTING, user_id=name, headers={"X-Correlation-ID": "corr-1"}))

    assert done.answer["statusCode"] == 200
    assert done.answer["headers"]["X-Correlation-ID"] == "corr-1"


def test_tombstones_absent_keys_and_signed_headers(essays: Function) -> None:
    """A null and an absent value, no key, and header bytes as Java has them, -128 to 127, in one event with good ones."""
    records = [samples.record(SPELLCHECK, spellchecked("tombs", n), n) for n in range(4)]
    records[0]["value"] = None
    del records[1]["value"]
    records[2]["headers"] = [{"trace": [-61, -92, 97]}, {"trace": []}]
    records[3]["key"] = b64encode(b"\xff\xfe not UTF-8").decode()
    before = len(essays.lines)
    done = essays.invoke(samples.msk_event(records))
    (closing,) = [line for line in essays.lines[before:] if line.get("message") == "ingested"]

    assert done.answer == {"batchItemFailures": []}
    assert {name: closing[name] for name in ("received", "applied", "ignored", "rejected")} == {
        "received": 4,
        "applied": 2,
        "ignored": 2,
        "rejected": 0,
    }


def test_five_hundred_records_over_many_partitions(essays: Function) -> None:
    """A full batch of the mapping's, all of it applied."""
    records = [samples.record(SPELLCHECK, spellchecked(f"many-{n % 7}", n), n, n % 12) for n in range(500)]
    before = len(essays.lines)
    done = essays.invoke(samples.msk_event(records))
    (closing,) = [line for line in essays.lines[before:] if line.get("message") == "ingested"]

    assert done.answer == {"batchItemFailures": []}
    assert (closing["received"], closing["applied"]) == (500, 500)


def test_a_record_of_four_megabytes(start: Start, stores: dict[str, str], emulator_s3: S3Client) -> None:
    """As large as one can be in an event of 6 MB: poison that is kept whole, beside a record that is applied."""
    with start("ingest_essays", **stores) as function:
        good = samples.record(SPELLCHECK, spellchecked("beside", 1), 1)
        poison = samples.record(SPELLCHECK, b"x" * (4 * 1024 * 1024), 77)
        done = function.invoke(samples.msk_event([poison, good]))
        lines = function.lines
    (closing,) = [line for line in lines if line.get("message") == "ingested"]
    bucket = stores[ENV_DEAD_LETTER_BUCKET]
    listed = emulator_s3.list_objects_v2(Bucket=bucket, Prefix=REJECTED_PREFIX)["Contents"]
    # The same function's other tests reject small records.
    largest = max(listed, key=lambda one: one["Size"])
    kept = json.loads(emulator_s3.get_object(Bucket=bucket, Key=largest["Key"])["Body"].read())

    assert done.answer == {"batchItemFailures": []}
    assert (closing["applied"], closing["rejected"]) == (1, 1)
    assert (kept["offset"], kept["value"]) == (77, poison["value"])


def test_a_large_answer_stays_below_what_lambda_returns(
    start: Start, stores: dict[str, str], query: Function
) -> None:
    """6,291,556 bytes ("Lambda quotas"), counted as the runtime posts them: pages of a batch whose ids are as long as can be."""
    batch = "b" * 255
    ranking = {
        "batch_id": batch,
        "status": "COMPLETED",
        "cj_assessment_job_id": "job",
        "rankings": [
            {"essay_id": f"{n:0>255}", "rank": n + 1, "score": 0.5, "comparison_count": 9}
            for n in range(5000)
        ],
    }
    registered = {
        "entity_id": batch,
        "batch_id": batch,
        "user_id": "teacher-large",
        "expected_essay_count": 5000,
    }
    for folder, topic, data in (
        ("ingest_batches", REGISTERED, registered),
        ("ingest_rankings", "huleedu.cj_assessment.completed.v1", ranking),
    ):
        with start(folder, **stores) as function:
            done = function.invoke(samples.msk_event([samples.record(topic, samples.envelope(data))]))
            (closing,) = [line for line in function.lines if line.get("message") == "ingested"]
            assert (done.answer, closing["applied"]) == ({"batchItemFailures": []}, 1)
    seen, cursor, sizes = 0, None, []
    while seen == 0 or cursor is not None:
        done = query.invoke(rest(STATUS, batch_id=batch, query={"cursor": [cursor]} if cursor else None))
        body = body_of(done.answer)
        sizes.append(len(done.body))
        seen += len(body["essays"])
        cursor = body["pagination"]["next_cursor"]

    assert seen == 5000
    assert max(sizes) <= 6_291_556
    assert max(sizes) > 6_291_556 * 0.6


def test_every_line_is_json_and_metrics_are_as_cloudwatch_reads_them(
    filled: list[dict[str, Any]], query: Function, essays: Function, runtime: Runtime
) -> None:
    """Log lines have a level and the invocation's id; the others are embedded metrics, of the stage's namespace."""
    query.invoke(rest(LISTING, user_id="teacher-anna"))
    essays.invoke(samples.msk_event([samples.record(SPELLCHECK, b"poison", 9)]))
    lines = [*filled, *query.lines, *essays.lines]
    metric_lines = [line for line in lines if "_aws" in line]
    log_lines = [line for line in lines if "_aws" not in line]

    assert metric_lines
    assert log_lines
    for line in metric_lines:
        assert emf.problems(line) == [], line
        namespaces = {directive["Namespace"] for directive in line["_aws"]["CloudWatchMetrics"]}
        assert namespaces == {metrics.namespace(runtime.stage.settings.stage)}
    for line in log_lines:
        assert line["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert line["message"]
        assert line.get("function_request_id") or line.get("requestId"), line


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_event_that_is_none_is_an_error_on_one_line(
    start: Start, stores: dict[str, str], folder: str
) -> None:
    """An uncaught error is JSON as all lines are: its level, its type, its stack and its invocation's id."""
    with start(folder, **{**stores, ENV_TABLE_NAME: " ", ENV_DEAD_LETTER_BUCKET: " "}) as function:
        event = (
            rest("/healthz") if folder == "query" else samples.msk_event([samples.record(REGISTERED, None)])
        )
        done = function.invoke(event)
        again = function.invoke(event)
        lines = function.lines
    errors = [line for line in lines if line.get("errorType")]

    assert (done.outcome, again.outcome) == ("error", "error")
    assert done.answer["errorType"] == "SettingsError"
    assert ENV_TABLE_NAME in done.answer["errorMessage"]
    assert [line["requestId"] for line in errors] == [done.request_id, again.request_id]
    assert all(line["level"] == "ERROR" and line["stackTrace"] for line in errors)


def test_a_snapshot_of_a_function_without_its_settings_is_never_taken(
    start: Start, stores: dict[str, str]
) -> None:
    """The version's deployment fails then, and callers keep the one before."""
    starting = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", ENV_TABLE_NAME: ""}
    with start("query", **{**stores, **starting}) as function:
        code = function.exit_code()
        told = function.api.init_error

    assert code == 1
    assert told is not None
    assert (told["errorType"], function.api.asked) == ("SettingsError", ["POST init/error"])
    assert ENV_TABLE_NAME in told["errorMessage"]


def test_a_handler_that_does_not_import_ends_with_an_init_error(start: Start, stores: dict[str, str]) -> None:
    """As one whose layers were taken away: the runtime reports it and exits with 1; the log names the module, in JSON."""
    with start("query", with_layers=False, **stores) as function:
        code = function.exit_code()
        lines, told = function.lines, function.api.init_error

    assert code == 1
    assert told is not None
    assert told["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'result_aggregator'" in told["errorMessage"]
    assert [line["errorMessage"] for line in lines if line.get("errorType")] == [told["errorMessage"]]
    assert function.api.asked == ["POST init/error"]


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_the_log_level_hides_lines_and_no_metrics(start: Start, stores: dict[str, str], level: str) -> None:
    """Lambda's own filter is at INFO where the service's level is higher (test_functions), and Powertools prefers it."""
    filtered_at = "DEBUG" if level == "DEBUG" else "INFO"
    changed = {"LOG_LEVEL": level, "AWS_LAMBDA_LOG_LEVEL": filtered_at}
    with start("ingest_essays", **stores, **changed) as function:
        function.invoke(samples.msk_event([samples.record(SPELLCHECK, None)]))
        lines = function.lines

    assert any(line.get("message") == "ingested" for line in lines) is (level in ("DEBUG", "INFO"))
    assert any("_aws" in line for line in lines)
