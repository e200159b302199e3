"""Both clients against a real HTTP server: what is sent, what is repeated, what is kept, and what is given up."""

from __future__ import annotations

import dataclasses
import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.credentials import Credentials
from result_aggregator_client import (
    Address,
    BadRequestError,
    BatchNotFoundError,
    CursorOutdatedError,
    DeadlineExceededError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ResultAggregatorClient,
    ResultAggregatorError,
    Retries,
    ServiceError,
    TemporaryError,
    Timeouts,
    TooManyRequestsError,
    UnavailableError,
    UnreachableError,
    UnreadableAnswerError,
)

from tests.client import sigv4
from tests.client.answers import NOT_FOUND, OUTDATED, error, listing, status
from tests.client.conftest import REGION, SECRET
from tests.client.server import HANG_UP, SILENCE, Asked, CannedResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.conftest import Client, Time
    from tests.client.server import Server

ODD_IDS = [
    "plain-1", "a b", "a/b", "/", "..", ".", "100%", "%2F", "a+b", "a?b#c&d=e", "~-_.!*'();:@&=$,[]|", "å/é", "日本", "x" * 255,
    "\\", "https://x/",
]  # fmt: skip


# What is sent


@pytest.mark.parametrize("odd", ODD_IDS)
def test_any_id_arrives_as_it_is_under_a_signature_that_fits(
    client: Client, server: Server, odd: str
) -> None:
    """In the path and in the query: what the server decodes is the id, and what it would sign is what it got."""
    server.lay_out(status("e"), listing(total=0))
    client.get_batch_status(odd, user_id=odd)
    client.get_user_batches(odd, status="COMPLETED", offset=3)
    path, listing_path = (urlsplit(asked.target).path for asked in server.asked)

    assert [unquote(part) for part in path.split("/")] == [
        "",
        "stage",
        "internal",
        "v1",
        "batches",
        odd,
        "status",
    ]
    assert [unquote(part) for part in listing_path.split("/")][-2:] == ["user", odd]
    assert parse_qs(urlsplit(server.asked[0].target).query, strict_parsing=True) == {"user_id": [odd]}
    for asked in server.asked:
        assert sigv4.problem(asked.target, asked.headers, secret=SECRET, region=REGION) is None
        assert asked.headers["x-amz-security-token"] == "a token"


def test_the_check_of_signatures_can_fail(client: Client, server: Server) -> None:
    """The verifier of these tests finds a tampered target, header and secret."""
    server.lay_out(status("e"))
    client.get_batch_status("a/b")
    [asked] = server.asked

    for target, headers, secret in [
        (asked.target.replace("%2F", "/"), asked.headers, SECRET),
        (asked.target + "?user_id=x", asked.headers, SECRET),
        (asked.target, {**asked.headers, "x-correlation-id": "other"}, SECRET),
        (asked.target, asked.headers, "another secret"),
    ]:
        assert sigv4.problem(target, headers, secret=secret, region=REGION) == "the signature does not fit"


def test_the_header_that_names_the_api_is_sent_and_signed(
    make_client: Callable[..., Client], server: Server
) -> None:
    """As for a VPC endpoint's own name."""
    server.lay_out(status("e"))
    make_client(address=Address(server.url, {"x-apigw-api-id": "a1b2c3"})).get_batch_status("b")
    [asked] = server.asked

    assert asked.headers["x-apigw-api-id"] == "a1b2c3"
    assert sigv4.problem(asked.target, asked.headers, secret=SECRET, region=REGION) is None


def test_health_needs_no_credentials_and_no_second_try(
    make_client: Callable[..., Client], server: Server
) -> None:
    """It says how things are now."""
    server.lay_out(CannedResponse(body={"status": "healthy", "service": "s"}), error(503, "unavailable"))
    client = make_client()

    assert client.health().status == "healthy"
    with pytest.raises(UnavailableError):
        client.health()
    assert [asked.target for asked in server.asked] == ["/stage/healthz"] * 2
    assert "authorization" not in server.asked[0].headers


def test_a_correlation_id_is_passed_on_or_made(client: Client, server: Server) -> None:
    """One that the service would not take is replaced too, so that both logs have the same."""
    server.lay_out(*[status("e")] * 4)
    for given in ("abc-1", None, "two\r\nlines", "x" * 129):
        client.get_batch_status("b", correlation_id=given)
    sent = [asked.headers["x-correlation-id"] for asked in server.asked]

    assert sent[0] == "abc-1"
    assert all(re.fullmatch(r"[0-9a-f-]{36}", made) for made in sent[1:])
    assert len(set(sent)) == 4


