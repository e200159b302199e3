"""The dashboard's server without a browser: whom it answers, what it says, and what it does when somebody confirms."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner
from ras.cli import main
from ras.dashboard import dead_letters, serve
from ras.dashboard.data_source import DataSource
from ras.dashboard.request_guard import HEADERS, Access
from ras.errors import OperatorError
from result_aggregator.contracts.rejection import Problem

from tests.client.server import SILENCE, CannedResponse, Server
from tests.dashboard.serving import serving
from tests.dashboard.test_source import up
from tests.ops import made
from tests.ops.made import REGISTERED, SPELLCHECK
from tests.samples import envelope, msk_event
from tests.samples import record as sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.client.server import Asked, CannedReply
    from tests.dashboard.conftest import Dashboard
    from tests.handlers.conftest import Service

PAGES = ("/", "/?user=u&status=FAILED", "/batch?id=b", "/health", "/letters", "/nothing", "/letter?record=x")
HOSTILE = "<script>alert(1)</script>\u202e\"'><img src=x onerror=alert(1)>{{7*7}}"


class Reply:
    """An answer, read."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.text = answer.read().decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str | None] | None = None,
    form: Mapping[str, str] | None = None,
) -> Reply:
    """A request with exactly these headers: Host is the address's own unless they name another, or None."""
    place = urlsplit(url).netloc
    connection = http.client.HTTPConnection(place, timeout=60)
    try:
        body = urlencode(form).encode() if form is not None else b""
        given = {"Host": place, "Content-Length": str(len(body)), **(headers or {})}
        if form is not None:
            given["Content-Type"] = "application/x-www-form-urlencoded"
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def token(url: str, record: str) -> str:
    """The token that a letter's page holds."""
    [found] = set(
        re.findall(r'name="token" value="([^"]+)"', ask(url, f"/letter?record={quote(record)}").text)
    )
    return str(found)


def post(dashboard: Dashboard, record: str, **fields: str) -> Reply:
    """A form of a letter's own page."""
    form = {"token": token(dashboard.url, record), "record": record, **fields}
    return ask(dashboard.url, "/letter/replay", method="POST", form=form, headers={"Origin": dashboard.url})


# --- who is answered ---


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1", "localhost:1", "[::1]:{port}", "", None])
@pytest.mark.parametrize("path", ["/", "/data/letters", "/static/style.css"])
def test_other_names_are_not_answered(dashboard: Dashboard, name: str | None, path: str) -> None:
    """A site's own name that resolves to this machine is none of the dashboard's (DNS rebinding)."""
    host = name and name.format(port=urlsplit(dashboard.url).port)
    answer = ask(dashboard.url, path, headers={"Host": host})

    # Without any Host the server itself may refuse first.
    assert answer.status in ({421} if host else {421, 400})
    assert "Result Aggregator" not in answer.text


def test_both_names_of_this_machine_are_answered(dashboard: Dashboard) -> None:
    port = urlsplit(dashboard.url).port

    assert ask(dashboard.url, "/", headers={"Host": f"localhost:{port}"}).status == 200
    assert ask(dashboard.url, "/", headers={"Host": f"127.0.0.1:{port}"}).status == 200


def test_it_listens_on_this_machine_only() -> None:
    listening = serve.listen()
    try:
        assert listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OperatorError, match="is taken"):
            serve.listen(listening.getsockname()[1])
    finally:
        listening.close()


@pytest.fixture
def guarded(dashboard: Dashboard) -> Iterator[tuple[str, Access]]:
    """A second dashboard, which wants the secret of its address."""
    access = Access()
    opener: Any = lambda: DataSource(dashboard.deployment, dashboard.api.url, None)  # type: ignore[arg-type]  # noqa: E731
    with serving(opener, access) as url:
        yield url, access


@pytest.mark.parametrize("path", [*PAGES, "/letter/replay", "/?token=", "/?token=x", "/?token=%ff"])
@pytest.mark.parametrize("cookie", [None, "", "x", "token"])
def test_nobody_gets_in_without_the_address(
    guarded: tuple[str, Access], path: str, cookie: str | None
) -> None:
    """Whatever is asked for; the token of the address is no cookie. The page says how to get in."""
    url, access = guarded
    name = access.cookie(urlsplit(url).port or 0)
    value = access.token if cookie == "token" else cookie
    answer = ask(url, path, headers={"Cookie": None if value is None else f"{name}={value}"})

    assert answer.status == 403
    assert "ras status" in answer.text
    assert "set-cookie" not in answer.headers
    assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
    assert inline(answer.text) == []


