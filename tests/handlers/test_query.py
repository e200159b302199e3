"""The query function: the guide's answers, and clear refusals that tell nothing they should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from result_aggregator.api import Api, Request
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.prometheus import Scrape
from result_aggregator.store.view_store import ViewStore

from tests import fold, samples
from tests.handlers.conftest import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from result_aggregator.prometheus import Exposition

    from tests.handlers.conftest import Logs, Service

STATUS = "/internal/v1/batches/{batch_id}/status"
LISTING = "/internal/v1/batches/user/{user_id}"
BATCH = "d5d61df1-a408-46cc-b7c1-a3e2bd2f53d7"
OWNER = "teacher-anna"
USERS = ("teacher-anna", "teacher-bo")


@pytest.fixture
def filled(service: Service) -> Service:
    """The service after the platform's samples."""
    service.deliver(samples.events("platform_2025_06", "platform_2026_02"))
    return service


def refusal(answer: dict[str, Any]) -> tuple[int, str]:
    """A refusal's status and code; its body has the four fields of every error."""
    assert list(answer["body"]) == ["error", "code", "details", "correlation_id"]
    return answer["statusCode"], answer["body"]["code"]


def test_the_guides_fields_come_in_its_names(filled: Service) -> None:
    """A status answer has the guide's fields of a batch, more of it, and the phases and the pagination of its essays."""
    body = filled.get(STATUS, batch_id=BATCH)["body"]

    assert list(body) == [
        "batch_id", "user_id", "overall_status", "essay_count", "completed_essay_count", "failed_essay_count",
        "requested_pipeline", "current_phase", "created_at", "last_updated", "processing_started_at",
        "processing_completed_at", "assignment_id", "student_prompt_storage_id", "course_code", "class_id", "org_id",
        "last_error", "error_count", "phases", "essays", "pagination",
    ]  # fmt: skip


def test_listings_are_as_written_down(filled: Service) -> None:
    """Each user's batches, newest first, say the same of a batch as its status does, without the essays."""
    for user_id in USERS:
        batch_ids = samples.expected_listing()[user_id]
        body = filled.get(LISTING, user_id=user_id)["body"]

        assert [batch["batch_id"] for batch in body["batches"]] == batch_ids
        total = len(batch_ids)
        assert body["pagination"] == {"limit": 20, "offset": 0, "total": total, "next_cursor": None}
        for batch in body["batches"]:
            status = filled.get(STATUS, batch_id=batch["batch_id"])["body"]
            assert batch == {name: status[name] for name in batch}


def test_listings_are_paged_and_filtered(filled: Service) -> None:
    """`total` is true for the filter, whatever the page."""

    def ids(**query: str) -> tuple[list[str], int]:
        asked = {name: [value] for name, value in query.items()}
        body = filled.get(LISTING, user_id="teacher-anna", query=asked)["body"]
        return [batch["batch_id"] for batch in body["batches"]], body["pagination"]["total"]

    everything = samples.expected_listing()["teacher-anna"]
    failed = [one for one in everything if samples.expected()[one]["overall_status"] == "FAILED"]
    assert len(failed) == 2

    assert ids(limit="2", offset="1") == (everything[1:3], 6)
    assert ids(offset="6") == ([], 6)
    assert ids(status="FAILED") == (failed, 2)
    assert ids(status="failed", limit="1", offset="1") == (failed[1:], 2)
    assert ids(status="failed_critically") == (failed, 2)
    assert ids(status="CANCELLED") == ([], 0)
    assert ids(status="awaiting_student_validation") == ([], 0)


def test_another_users_batch_is_no_batch(filled: Service) -> None:
    """With a vouched owner, another's batch is answered like one that does not exist, to the letter."""

    def ask(batch_id: str, user_id: str) -> dict[str, Any]:
        headers = {"X-Correlation-ID": "same"}
        return filled.get(STATUS, batch_id=batch_id, query={"user_id": [user_id]}, headers=headers)

    assert ask(BATCH, OWNER)["statusCode"] == 200
    assert refusal(ask(BATCH, "teacher-bo")) == (404, "batch_not_found")
    assert ask(BATCH, "teacher-bo") == ask("no-such-batch", "teacher-bo")