def test_connections_are_kept(client: Client, server: Server) -> None:
    """Whatever the answers are, they come over one connection."""
    server.lay_out(status("e"), NOT_FOUND, error(503, "unavailable"), status("e"), status("e"))
    for _ in range(4):
        client.get_batch_status("b")

    assert len(server.asked) == 5
    assert len({asked.connection for asked in server.asked}) == 1


# What is logged


def test_no_id_reaches_the_callers_log(
    client: Client, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a teacher's nor a batch's, whatever comes of the question: an HTTP library may log each URL."""
    # botocore logs the text that it signs, path included, at DEBUG.
    caplog.set_level("DEBUG")
    caplog.set_level("INFO", "botocore")
    of_a_proxy = CannedResponse(502, {"error": "no way to /batch-of-anna?user_id=teacher-anna"})
    server.lay_out(HANG_UP, error(503, "unavailable"), of_a_proxy, status("e"))
    server.lay_out(listing(total=0), error(403, "forbidden"))
    client.get_batch_status("batch-of-anna", user_id="teacher-anna")
    client.get_user_batches("teacher-anna")
    with pytest.raises(ForbiddenError):
        client.get_user_batches("teacher-anna")

    assert "attempt 2 after" in caplog.text
    assert "teacher-anna" not in caplog.text
    assert "batch-of-anna" not in caplog.text


# What is repeated


@pytest.mark.parametrize(
    "failure",
    [
        HANG_UP,
        CannedResponse(200, b'{"batch_id":', announced=1000),
        error(429, "too_many_requests"),
        CannedResponse(502, b"<html>"),
        error(503, "unavailable"),
        error(504, "unavailable"),
    ],
    ids=["hang up", "half an answer", "429", "502", "503", "504"],
)
def test_what_passes_is_tried_again(client: Client, server: Server, time: Time, failure: Any) -> None:
    """With growing pauses, one correlation id, and the answer of the attempt that worked."""
    server.lay_out(failure, failure, failure, status("e"))

    assert client.get_batch_status("b").essays[0].essay_id == "e"
    assert time.pauses == [0.1, 0.2, 0.4]
    assert len({asked.headers["x-correlation-id"] for asked in server.asked}) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400, "bad_request", parameter="limit"), BadRequestError),
        (error(400, "invalid_cursor"), BadRequestError),
        (error(403, "forbidden"), ForbiddenError),
        (error(404, "unknown_route"), NotFoundError),
        (error(405, "method_not_allowed"), RefusedError),
        (error(414, "path_too_long"), RefusedError),
        (error(500, "internal_error"), ServiceError),
        (CannedResponse(302, headers={"Location": "/elsewhere"}), UnreadableAnswerError),
        (CannedResponse(200, b"<html>"), UnreadableAnswerError),
        (CannedResponse(200, {"batch_id": "b"}), UnreadableAnswerError),
        (CannedResponse(304), UnreadableAnswerError),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    client: Client, server: Server, time: Time, answer: CannedResponse, kind: type[ResultAggregatorError]
) -> None:
    """One request, and an error of its own kind with all that is known."""
    server.lay_out(answer)
    with pytest.raises(ResultAggregatorError) as caught:
        client.get_batch_status("b", user_id="u", correlation_id="abc-1")
    told = caught.value

    assert type(told) is kind
    assert (told.status, told.correlation_id) == (answer.status, "abc-1")
    assert told.advice in str(told)
    assert "abc-1" in str(told)
    assert "<html>" not in str(told)
    if isinstance(answer.body, dict) and "code" in answer.body:
        assert (told.code, told.details) == (answer.body["code"], answer.body["details"])
    assert len(server.asked) == 1
    assert time.pauses == []


def test_attempts_end(make_client: Callable[..., Client], server: Server, time: Time) -> None:
    """The error is the last attempt's."""
    server.lay_out(HANG_UP, error(429, "too_many_requests"), error(503, "unavailable"))
    with pytest.raises(UnavailableError) as caught:
        make_client(retries=Retries(attempts=3, base_s=1, longest_s=1.5)).get_batch_status("b")

    assert caught.value.status == 503
    assert time.pauses == [1, 1.5]
    assert len(server.asked) == 3


def test_nobody_there(make_client: Callable[..., Client], time: Time) -> None:
    """A refused connection is tried again, and told as what it is."""
    with pytest.raises(UnreachableError) as caught:
        make_client(address="http://127.0.0.1:1").get_batch_status("b")

    assert type(caught.value.__cause__).__name__ == "ConnectError"
    assert len(time.pauses) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"Date": "Mon, 02 Mar 2026 08:00:00 GMT", "Retry-After": "Mon, 02 Mar 2026 08:00:07 GMT"},
    ],
)
def test_retry_after_comes_on_top_of_the_jitter(
    client: Client, server: Server, time: Time, headers: dict[str, str]
) -> None:
    """In seconds, or as a date beside the server's own, whatever the clock here says."""
    server.lay_out(error(429, "too_many_requests", headers), status("e"))
    client.get_batch_status("b")

    assert time.pauses == [7.1]