def test_no_data_and_no_replay_without_the_address(
    guarded: tuple[str, Access], dashboard: Dashboard, service: Service
) -> None:
    """Data says it as a page's script reads it; a form of an open dashboard's page does not help."""
    url, _ = guarded
    made.reject(service.s3, service.bucket, made.record(made.result("a")))
    record = f"{SPELLCHECK}/0/0"
    form = {"token": token(dashboard.url, record), "record": record, "confirmed": "yes"}
    replayed = ask(url, "/letter/replay", method="POST", form=form, headers={"Origin": url})
    data = ask(url, "/data/letters")

    assert (data.status, data.json["code"]) == (403, "not_in")
    assert "ras status" in data.json["advice"]
    assert replayed.status == 403
    assert dashboard.deployment.invoked == []


def test_the_address_is_exchanged_for_a_cookie(guarded: tuple[str, Access]) -> None:
    """Which no script reads and no other site sends; the secret leaves the address, the rest of it stays."""
    url, access = guarded
    answer = ask(url, f"/letters?a=%2F&token={access.token}&reason=x")
    cookie = answer.headers["set-cookie"]
    name, _, value = cookie.partition(";")[0].partition("=")

    assert (answer.status, answer.headers["location"]) == (303, "/letters?a=%2F&reason=x")
    assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.lower().replace("; ", ";").split(";"))
    assert access.token not in cookie
    for path in ("/", "/data/letters"):
        assert ask(url, path, headers={"Cookie": f"{name}={value}"}).status == 200
    assert ask(url, "/static/style.css").status == 200
    assert ask(url, f"//evil.example/?token={access.token}").headers["location"] == "/evil.example/"


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], ["--no-token"]])
def test_the_command_prints_an_address_that_lets_in(tmp_path: Path, given: list[str]) -> None:
    """With a secret in it, or a warning that there is none."""
    up(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", "from ras.cli import main; main()", "dashboard", *given],
        env={**os.environ, "RAS_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = urlsplit(re.findall(r"http://\S+", process.stdout.readline())[0])
        url = f"http://{address.netloc}"
        statuses = [ask(url, path).status for path in ("/letters", f"/?{address.query}")]
    finally:
        process.terminate()
        _, said = process.communicate()

    assert statuses == ([200, 200] if given else [403, 303])
    assert ("every account of this machine" in said) == bool(given)


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://localhost:1"])
def test_other_sites_may_not_post(dashboard: Dashboard, service: Service, origin: str | None) -> None:
    """Even with the token."""
    made.reject(service.s3, service.bucket, made.record(made.result("a")))
    record = f"{SPELLCHECK}/0/0"
    form = {"token": token(dashboard.url, record), "record": record, "confirmed": "yes"}
    answer = ask(dashboard.url, "/letter/replay", method="POST", form=form, headers={"Origin": origin})

    assert answer.status == 403
    assert dashboard.deployment.invoked == []
    assert len(service.dead_letters()) == 1


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_it_and_load_nothing(dashboard: Dashboard, site: str) -> None:
    """Neither as a script or image, nor by fetch, nor in a frame; not even to see whether and how fast it answers."""
    for path in ("/", "/data/letters", "/static/dom.js", "/letter?record=x"):
        for mode, dest in (
            ("no-cors", "script"),
            ("no-cors", "image"),
            ("cors", "empty"),
            ("navigate", "iframe"),
        ):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}

            assert ask(dashboard.url, path, headers=headers).status == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask(dashboard.url, "/", headers=link).status == 200


@pytest.mark.parametrize("site", [None, "none", "same-origin"])
def test_its_own_pages_and_whoever_says_nothing_are_answered(dashboard: Dashboard, site: str | None) -> None:
    """An address that was typed, a browser or program without such headers."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": site and "cors", "Sec-Fetch-Dest": site and "empty"}

    assert ask(dashboard.url, "/data/letters", headers=headers).status == 200


@pytest.mark.parametrize("given", [None, "", "x", "é"])
def test_a_post_without_the_token_is_refused(
    dashboard: Dashboard, service: Service, given: str | None
) -> None:
    made.reject(service.s3, service.bucket, made.record(made.result("a")))
    form = {"record": f"{SPELLCHECK}/0/0", "confirmed": "yes", **({} if given is None else {"token": given})}
    answer = ask(dashboard.url, "/letter/replay", method="POST", form=form, headers={"Origin": dashboard.url})

    assert answer.status == 403
    assert dashboard.deployment.invoked == []


def test_a_large_post_is_refused_before_it_is_read_in_full(dashboard: Dashboard) -> None:
    form = {"token": "x" * 100_000}
    answer = ask(dashboard.url, "/letter/replay", method="POST", form=form, headers={"Origin": dashboard.url})

    assert answer.status == 413


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_else_takes_a_post(dashboard: Dashboard, service: Service, method: str) -> None:
    """The view cannot be written through the dashboard."""
    made.reject(service.s3, service.bucket, made.record(made.result("a")))
    form = {"token": token(dashboard.url, f"{SPELLCHECK}/0/0")}
    for path in ("/", "/batch", "/letters", "/letter", "/data/batch", "/data/essays", "/data/letters"):
        answer = ask(dashboard.url, path, method=method, form=form, headers={"Origin": dashboard.url})

        assert answer.status == 405, path


def test_every_answer_has_the_protecting_headers(dashboard: Dashboard) -> None:
    """Pages, data, files, failures and refusals."""
    answers = [
        ask(dashboard.url, path) for path in (*PAGES, "/data/letters", "/static/dom.js", "/data/batch")
    ]
    answers.append(ask(dashboard.url, "/", headers={"Host": "evil.example"}))
    answers.append(ask(dashboard.url, "/letter/replay", method="POST", form={}))

    for answer in answers:
        assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
        assert "no-store" in answer.headers["cache-control"]
        assert "access-control-allow-origin" not in answer.headers
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_a_failure_of_the_dashboard_itself_tells_nothing_and_is_protected_too(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("ras.dashboard.dead_letters.find", broken)
    answer = ask(dashboard.url, "/letter?record=t/0/0")

    assert answer.status == 500
    assert "a secret" not in answer.text
    assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS


class _Inline(HTMLParser):
    """Whatever a strict policy would have to make an exception for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not (names.get("src") or "").startswith("/static/")):
            self.found.append(tag)
        for name in ("src", "href", "action"):
            address = names.get(name) or "/"
            if not address.startswith(("/", "#")) or address.startswith("//"):
                self.found.append(f"{tag} {name} {address}")