def test_a_batch_without_an_owner_is_counted(service: Service, logs: Logs) -> None:
    """A batch whose owner no event has named is a 404, and a metric."""
    value = samples.envelope({"batch_id": "b", "essay_id": "e", "status": "COMPLETED"})
    service.deliver([samples.Line("huleedu.essay.spellcheck.completed.v1", "k", value)])
    logs.take()

    assert refusal(service.get(STATUS, batch_id="b")) == (404, "batch_not_found")
    _, metrics = logs.take()
    assert sum(1 for line in metrics if "ras_orphan_batches_total" in line) == 1


CALLERS = {
    "nobody": None,
    "a user": "arn:aws:iam::123456789012:user/api-gateway-service",
    "another role": "arn:aws:sts::123456789012:assumed-role/api-gateway-service-2/session",
    "another account": "arn:aws:sts::999999999999:assumed-role/api-gateway-service/session",
    "a forged session": "arn:aws:sts::123456789012:assumed-role/other/api-gateway-service/x",
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS.keys())
def test_unknown_callers_are_refused(filled: Service, caller: str | None) -> None:
    """Whatever policy let a caller through, only named roles of the named account are answered."""
    assert refusal(filled.get(STATUS, caller=caller, batch_id=BATCH)) == (403, "forbidden")
    assert refusal(filled.get(LISTING, caller=caller, user_id=OWNER)) == (403, "forbidden")
    assert refusal(filled.get("/internal/v1/other", caller=caller)) == (403, "forbidden")
    assert refusal(filled.get(STATUS, method="POST", caller=caller, batch_id=BATCH)) == (403, "forbidden")