def test_a_pause_past_the_deadline_is_not_begun(client: Client, server: Server, time: Time) -> None:
    """The caller learns at once when to come again."""
    server.lay_out(error(429, "too_many_requests", {"Retry-After": "20"}))
    with pytest.raises(TooManyRequestsError) as caught:
        client.get_batch_status("b")

    assert caught.value.retry_after_s == 20
    assert time.pauses == []


def test_each_attempt_is_signed_anew(make_client: Callable[..., Client], server: Server) -> None:
    """With the credentials of its moment: they may have been refreshed in between."""
    credentials = Credentials("FIRST", SECRET, "t")

    def refresh(_asked: Asked) -> CannedResponse:
        credentials.access_key = "SECOND"
        return error(503, "unavailable") if len(server.asked) == 1 else status("e")

    server.otherwise = refresh
    make_client(credentials=credentials).get_batch_status("b")
    keys = [re.findall(r"Credential=(\w+)/", asked.headers["authorization"]) for asked in server.asked]

    assert keys == [["FIRST"], ["SECOND"]]
    for asked in server.asked:
        assert sigv4.problem(asked.target, asked.headers, secret=SECRET, region=REGION) is None


# What is given up


def test_silence_is_given_up_and_tried_again(make_client: Callable[..., Client], server: Server) -> None:
    """After `read_s` without a byte. (A slow machine may need more attempts than two.)"""
    server.lay_out(SILENCE)
    server.otherwise = lambda _: status("e")
    client = make_client(timeouts=Timeouts(read_s=0.2, total_s=1e6), retries=Retries(attempts=50))

    assert client.get_batch_status("b").essays[0].essay_id == "e"
    assert len(server.asked) >= 2


def test_the_deadline_ends_a_silence(make_client: Callable[..., Client], server: Server) -> None:
    """Though an attempt would be allowed a longer one."""
    server.lay_out(*[SILENCE] * 9)
    with pytest.raises(DeadlineExceededError):
        make_client(real_time=True, timeouts=Timeouts(read_s=100, total_s=0.1)).get_batch_status("b")


def test_the_deadline_ends_an_answer_that_drips(client: Client, server: Server, time: Time) -> None:
    """Each byte comes soon enough; all of them would take far too long."""

    def slowly() -> None:
        time.now += 1

    server.lay_out(CannedResponse(200, b" " * 10_000, after_each_byte=slowly))
    with pytest.raises(DeadlineExceededError):
        client.get_batch_status("b")
    assert len(server.asked) == 1


def test_the_deadline_counts_pages_and_pauses_together(
    make_client: Callable[..., Client], server: Server, time: Time
) -> None:
    """A call of many pages has no more time than one of one page."""

    def page(_asked: Asked) -> CannedResponse:
        time.now += 300
        return status("e", cursor="more")

    server.otherwise = page
    with pytest.raises(DeadlineExceededError):
        make_client(timeouts=Timeouts(total_s=1000)).get_batch_status("b")
    assert len(server.asked) == 4


# What is kept


def test_an_unchanged_answer_is_not_sent_again(client: Client, server: Server) -> None:
    """The ETag goes out, and a 304 is answered with what was kept."""
    server.lay_out(status("e", headers={"ETag": 'W/"1"'}), CannedResponse(304, headers={"ETag": 'W/"1"'}))
    first, second = client.get_batch_status("b", user_id="u"), client.get_batch_status("b", user_id="u")

    assert first == second
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, 'W/"1"']
    assert (
        sigv4.problem(server.asked[1].target, server.asked[1].headers, secret=SECRET, region=REGION) is None
    )