def inline(text: str) -> list[str]:
    parser = _Inline()
    parser.feed(text)
    return parser.found


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_anything_inline_or_from_elsewhere(dashboard: Dashboard, path: str) -> None:
    assert inline(ask(dashboard.url, path).text) == []


# --- what is said ---


@pytest.mark.parametrize("path", ["/?user={}", "/batch?id={}", "/letter?record={}", "/letter?object={}"])
def test_what_is_asked_for_is_never_markup(dashboard: Dashboard, path: str) -> None:
    answer = ask(dashboard.url, path.format(quote(HOSTILE)))

    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "49" not in re.sub(r'value="[^"]*"', "", answer.text)
    assert inline(answer.text) == []


def test_what_a_record_says_is_never_markup(dashboard: Dashboard, service: Service) -> None:
    """In every part of a letter: key, headers, value, reason, problem, function."""
    record = made.record(
        json.dumps({HOSTILE: HOSTILE, "correlation_id": HOSTILE, "data": {"batch_id": HOSTILE}}).encode(),
        key=HOSTILE.encode(),
        headers=((HOSTILE, HOSTILE.encode()),),
    )
    made.reject(service.s3, service.bucket, record, HOSTILE, problems=[Problem(HOSTILE, HOSTILE)])
    answer = ask(dashboard.url, f"/letter?record={quote(SPELLCHECK)}/0/0")

    assert answer.status == 200
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert inline(answer.text) == []
    # Shown and copied all the same, what is invisible made visible; only in links and forms it is as it came.
    shown = re.sub(r'(?:href|value)="[^"]*"', "", answer.text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "\u202e" not in shown
    assert "\\u202e" in shown


def test_the_field_that_is_wrong_is_marked(dashboard: Dashboard, service: Service) -> None:
    """A path to a field that is missing marks what lacks it."""
    value = json.dumps({"event_id": "e", "data": {"batch_id": "b", "rankings": [{"rank": 1}, {"rank": 0}]}})
    problems = [Problem("data.rankings.1.rank", "wrong"), Problem("data.status", "missing")]
    made.reject(service.s3, service.bucket, made.record(value.encode()), "invalid_field", problems=problems)
    answer = ask(dashboard.url, f"/letter?record={quote(SPELLCHECK)}/0/0")

    assert re.findall("<mark>(.*?)</mark>", answer.text) == ["&#34;data&#34;: {", "&#34;rank&#34;: 0"]
    assert 'href="/batch?id=b"' in answer.text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"this is no event", "this is no event"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (None, "(none)"),
        (b'{"a": "\\ud800"}', "\\ud800"),
        (b'{"data": {"batch_id": "\\ud800"}}', "\\ud800"),
        (b"[" * 500 + b"]" * 500, "[[[[[[["),
        (b"[" * 50_000, "[[[[[[["),
        (json.dumps({"long": "x" * 50_000}).encode(), "more characters"),
        (json.dumps(list(range(5000))).encode(), "the rest is left out"),
    ],
    ids=["text", "bytes", "tombstone", "surrogate", "surrogate batch", "deep", "deeper", "long", "many"],
)
def test_any_value_can_be_shown(
    dashboard: Dashboard, service: Service, value: bytes | None, shown: str
) -> None:
    made.reject(service.s3, service.bucket, made.record(value))
    answer = ask(dashboard.url, f"/letter?record={quote(SPELLCHECK)}/0/0")

    assert answer.status == 200
    assert shown in answer.text
    assert len(answer.text) < 200_000