def test_callers_of_whom_no_identity_is_told_are_served_by_setting(
    filled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local stage's, on an emulator that tells no identities; whoever is named is looked up all the same."""
    monkeypatch.setenv("ALLOWED_CALLERS", json.dumps({ROLE: "api-gateway-service", "": "unidentified"}))

    assert filled.get(STATUS, caller=None, batch_id=BATCH)["statusCode"] == 200
    for caller in filter(None, CALLERS.values()):
        assert refusal(filled.get(STATUS, caller=caller, batch_id=BATCH)) == (403, "forbidden")


def test_nothing_is_compressed_by_setting(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an API Gateway that passes on no bytes."""
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip"}
    assert "Content-Encoding" in filled.get(STATUS, headers=headers, batch_id=BATCH)["headers"]
    monkeypatch.setenv("COMPRESS_ANSWERS", "false")
    del filled.handlers["query"]

    assert "Content-Encoding" not in filled.get(STATUS, headers=headers, batch_id=BATCH)["headers"]


def test_who_asked_is_logged(filled: Service, logs: Logs) -> None:
    """A caller by its service's name, a refused one by its ARN, both with the correlation id."""
    headers = {"X-Correlation-ID": "who-1"}
    logs.take()
    filled.get(STATUS, batch_id=BATCH, headers=headers)
    (answered,) = logs.take()[0]
    filled.get(STATUS, batch_id=BATCH, headers=headers, caller=CALLERS["another role"])
    refused, closing = logs.take()[0]

    assert (answered["caller"], answered["correlation_id"]) == ("api-gateway-service", "who-1")
    assert refused["message"] == "caller refused"
    assert (refused["caller_arn"], refused["correlation_id"]) == (CALLERS["another role"], "who-1")
    assert (closing.get("caller"), closing["status"]) == (None, 403)


BAD_QUERIES = {
    "limit=0": {"limit": ["0"]},
    "limit=101": {"limit": ["101"]},
    "limit=-1": {"limit": ["-1"]},
    "limit=1e2": {"limit": ["1e2"]},
    "limit=1e9": {"limit": ["1e9"]},
    "limit=10^9": {"limit": ["1000000000"]},
    "limit=abc": {"limit": ["abc"]},
    "limit=٣": {"limit": ["٣"]},
    "limit=": {"limit": [""]},
    "limit twice": {"limit": ["1", "2"]},
    "offset=10001": {"offset": ["10001"]},
    "offset=-1": {"offset": ["-1"]},
    "offset twice": {"offset": ["1", "1"]},
    "status=DONE": {"status": ["DONE"]},
    "status=": {"status": [""]},
    "cursor twice": {"cursor": ["a", "a"]},
    "userid=": {"userid": ["x"]},
    "Limit=": {"Limit": ["1"]},
    "no name": {"": ["1"]},
}


@pytest.mark.parametrize("query", BAD_QUERIES.values(), ids=BAD_QUERIES.keys())
def test_bad_queries_are_refused_by_name(service: Service, query: dict[str, list[str]]) -> None:
    """A wrong parameter, an unknown one or one given twice is a 400 that names it."""
    answer = service.get(LISTING, user_id="u", query=query)

    assert refusal(answer) == (400, "bad_request")
    assert answer["body"]["details"]["parameter"] == next(iter(query))


def test_refusals_say_what_is_wrong(service: Service) -> None:
    """In words for whoever wrote the caller, and as values for what it may do about it."""

    def listing(**query: list[str]) -> dict[str, Any]:
        return service.get(LISTING, user_id="u", query=query)

    def of(name: str) -> dict[str, Any]:
        return {"parameter": name}

    statuses = [
        "REGISTERED", "PROCESSING", "COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED",
        "completed_successfully", "completed_with_failures", "failed_critically", "content_ingestion_failed",
        "processing_pipelines", "ready_for_pipeline_execution", "student_validation_completed",
        "validation_timeout_processed", "guest_class_ready", "awaiting_*",
    ]  # fmt: skip
    said: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
        (service.get(STATUS, batch_id="missing"), "no such batch", {}),
        (service.get("/internal/v1/other"), "no such route", {}),
        (service.get(STATUS, method="POST", batch_id="b"), "only GET is allowed", {"allowed": ["GET"]}),
        (service.get(STATUS, caller=None, batch_id="b"), "the caller is not allowed to ask", {}),
        (service.get(STATUS, batch_id="%01"), "batch_id must have no control characters", of("batch_id")),
        (
            service.get(STATUS, batch_id="b", query={"user_id": ["\ud800"]}),
            "user_id must be Unicode text",
            of("user_id"),
        ),
        (
            listing(limit=["0"]),
            "limit must be a whole number from 1 to 100",
            of("limit") | {"minimum": 1, "maximum": 100},
        ),
        (listing(limit=["1", "2"]), "limit is given 2 times", of("limit")),
        (
            listing(page=["1"]),
            "there is no such parameter here",
            of("page") | {"allowed": ["cursor", "limit", "offset", "status"]},
        ),
        (listing(status=["DONE"]), "status is none of a batch's", of("status") | {"allowed": statuses}),
        (listing(cursor=["c"], offset=["1"]), "a cursor says where the page begins", of("offset")),
        (listing(cursor=["c"]), "the cursor is damaged or of another request", of("cursor")),
        (
            service.get(STATUS, batch_id="a" * 1600),
            "the path takes more than 1600 bytes",
            {"maximum": 1600},
        ),
        (
            service.get(STATUS, batch_id="b", headers={"a": "b" * 10_240}),
            "the headers take more than 10240 bytes",
            {"maximum": 10_240},
        ),
    ]

    assert [(answer["body"]["error"], answer["body"]["details"]) for answer, _, _ in said] == [
        (text, details) for _, text, details in said
    ]


@pytest.mark.parametrize(
    "query",
    [{"limit": ["0"]}, {"limit": ["5001"]}, {"user_id": [""]}, {"user_id": ["a", "b"]}, {"user": ["a"]}],
)
def test_bad_queries_of_a_batch_are_refused(filled: Service, query: dict[str, list[str]]) -> None:
    """The same for a batch that exists and one that does not: nothing is looked up for them."""
    headers = {"X-Correlation-ID": "same"}
    answer = filled.get(STATUS, batch_id=BATCH, query=query, headers=headers)

    assert refusal(answer) == (400, "bad_request")
    assert answer["body"]["details"]["parameter"] == next(iter(query))
    assert answer == filled.get(STATUS, batch_id="missing", query=query, headers=headers)


@pytest.mark.parametrize(
    "batch_id", ["", "x" * 256, "%C3%A9" * 256, "a%0Ab", "a\x7fb", "%ff", "%ED%A0%80", "%00"]
)
def test_bad_ids_are_refused(service: Service, batch_id: str) -> None:
    """An id that no event can carry is a 400."""
    assert refusal(service.get(STATUS, batch_id=batch_id)) == (400, "bad_request")
    assert refusal(service.get(LISTING, user_id=batch_id)) == (400, "bad_request")


def test_vouched_ids_are_checked_too(service: Service) -> None:
    """Half a surrogate pair, or a control character, is no id in a query parameter either."""
    for user_id in ("a\nb", "\ud800", "x" * 256):
        answer = service.get(STATUS, batch_id="b", query={"user_id": [user_id]})
        assert refusal(answer) == (400, "bad_request")


IDS = [
    "a/b ü",
    "no\u00a0break",
    "zero\u200bwidth",
    "x%41",
    "100%",
    "%2541",
    "a+b",
    "ä" * 255,
    "?#&=",
    "'\"\\",
]


@pytest.mark.parametrize("batch_id", IDS)
def test_ids_are_percent_decoded_once(service: Service, batch_id: str) -> None:
    """Whether the gateway passes the path on as it was sent, as AWS does, or decodes it first, as the emulator does."""
    for each in (batch_id, "xA", "d"):
        value = samples.envelope({"batch_id": each, "user_id": "u"})
        service.deliver([samples.Line("huleedu.batch.essays.registered.v1", "k", value)])
    raw = service.get(STATUS, batch_id=quote(batch_id, safe=""))
    decoded = service.get(STATUS, batch_id=batch_id, decoded=True)

    assert raw["body"]["batch_id"] == decoded["body"]["batch_id"] == batch_id
    assert service.get(LISTING, user_id=quote(batch_id, safe=""))["statusCode"] == 200


def test_what_an_event_leaves_out_is_empty() -> None:
    """Nothing is known of such a request, and so it is refused; it is no bug."""
    request = Request.of({})

    assert (request.method, request.route, request.path_bytes, request.caller_arn) == ("", "", 0, None)
    assert (request.path_parameters, request.query, request.headers) == ({}, {}, {})


def test_values_may_come_one_by_one() -> None:
    """An event has every header and parameter as a list; what makes events for tests may have the last value alone."""
    request = Request.of({"headers": {"Accept": "*/*"}, "queryStringParameters": {"limit": "5"}})

    assert (request.headers, request.query) == ({"accept": "*/*"}, {"limit": ["5"]})


def test_a_path_may_take_1600_bytes(service: Service) -> None:
    """As it was sent: the rest of the limit is API Gateway's, whose answer it is in AWS."""
    fixed = len(STATUS.format(batch_id=""))
    for batch_id in ("%F0%9F%98%80" * 130, "%F0%9F%98%80" * 255):
        sent = len(batch_id) + fixed
        answer = service.get(STATUS, batch_id=batch_id)
        assert refusal(answer) == ((414, "path_too_long") if sent > 1600 else (404, "batch_not_found"))
        assert (
            answer["statusCode"]
            == service.get(STATUS, batch_id=unquote(batch_id), decoded=True)["statusCode"]
        )
    long = "a" * (1600 - fixed)
    assert refusal(service.get(STATUS, batch_id=long)) == (400, "bad_request")
    assert refusal(service.get(STATUS, batch_id=long + "a")) == (414, "path_too_long")
    assert refusal(service.get("/" + "a" * 1700)) == (414, "path_too_long")


def test_headers_may_take_10240_bytes(service: Service) -> None:
    """All together, names and values, in whatever alphabet."""
    for value, status in (("x" * 10_238, 404), ("x" * 10_239, 431), ("é" * 5_120, 431)):
        assert service.get(STATUS, batch_id="b", headers={"ab": value})["statusCode"] == status
    many = {f"x-{n}": "y" * 100 for n in range(100)}
    assert refusal(service.get(LISTING, user_id="u", headers=many)) == (431, "headers_too_large")


def test_other_routes_and_methods_are_refused(service: Service) -> None:
    """An unknown route is a 404 by any method, a known one with another method a 405 that says which it allows."""
    assert refusal(service.get("/internal/v1/other")) == (404, "unknown_route")
    assert refusal(service.get("/internal/v1/other", method="POST")) == (404, "unknown_route")
    answer = service.get(STATUS, method="POST", batch_id="b")

    assert refusal(answer) == (405, "method_not_allowed")
    assert answer["headers"]["Allow"] == "GET"


def test_correlation_ids_go_through(service: Service, logs: Logs) -> None:
    """A caller's correlation id is echoed and logged; a missing or malformed one is replaced by a new UUID."""
    kept = service.get(STATUS, batch_id="b", headers={"x-correlation-id": "abc-123"})
    lines, _ = logs.take()

    assert kept["headers"]["X-Correlation-ID"] == kept["body"]["correlation_id"] == "abc-123"
    assert {line["correlation_id"] for line in lines} == {"abc-123"}
    for bad in (
        None,
        {},
        {"X-Correlation-ID": ""},
        {"X-Correlation-ID": "a b"},
        {"X-Correlation-ID": "x" * 129},
    ):
        made = service.get(STATUS, batch_id="b", headers=bad)
        assert UUID(made["headers"]["X-Correlation-ID"]).version == 4


def test_health_needs_no_caller_and_tells_the_truth(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Healthy while the table answers, a 503 when it does not."""
    assert service.get("/healthz", caller=None)["body"]["status"] == "healthy"

    def unavailable(_: ViewStore) -> bool:
        raise UnavailableError("DescribeTable: InternalServerError")

    monkeypatch.setattr(ViewStore, "is_active", unavailable)
    unhealthy = service.get("/healthz", caller=None)
    assert refusal(unhealthy) == (503, "unavailable")
    assert unhealthy["headers"]["Retry-After"] == "2"
    monkeypatch.setattr(ViewStore, "is_active", lambda _: False)
    inactive = service.get("/healthz", caller=None)
    assert refusal(inactive) == (503, "unavailable")
    assert inactive["body"]["error"] == "the table is not active"


def test_health_for_probes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD is answered as GET is, without a body; any other method is told of both."""
    said = {method: service.get("/healthz", method=method, caller=None) for method in ("GET", "HEAD", "POST")}
    monkeypatch.setattr(ViewStore, "is_active", lambda _: False)
    unhealthy = service.get("/healthz", method="HEAD", caller=None)

    assert (said["HEAD"]["statusCode"], said["HEAD"]["body"]) == (200, None)
    assert said["HEAD"]["headers"].keys() == said["GET"]["headers"].keys()
    assert (unhealthy["statusCode"], unhealthy["body"]) == (503, None)
    assert unhealthy["headers"]["Retry-After"] == "2"
    assert refusal(said["POST"]) == (405, "method_not_allowed")
    assert said["POST"]["headers"]["Allow"] == "GET, HEAD"
    assert said["POST"]["body"]["details"] == {"allowed": ["GET", "HEAD"]}
    # Only the health has it.
    assert service.get(STATUS, method="HEAD", batch_id="b")["statusCode"] == 405


def test_nobody_keeps_what_is_true_of_a_moment(service: Service) -> None:
    """Neither the table's health nor a refusal may be answered by a cache."""
    healthy = service.get("/healthz", caller=None)
    missing = service.get(STATUS, batch_id="missing")

    assert healthy["headers"]["Cache-Control"] == missing["headers"]["Cache-Control"] == "no-store"


def test_a_batch_is_named_only_where_it_was_asked_for(filled: Service, logs: Logs) -> None:
    """Lambda asks one process about one batch after the other: a line of one request tells none of an earlier one's."""
    logs.take()
    filled.get(STATUS, batch_id=BATCH)
    filled.get(LISTING, user_id=OWNER)
    lines, _ = logs.take()

    assert [line["message"] for line in lines] == ["answered", "answered"]
    assert [line for line in lines if BATCH in line.values()] == []


def test_failures_tell_no_internals(service: Service, monkeypatch: pytest.MonkeyPatch, logs: Logs) -> None:
    """A store that fails is a 503, a bug a 500; the body has neither a trace nor a name of ours, the log has them."""

    def fail(error: Exception) -> None:
        def read(_: ViewStore, __: str) -> Iterator[Any]:
            raise error

        monkeypatch.setattr(ViewStore, "read_partition", read)

    fail(UnavailableError("Query: ProvisionedThroughputExceededException on table-x"))
    throttled = service.get(STATUS, batch_id="b")
    fail(KeyError("secret"))
    broken = service.get(STATUS, batch_id="b")
    warning, _, trace, _ = logs.take()[0]

    assert refusal(throttled) == (503, "unavailable")
    assert throttled["body"]["error"] == "the view cannot be read now, try again"
    assert broken["body"]["error"] == "internal error"
    assert (warning["message"], trace["message"]) == ("view not readable", "request failed")
    assert warning["reason"] == "Query: ProvisionedThroughputExceededException on table-x"
    assert "secret" in trace["exception"]
    assert throttled["headers"]["Retry-After"] == "2"
    assert "Retry-After" not in broken["headers"]
    assert refusal(broken) == (500, "internal_error")
    assert "table-x" not in json.dumps(throttled)
    assert "secret" not in json.dumps(broken)


@pytest.mark.parametrize("route", [STATUS, LISTING])
def test_an_answer_that_the_caller_has_is_not_sent_again(filled: Service, route: str) -> None:
    """A 304 for an ETag among those named, however it is written; a new answer once anything has changed."""

    def ask(if_none_match: str, limit: str = "100") -> dict[str, Any]:
        headers = {"If-None-Match": if_none_match}
        asked = {"limit": [limit]}
        if route == STATUS:
            return filled.get(route, headers=headers, query=asked, batch_id=BATCH)
        return filled.get(route, headers=headers, query=asked, user_id=OWNER)

    first = ask("")
    etag = first["headers"]["ETag"]
    assert first["headers"]["Cache-Control"] == "private, no-cache"
    strong = etag.removeprefix("W/")
    for asked in (etag, strong, f'"x", {etag}', f'W/"a,b" ,{strong},"y"', "*", " * "):
        again = ask(asked)
        assert (again["statusCode"], again["body"]) == (304, None)
        assert again["headers"]["ETag"] == etag
    for asked in ('"x"', etag[:-2], strong.strip('"'), "W/", '"'):
        assert ask(asked)["statusCode"] == 200
    assert ask(etag, limit="1")["statusCode"] == 200
    data = {"batch_id": BATCH, "essay_id": "new", "status": "COMPLETED"}
    changed = samples.envelope(data, "2026-03-02T20:00:00Z")
    filled.deliver([samples.Line("huleedu.essay.spellcheck.completed.v1", "k", changed)])

    answer = ask(etag)
    assert answer["statusCode"] == 200
    assert answer["headers"]["ETag"] != etag


def test_refusals_are_not_revalidated(filled: Service) -> None:
    """`*` matches what exists, and a batch that does not is still a 404."""
    answer = filled.get(STATUS, batch_id="missing", headers={"If-None-Match": "*"})

    assert refusal(answer) == (404, "batch_not_found")
    assert "ETag" not in answer["headers"]


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("deflate, gzip ; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=x", False),
        ("br", False),
        ("identity", False),
        ("", False),
    ],
)
def test_answers_are_compressed_on_request(filled: Service, accepted: str, is_packed: bool) -> None:  # noqa: FBT001 - a test parameter
    """With gzip, for who takes it; the content and its ETag are the same either way."""
    plain = filled.get(STATUS, batch_id=BATCH)
    answer = filled.get(STATUS, batch_id=BATCH, headers={"Accept": "*/*", "Accept-Encoding": accepted})

    assert answer.get("isBase64Encoded", False) is is_packed
    assert answer["headers"].get("Content-Encoding") == ("gzip" if is_packed else None)
    assert answer["body"] == plain["body"]
    assert answer["headers"]["ETag"] == plain["headers"]["ETag"]
    assert answer["headers"]["Vary"] == plain["headers"]["Vary"] == "Accept-Encoding"


def test_what_would_not_gain_is_not_compressed(filled: Service) -> None:
    """Small answers, errors, and answers to who names no `Accept`: API Gateway would send those the base64."""
    asks = {"Accept": "*/*", "Accept-Encoding": "gzip"}
    for answer in (
        filled.get(LISTING, user_id="nobody", headers=asks),
        filled.get(STATUS, batch_id="missing", headers=asks),
        filled.get(STATUS, batch_id=BATCH, headers={"Accept-Encoding": "gzip"}),
    ):
        assert "isBase64Encoded" not in answer


@pytest.mark.parametrize(("size", "is_packed"), [(1023, False), (1024, True)])
def test_from_1024_bytes_on_it_is_compressed(size: int, is_packed: bool) -> None:  # noqa: FBT001 - a test parameter
    """What is smaller fits a network packet or two either way."""

    class Metrics:
        def scrape(self) -> Scrape:
            return Scrape("x" * size, 60)

    api = Api(fold.View({}), {"": "local"}, (), lambda: cast("Exposition", Metrics()))
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip"}
    answer = api.answer({"httpMethod": "GET", "resource": "/metrics", "headers": headers})

    assert answer["statusCode"] == 200
    assert answer.get("isBase64Encoded", False) is is_packed