def test_a_changed_answer_takes_the_place_of_the_old(client: Client, server: Server) -> None:
    """With its own ETag."""
    server.lay_out(
        status("old", headers={"ETag": 'W/"1"'}),
        status("new", headers={"ETag": 'W/"2"'}),
        CannedResponse(304),
    )
    answers = [client.get_batch_status("b").essays[0].essay_id for _ in range(3)]

    assert answers == ["old", "new", "new"]
    assert server.asked[2].headers["if-none-match"] == 'W/"2"'


def test_nobody_is_given_what_another_was(make_client: Callable[..., Client], server: Server) -> None:
    """Another vouched user, none, another page size and other credentials all ask without the ETag."""
    credentials = Credentials("FIRST", SECRET, "t")
    client = make_client(credentials=credentials)
    server.otherwise = lambda _: status("e", headers={"ETag": 'W/"1"'})
    client.get_batch_status("b", user_id="u")
    client.get_batch_status("b", user_id="v")
    client.get_batch_status("b")
    client.get_batch_status_page("b", user_id="u", limit=1)
    credentials.access_key = "SECOND"
    client.get_batch_status("b", user_id="u")

    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None] * 5


def test_what_may_not_be_kept_is_not(client: Client, server: Server) -> None:
    """By the server's word, by size, and after a refusal."""
    server.lay_out(
        status("e", headers={"ETag": 'W/"1"', "Cache-Control": "no-store"}),
        status("e", headers={"ETag": 'W/"2"', "Cache-Control": "private, no-cache"}),
        NOT_FOUND,
        status("e"),
    )
    found = [client.get_batch_status("b") is not None for _ in range(4)]

    assert found == [True, True, False, True]
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, None, 'W/"2"', None]


def test_the_cache_stays_within_its_bounds(make_client: Callable[..., Client], server: Server) -> None:
    """Of three questions it may keep two answers: the one used longest ago is asked for in full."""
    server.otherwise = lambda asked: (
        CannedResponse(304) if "if-none-match" in asked.headers else status("e", headers={"ETag": 'W/"1"'})
    )
    client = make_client(cache_entries=2)
    for batch_id in ("1", "2", "1", "3", "1", "2"):
        client.get_batch_status(batch_id)

    assert ["if-none-match" in asked.headers for asked in server.asked] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_compressed_answers_are_read_and_kept(client: Client, server: Server) -> None:
    """As the service sends them on request; one that cannot be unpacked is no answer, and asked for again."""
    plain = status("e", headers={"ETag": 'W/"1"', "Content-Encoding": "gzip"})
    packed = dataclasses.replace(plain, body=gzip.compress(plain.content))
    server.lay_out(plain, packed, CannedResponse(304))

    assert [client.get_batch_status("b").essays[0].essay_id for _ in range(2)] == ["e", "e"]
    assert "gzip" in server.asked[0].headers["accept-encoding"]
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, None, 'W/"1"']