def test_no_depth_of_a_record_is_too_much(dashboard: Dashboard, service: Service) -> None:
    """Also where it can just be read, and be written no more: then it is shown as it came."""
    made.reject(service.s3, service.bucket, made.record(b"1"))
    [kept] = made.letters(dashboard.deployment.dead_letters)
    shown = 0
    for depth in range(1, 100_000):
        value = made.b64(b"[" * depth + b"]" * depth)
        letter = dataclasses.replace(kept, received={**kept.received, "value": value})
        if letter.document() is None:
            break
        shown += bool(dead_letters.lines_of(letter))

    assert shown > 500


def test_a_malformed_object_is_shown_as_it_is(dashboard: Dashboard, service: Service) -> None:
    service.s3.put_object(Bucket=service.bucket, Key="rejected/x", Body=b"<b>half")
    [row] = ask(dashboard.url, "/data/letters").json["letters"]
    answer = ask(dashboard.url, f"/letter?object={quote(row['object'])}")

    assert (row["kind"], row["record"]) == ("malformed", None)
    assert "&lt;b&gt;half" in answer.text


def test_letters_are_listed_newest_first_and_read_once(dashboard: Dashboard, service: Service) -> None:
    """Rejected and given up, with reasons; an unchanged list is a 304."""
    made.reject(service.s3, service.bucket, made.record(made.result("a"), 1))
    made.give_up(
        service.s3, service.bucket, made.record(made.result("b"), 2), at=made.NOON + timedelta(hours=1)
    )
    first = ask(dashboard.url, "/data/letters")
    again = ask(dashboard.url, "/data/letters", headers={"If-None-Match": first.headers["etag"]})

    assert [(row["record"], row["kind"]) for row in first.json["letters"]] == [
        (f"{SPELLCHECK}/0/2", "given-up"),
        (f"{SPELLCHECK}/0/1", "rejected"),
    ]
    assert first.json["letters"][1]["problems"] == [{"path": "data.status", "message": "unknown status word"}]
    assert (again.status, again.text) == (304, "")


def test_the_list_ends_with_so_many_letters(
    dashboard: Dashboard, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole objects: a batch that was given up counts with all of its records."""
    monkeypatch.setattr(dead_letters, "LETTERS", 5)
    batch = [made.record(made.result("a"), offset) for offset in range(4)]
    made.give_up(service.s3, service.bucket, *batch)
    for offset in range(40, 80):
        made.reject(service.s3, service.bucket, made.record(made.result("b"), offset))
    found = ask(dashboard.url, "/data/letters").json

    assert len(found["letters"]) in (5, 8)
    assert (found["objects"], found["bound"]) == (41, "5 letters")
    assert found["shown"] in (2, 5)
    again = ask(dashboard.url, "/data/letters").json
    assert again == found


def test_the_list_ends_with_so_many_bytes(
    dashboard: Dashboard, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies beyond is not even asked for; what was read is asked for once, and only what is shown of it goes out."""
    monkeypatch.setattr(dead_letters, "MEGABYTES", 3)
    monkeypatch.setattr("ras.dashboard.web._LETTERS_S", 0.0)
    read: list[str] = []
    service.s3.meta.events.register("before-call.s3.GetObject", lambda **_: read.append(""))
    for offset in range(5):
        value = json.dumps({"correlation_id": "x" * 1_000_000}).encode()
        made.reject(service.s3, service.bucket, made.record(value, offset))
    answers = [ask(dashboard.url, "/data/letters") for _ in range(2)]

    for answer in answers:
        assert (answer.json["shown"], answer.json["objects"], answer.json["bound"]) == (2, 5, "3 MB")
        assert len(answer.text) < 2_000
    assert len(read) == 2


def test_a_letter_of_the_list_is_opened_without_reading_any_other(
    dashboard: Dashboard, service: Service
) -> None:
    """Which batch was given up with it is known there; it is found all the same once it lies elsewhere."""
    for hour in range(4):
        batch = [made.record(made.result("a"), 10 * hour + n) for n in range(3)]
        made.give_up(service.s3, service.bucket, *batch, at=made.NOON + timedelta(hours=hour))
    listed = ask(dashboard.url, "/data/letters").json["letters"]
    read: list[str] = []
    service.s3.meta.events.register("before-call.s3.GetObject", lambda **_: read.append(""))
    for row in listed:
        address = urlencode({"record": row["record"], "object": row["object"]})
        assert ask(dashboard.url, f"/letter?{address}").status == 200
    assert len(read) == len(listed) == 12

    elsewhere = urlencode({"record": f"{SPELLCHECK}/0/1", "object": "given-up/x"})
    assert ask(dashboard.url, f"/letter?{elsewhere}").status == 200


def test_a_place_of_several_records_is_not_guessed(dashboard: Dashboard, service: Service) -> None:
    """A topic that was created again: each record has a page of its own, their place alone is refused."""
    for value in (b"first", b"other"):
        made.reject(service.s3, service.bucket, made.record(value, 1))
    for row in ask(dashboard.url, "/data/letters").json["letters"]:
        page = ask(dashboard.url, f"/letter?{urlencode({'record': row['id']})}")
        assert page.status == 200
        assert row["id"] in page.text
    answer = ask(dashboard.url, f"/letter?{urlencode({'record': f'{SPELLCHECK}/0/1'})}")

    assert answer.status == 409
    assert f"2 records have the name {SPELLCHECK}/0/1" in answer.text


# --- the API's answers and failures ---


@pytest.mark.parametrize("path", ["/data/batch?id={}", "/data/essays?id={}", "/data/batches?user={}"])
@pytest.mark.parametrize("given", ["..%2f..%2fhealthz", "a%2f..%2fb", "a%2f.", "%00", "x" * 256, ""])
def test_what_is_no_id_is_refused_before_the_api_is_asked(
    dashboard: Dashboard, path: str, given: str
) -> None:
    """An address cannot carry it to the API: it would be read as another path."""
    answer = ask(dashboard.url, path.format(given))

    assert (answer.status, answer.json["code"]) == (400, "bad_request")
    assert dashboard.api.asked == []


BATCH = {
    "batch_id": "b",
    "user_id": "u",
    "overall_status": "PROCESSING",
    "essay_count": 2,
    "completed_essay_count": 0,
    "failed_essay_count": 0,
    "created_at": "2026-03-02T08:00:00.000000Z",
    "last_updated": "2026-03-02T08:00:00.000000Z",
}
STATUS = {
    **BATCH,
    "phases": [{"name": "spellcheck", "essay_statuses": {"COMPLETED": 1}}],
    "essays": [{"essay_id": "e", "spellcheck_status": "COMPLETED", "spellcheck_metrics": {"words": 3}}],
    "pagination": {"limit": 100, "next_cursor": "next"},
}


def test_a_batch_comes_as_a_table_of_the_fields_that_are_there(dashboard: Dashboard) -> None:
    dashboard.api.lay_out(CannedResponse(body=STATUS))
    answer = ask(dashboard.url, "/data/batch?id=b")

    assert answer.json["batch"]["last_updated"] == "2026-03-02T08:00:00+00:00"
    assert answer.json["essays"] == {
        "columns": ["essay_id", "spellcheck_status", "spellcheck_metrics"],
        "rows": [["e", "COMPLETED", {"words": 3}]],
    }
    assert answer.json["more"] is True
    [asked] = dashboard.api.asked
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key/")
    assert asked.headers["x-correlation-id"] == answer.headers["x-correlation-id"]


def test_ids_reach_the_api_as_they_are(dashboard: Dashboard) -> None:
    """Slashes, dots, percent signs, 255 characters."""
    for batch_id, segment in (
        ("a/b..c", "a%2Fb..c"),
        ("..", "%2E%2E"),
        ("%2F?&#", "%252F%3F%26%23"),
        ("é" * 255, "%C3%A9" * 255),
    ):
        dashboard.api.lay_out(CannedResponse(body=STATUS))
        assert ask(dashboard.url, f"/data/batch?{urlencode({'id': batch_id})}").status == 200
        target = dashboard.api.asked[-1].target

        assert target.startswith(f"/stage/internal/v1/batches/{segment}/status")


@pytest.mark.parametrize(
    ("plan", "status", "code"),
    [
        (CannedResponse(404, {"error": "no", "code": "batch_not_found"}), 404, "batch_not_found"),
        (CannedResponse(403, {"error": "no", "code": "forbidden"}), 403, "forbidden"),
        (CannedResponse(400, {"error": "no", "code": "invalid_parameter"}), 400, "invalid_parameter"),
        (CannedResponse(503, {"error": "no", "code": "unavailable"}), 503, "unavailable"),
        (CannedResponse(500, b"<html>boom"), 502, "not_of_the_service"),
        (CannedResponse(200, b"no JSON"), 502, "unreadable_answer"),
        ("hang up", 503, "unreachable"),
    ],
)
def test_failures_of_the_api_are_told_with_their_correlation_id(
    dashboard: Dashboard, plan: Any, status: int, code: str
) -> None:
    dashboard.api.otherwise = lambda _: plan
    answer = ask(dashboard.url, "/data/batch?id=b")

    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.json["correlation_id"] == answer.headers["x-correlation-id"]
    assert "boom" not in answer.text


def test_an_empty_id_is_a_bad_request(dashboard: Dashboard) -> None:
    assert ask(dashboard.url, "/data/batch?id=").status == 400
    assert ask(dashboard.url, "/data/batches?user=").status == 400


@pytest.mark.parametrize("path", ["/data/batch?id=b", "/data/batches?user=u", "/data/letters"])
def test_a_stack_that_is_not_up_is_told(dashboard: Dashboard, path: str) -> None:
    """The pages themselves are there, and fill themselves once it is."""
    dashboard.failure.append(OperatorError("the stack is not up", "Start it with `ras up`."))
    answer = ask(dashboard.url, path)

    assert (answer.status, answer.json["error"]) == (503, "the stack is not up")
    assert [ask(dashboard.url, page).status for page in ("/", "/health", "/letters")] == [200] * 3
    assert ask(dashboard.url, "/letter?record=x/0/0").status == 503


def test_what_never_answers_is_given_up(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("ras.dashboard.web._PATIENCE_S", 0.05)
    monkeypatch.setattr("ras.dashboard.dead_letters.RecentLetters.listed", lambda *_: over.wait())
    try:
        answer = ask(dashboard.url, "/data/letters")
    finally:
        over.set()

    assert (answer.status, answer.json["code"]) == (503, "late")


def test_a_slow_answer_is_made_once_and_serves_who_asks_later(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for those who asked before, and then again for an answer of their own."""
    over = threading.Event()
    made_: list[None] = []

    def listed(*_: object) -> dict[str, Any]:
        made_.append(None)
        over.wait()
        return {"letters": [], "shown": 0, "objects": 0}

    monkeypatch.setattr("ras.dashboard.web._LETTERS_S", 600.0)
    monkeypatch.setattr("ras.dashboard.web._PATIENCE_S", 600.0)
    monkeypatch.setattr("ras.dashboard.dead_letters.RecentLetters.listed", listed)
    with monkeypatch.context() as hurried:
        hurried.setattr("ras.dashboard.web._PATIENCE_S", 0.05)
        late = [ask(dashboard.url, "/data/letters").status for _ in range(2)]
    over.set()
    answer = ask(dashboard.url, "/data/letters")

    assert late == [503, 503]
    assert (answer.status, answer.json["letters"], len(made_)) == (200, [], 1)


@pytest.mark.parametrize("path", ["/letter?record=t/0/0", "/letter?object=rejected/x"])
def test_a_letter_that_does_not_come_is_given_up(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    over = threading.Event()
    monkeypatch.setattr("ras.dashboard.web._PATIENCE_S", 0.05)
    for name in ("find", "malformed"):
        monkeypatch.setattr(f"ras.dashboard.dead_letters.{name}", lambda *_: over.wait())
    try:
        answer = ask(dashboard.url, path)
    finally:
        over.set()

    assert answer.status == 503
    assert "No answer within" in answer.text


def test_a_large_answer_keeps_nobody_else_waiting(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made into text beside the event loop."""
    over, begun = threading.Event(), threading.Event()

    class Slow:
        def keys(self) -> list[str]:
            begun.set()
            over.wait()
            return []

    monkeypatch.setattr("ras.dashboard.web._PATIENCE_S", 600.0)
    monkeypatch.setattr("ras.dashboard.dead_letters.RecentLetters.listed", lambda *_: Slow())
    answers: list[Reply] = []
    asking = threading.Thread(target=lambda: answers.append(ask(dashboard.url, "/data/letters")))
    asking.start()
    try:
        assert begun.wait(60)
        assert ask(dashboard.url, "/letters").status == 200
        assert answers == []
    finally:
        over.set()
        asking.join()
    assert answers[0].text == "{}"


# --- ingest health ---


def test_outcomes_and_lag_of_a_stage_are_what_cloudwatch_says(dashboard: Dashboard) -> None:
    now = datetime.now(UTC)
    cloudwatch = dashboard.deployment.cloud.metrics
    for number, function in enumerate(("ingest-essays", "ingest-batches"), start=1):
        name = f"ras-dev-{function}"
        cloudwatch.put_metric_data(
            Namespace="ResultAggregator/dev",
            MetricData=[
                {
                    "MetricName": "ras_records_applied_total",
                    "Dimensions": [
                        {"Name": "service", "Value": "result-aggregator"},
                        {"Name": "function", "Value": name},
                    ],
                    "Timestamp": now - timedelta(minutes=5),
                    "Value": 10 * number,
                }
            ],
        )
    cloudwatch.put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": "OffsetLag",
                "Dimensions": [{"Name": "FunctionName", "Value": "ras-dev-ingest-essays"}],
                "Timestamp": now - timedelta(minutes=2),
                "Value": 42,
            }
        ],
    )
    found = ask(dashboard.url, "/data/health").json

    assert found["outcomes"]["totals"]["applied"] == 30
    assert len(found["outcomes"]["minutes"]) == len(found["outcomes"]["series"]["applied"]) == 60
    assert max(found["outcomes"]["series"]["applied"]) == 30
    assert {row["function"]: row["lag"] for row in found["lag"]["rows"]} == {
        "ingest-batches": None,
        "ingest-essays": 42,
        "ingest-rankings": None,
    }