def test_threads_share_a_client(server: Server) -> None:
    """Eight at once, with a cache too small for all: everybody gets their own answer."""

    def answer(asked: Asked) -> CannedResponse:
        batch_id = asked.target.split("/")[-2]
        etag = f'W/"{batch_id}"'
        return (
            CannedResponse(304)
            if asked.headers.get("if-none-match") == etag
            else status(batch_id, headers={"ETag": etag})
        )

    server.otherwise = answer
    with (
        ResultAggregatorClient(
            server.url,
            credentials=Credentials("AKID", SECRET),
            region=REGION,
            cache_entries=3,
            timeouts=Timeouts(connect_s=600, read_s=600, total_s=600),
        ) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        asked = [str(number % 5) for number in range(200)]
        answered = list(threads.map(client.get_batch_status, asked))

    assert [status and status.essays[0].essay_id for status in answered] == asked
    assert len({one.connection for one in server.asked}) <= 8


# Pages


def test_a_batch_is_read_to_its_end(client: Client, server: Server) -> None:
    """All essays, under the first page's account of the batch: only it has counted the whole."""
    server.lay_out(
        status("1", "2", cursor="c 1/+", phases=[{"name": "nlp", "essay_statuses": {"COMPLETED": 3}}]),
        status("3", phases=[{"name": "nlp", "essay_statuses": None}]),
    )
    batch = client.get_batch_status("b", user_id="u")

    assert [essay.essay_id for essay in batch.essays] == ["1", "2", "3"]
    assert batch.phases[0].essay_statuses == {"COMPLETED": 3}
    assert batch.pagination.next_cursor is None
    queries = [parse_qs(urlsplit(asked.target).query) for asked in server.asked]
    assert queries == [{"user_id": ["u"]}, {"user_id": ["u"], "cursor": ["c 1/+"]}]
    assert len({asked.headers["x-correlation-id"] for asked in server.asked}) == 1


def test_a_batch_whose_ranking_is_replaced_is_read_again(client: Client, server: Server) -> None:
    """From its first page; nothing of the old ranking is left."""
    server.lay_out(status("old", cursor="1"), OUTDATED, status("new", cursor="2"), status("last"))

    assert [essay.essay_id for essay in client.get_batch_status("b").essays] == ["new", "last"]


def test_a_ranking_that_is_replaced_all_the_time_is_told(client: Client, server: Server) -> None:
    """After three readings."""
    server.lay_out(*[status("e", cursor="1"), OUTDATED] * 3)
    with pytest.raises(CursorOutdatedError, match="begin again"):
        client.get_batch_status("b")
    assert len(server.asked) == 6


def test_single_pages(client: Client, server: Server) -> None:
    """For those who page themselves; an outdated cursor is theirs to handle."""
    server.lay_out(status("1", cursor="c"), status("2"), OUTDATED, NOT_FOUND)
    first = client.get_batch_status_page("b", user_id="u", limit=1)
    second = client.get_batch_status_page("b", user_id="u", limit=1, cursor=first.pagination.next_cursor)

    assert [page.essays[0].essay_id for page in (first, second)] == ["1", "2"]
    with pytest.raises(CursorOutdatedError):
        client.get_batch_status_page("b", cursor="c")
    assert client.get_batch_status_page("b") is None
    assert parse_qs(urlsplit(server.asked[1].target).query) == {
        "user_id": ["u"], "limit": ["1"], "cursor": ["c"],
    }  # fmt: skip


def test_iterating_over_essays(client: Client, server: Server) -> None:
    """Page by page; what cannot go on says so instead of mixing rankings, and a missing batch is an error here."""
    server.lay_out(status("1", cursor="c"), status("2"), status("1", cursor="c"), OUTDATED, NOT_FOUND)

    assert [essay.essay_id for essay in client.iter_essays("b", page_size=1)] == ["1", "2"]
    with pytest.raises(CursorOutdatedError):
        client.iter_essays("b")
    with pytest.raises(BatchNotFoundError):
        client.iter_essays("b")


def test_iterating_over_batches(client: Client, server: Server) -> None:
    """All pages, with the filter on each."""
    server.lay_out(listing("3", "2", total=3, cursor="c"), listing("1", total=3))
    batches = client.iter_user_batches("u", status="COMPLETED", page_size=2)

    assert [batch.batch_id for batch in batches] == ["3", "2", "1"]
    assert [parse_qs(urlsplit(asked.target).query) for asked in server.asked] == [
        {"limit": ["2"], "status": ["COMPLETED"]},
        {"limit": ["2"], "status": ["COMPLETED"], "cursor": ["c"]},
    ]


def test_what_no_request_can_ask_for(client: Client, server: Server) -> None:
    """No batch is called "user", whose path is a listing's; an empty id has no route."""
    assert client.get_batch_status("user", user_id="u") is None
    with pytest.raises(ValueError, match="batch_id is empty"):
        client.get_batch_status("")
    with pytest.raises(ValueError, match="user_id is empty"):
        client.get_user_batches("")
    assert server.asked == []


def test_an_empty_user_is_not_no_user(client: Client, server: Server) -> None:
    """A caller that lost its user's id must not read as if it had none to vouch for."""
    server.lay_out(error(400, "bad_request", parameter="user_id"))
    with pytest.raises(BadRequestError):
        client.get_batch_status("b", user_id="")

    assert urlsplit(server.asked[0].target).query == "user_id="


def test_every_temporary_error_is_one(client: Client, server: Server) -> None:
    """What a gateway answers with 503 is caught by one name."""
    server.otherwise = lambda _: error(429, "too_many_requests")
    with pytest.raises(TemporaryError):
        client.get_batch_status("b")