def test_results_that_nobody_claimed_are_counted(dashboard: Dashboard, service: Service) -> None:
    """With the time of the count, which is kept for all tabs."""
    topic = "huleedu.essay.nlp.completed.v1"
    for essays in ("ab", "c"):
        results = [sample(topic, envelope({"essay_id": name, "status": "COMPLETED"})) for name in essays]
        service.invoke("ingest_essays", msk_event(results))
        if essays == "ab":
            found = ask(dashboard.url, "/data/unclaimed").json

    assert found["unclaimed"] == 2
    assert datetime.now(UTC) - datetime.fromisoformat(found["at"]) < timedelta(minutes=5)
    assert ask(dashboard.url, "/data/unclaimed").json == found


def test_a_part_of_the_health_that_cannot_be_read_does_not_hide_the_other(dashboard: Dashboard) -> None:
    class Refused:
        region = "eu-north-1"
        functions = None

        @property
        def metrics(self) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricData")

    dashboard.deployment.cloud = Refused()  # type: ignore[assignment]
    answer = ask(dashboard.url, "/data/health")

    assert answer.status == 200
    assert answer.json["paused"] == []
    assert answer.json["lag"]["failed"]["code"] == "not_allowed"


def test_a_mapping_that_an_interrupted_replay_left_disabled_is_told(dashboard: Dashboard) -> None:
    """With the command that enables it."""
    dashboard.deployment.paused_mappings.note(made.DEPLOYED)
    [one] = ask(dashboard.url, "/data/health").json["paused"]

    assert one["text"].startswith(f"{SPELLCHECK}: its mapping is disabled by an interrupted replay since 20")
    assert one["enable"] == "ras replay --enable --stage dev --profile on-call"


# --- replay ---


@pytest.fixture
def letter(service: Service) -> str:
    """A letter whose record can be applied by now; the batch is known."""
    service.invoke(
        "ingest_batches", msk_event([made.received(made.record(made.registered(), topic=REGISTERED))])
    )
    made.reject(service.s3, service.bucket, made.record(made.result("a"), 7))
    return f"{SPELLCHECK}/0/7"


def test_a_dry_run_changes_nothing(dashboard: Dashboard, service: Service, letter: str) -> None:
    before = service.dead_letters()
    answer = post(dashboard, letter)

    assert "would be handed to <code>ingest-essays</code>" in answer.text
    assert "Replay this record" in answer.text
    assert service.dead_letters() == before
    assert dashboard.deployment.invoked == []


def test_a_confirmed_replay_applies_the_record_and_removes_its_letter(
    dashboard: Dashboard, service: Service, letter: str
) -> None:
    answer = post(dashboard, letter, confirmed="yes")
    status = service.get("/internal/v1/batches/{batch_id}/status", batch_id="b")

    assert "<b>applied</b>" in answer.text
    assert service.dead_letters() == {}
    assert [essay["essay_id"] for essay in status["body"]["essays"]] == ["a"]
    assert post_gone(dashboard, letter) == 404


def post_gone(dashboard: Dashboard, record: str) -> int:
    return ask(dashboard.url, f"/letter?record={quote(record)}").status


def test_a_record_that_is_rejected_again_stays_with_the_reason_of_now(
    dashboard: Dashboard, service: Service
) -> None:
    made.reject(service.s3, service.bucket, made.record(b"poison", 1), "old_reason")
    answer = post(dashboard, f"{SPELLCHECK}/0/1", confirmed="yes")
    [kept] = service.dead_letters().values()

    assert "<b>rejected</b>" in answer.text
    assert "It stays" in answer.text
    assert "replayed 1\u00d7" in answer.text
    assert kept["reason"]["code"] == "not_json"


def test_after_three_replays_it_wants_to_be_told_twice(dashboard: Dashboard, service: Service) -> None:
    record = f"{SPELLCHECK}/0/1"
    made.reject(service.s3, service.bucket, made.record(b"poison", 1))
    for _ in range(3):
        post(dashboard, record, confirmed="yes")
    refused = post(dashboard, record, confirmed="yes")
    forced = post(dashboard, record, force="yes")

    assert "over the limit" in refused.text
    assert len(dashboard.deployment.invoked) == 3
    assert "Replay this record" in forced.text


def test_credentials_that_may_not_replay_are_told(
    dashboard: Dashboard, service: Service, letter: str
) -> None:
    dashboard.deployment.refusal = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "not authorized to lambda:InvokeFunction"}},
        "Invoke",
    )
    answer = post(dashboard, letter, confirmed="yes")

    assert answer.status == 403
    assert "Not replayed." in answer.text
    assert "lambda:InvokeFunction" in answer.text
    assert "The credentials in use lack that right." in answer.text
    assert len(service.dead_letters()) == 1


def test_a_replay_whose_function_does_not_answer_is_not_told_as_done_or_refused(
    dashboard: Dashboard, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr("ras.dashboard.web._REPLAY_S", 0.05)
    monkeypatch.setattr("ras.dashboard.dead_letters.replay", lambda *_, **__: over.wait())
    try:
        answer = post(dashboard, letter, confirmed="yes")
    finally:
        over.set()

    assert "Not known yet." in answer.text
    assert "The function has not answered yet." in answer.text


def test_an_earlier_page_of_a_letter_that_has_gone(
    dashboard: Dashboard, service: Service, letter: str
) -> None:
    form = {"token": token(dashboard.url, letter), "record": letter, "confirmed": "yes"}
    service.s3.delete_object(Bucket=service.bucket, Key=next(iter(service.dead_letters())))
    answer = ask(dashboard.url, "/letter/replay", method="POST", form=form, headers={"Origin": dashboard.url})

    assert answer.status == 404
    assert "It may have been replayed or purged meanwhile." in answer.text


# --- the command ---


@pytest.mark.slow
def test_ctrl_c_ends_it_while_aws_does_not_answer(tmp_path: Path) -> None:
    """A function that is invoked for a replay may take a quarter of an hour; the end does not wait for it."""
    key, body = f"rejected/{SPELLCHECK}/0/{0:020d}.json", _rejected()
    with Server() as aws:

        def plan(asked: Asked) -> CannedReply:
            # The letter can be read; what else AWS is asked for never comes.
            if asked.target.startswith(f"/letters/{key}"):
                return CannedResponse(
                    body=body, headers={"ETag": '"e"', "Last-Modified": "Mon, 02 Mar 2026 08:00:00 GMT"}
                )
            if asked.target.startswith("/letters?"):
                return CannedResponse(body=LISTED.format(key=key).encode())
            return SILENCE

        aws.otherwise = plan
        up(tmp_path, endpoint_url=aws.url.removesuffix("/stage"))
        process = subprocess.Popen(
            [sys.executable, "-c", "from ras.cli import main; main()", "dashboard", "--no-token"],
            env={**os.environ, "RAS_STATE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = re.findall(r"(http://\S+)/ ", process.stdout.readline())[0]
            record = f"{SPELLCHECK}/0/0"
            form = {"token": token(url, record), "record": record, "confirmed": "yes"}
            origin = {"Origin": url}
            waiting = [
                _asking(url, "/data/health"),
                _asking(url, "/letter/replay", method="POST", form=form, headers=origin),
            ]
            while not any("/invocations" in one.target for one in aws.asked):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)

            # Some seconds; a stalled machine may need more, and what it would wait for takes 15 minutes.
            assert process.wait(timeout=120) == 130
        finally:
            process.kill()
            process.communicate()
        for one in waiting:
            one.join()


LISTED = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>letters</Name><KeyCount>1</KeyCount>
<IsTruncated>false</IsTruncated><Contents><Key>{key}</Key><LastModified>2026-03-02T08:00:00.000Z</LastModified>
<ETag>"e"</ETag><Size>1</Size></Contents></ListBucketResult>"""


def _rejected() -> bytes:
    """The letter of a record that was rejected."""
    letter = {
        "reason": {"code": "unknown_status", "problems": []},
        **made.received(made.record(made.result("a"))),
    }
    return json.dumps(letter).encode()


def _asking(url: str, path: str, **more: Any) -> threading.Thread:
    """A request whose answer never comes."""

    def run() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(url, path, **more)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_an_api_address_goes_with_a_stage() -> None:
    answer = CliRunner().invoke(main, ["dashboard", "--api-url", "https://x.example/dev"])

    assert answer.exit_code == 1
    assert "--api-url goes with --stage" in answer.output
