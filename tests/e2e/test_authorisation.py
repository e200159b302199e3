"""Who is answered, over HTTP with real signatures: each way to ask wrongly, and the status and body that it gets.

MATRIX is one table of all ways: what AWS answers, by which source, and what the emulator answers where that is something
else. Such a row is an exception that is written down, not a test that is skipped: it fails once the emulator does
better. Which VPC endpoint a request came by is decided in `tests/template/test_authorisation`.

The function cannot decide in the gateway's stead whether a signature's scope is right: API Gateway refuses a wrong one
before it calls the function, and the `Authorization` header is among those that it may withhold or rename on the way
(developer guide, "important notes").
"""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import botocore.auth
import pytest
from ras import signed_http
from ras_local.capabilities import Lack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from ras.signed_http import CallerKeys
    from ras.stack_file import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.needs(Lack.POLICIES, Lack.SIGNATURES, Lack.IDENTITY)]

GATEWAY = "api-gateway-service"
DASHBOARD = "admin-dashboard-service"
STRANGER = "not-allowed"
USER = "a user whose policy allows it"
POWERLESS_USER = "a user without a policy"

BATCH = "/internal/v1/batches/batch-5aece68f/status"
MISSING = "/internal/v1/batches/missing/status"
LISTING = "/internal/v1/batches/user/teacher-karin"
HEALTH = "/healthz"
UNKNOWN = "/internal/v1/other"
ROOT = "/"


@dataclass(frozen=True)
class GatewayAnswer:
    """A status, and the body without its correlation id."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)


def refused_by_gateway(kind: str, error: str, code: str = "forbidden") -> GatewayAnswer:
    return GatewayAnswer(403, {"error": error, "code": code, "details": {"type": kind}})


READ = GatewayAnswer(200)
UNSIGNED = refused_by_gateway(
    "MISSING_AUTHENTICATION_TOKEN", "The request is not signed, or there is no such route."
)
BAD_SIGNATURE = refused_by_gateway("INVALID_SIGNATURE", "The signature of the request is not valid.")
BAD_KEY = refused_by_gateway("DEFAULT_4XX", "The request was refused.", "refused")
DENIED = refused_by_gateway("ACCESS_DENIED", "The caller is not allowed to use this API.")
BY_THE_FUNCTION = GatewayAnswer(
    403, {"error": "the caller is not allowed to ask", "code": "forbidden", "details": {}}
)
NO_ROUTE = GatewayAnswer(404, {"error": "no such route", "code": "unknown_route", "details": {}})
NOT_GET = GatewayAnswer(
    405, {"error": "only GET is allowed", "code": "method_not_allowed", "details": {"allowed": ["GET"]}}
)


def in_the_emulators_words(arn: str) -> GatewayAnswer:
    """Where its policies allow nothing, the emulator answers in its own way instead of the gateway response's."""
    message = (
        f"User: {arn} is not authorized to perform: execute-api:Invoke because no identity-based policy"
        " allows the execute-api:Invoke action"
    )
    return GatewayAnswer(403, {"__type": "AccessDeniedException", "message": message})


def _nothing(_: Any) -> None:
    pass


@dataclass(frozen=True)
class Ask:
    """How a request is signed, and what happens to it between signing and sending."""

    caller: str | None = GATEWAY
    keys: Callable[[CallerKeys, Stack], CallerKeys] = lambda keys, _: keys
    service: str = "execute-api"
    region: str | None = None
    age_s: int = 0
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    tamper: Callable[[requests.PreparedRequest], None] = _nothing

    def prepared(self, stack: Stack, path: str, method: str = "GET") -> requests.PreparedRequest:
        then = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=self.age_s)
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr(botocore.auth, "get_current_datetime", lambda **_: then)
            prepared = signed_http.prepare(
                f"{stack.api_url}{path}{self.query}",
                method=method,
                region=self.region or stack.region,
                credentials=self.keys(stack.callers[self.caller], stack) if self.caller else None,
                headers=self.headers,
                service=self.service,
            )
        self.tamper(prepared)
        return prepared

    def send(self, stack: Stack, path: str, method: str = "GET") -> requests.Response:
        return signed_http.send(self.prepared(stack, path, method))


def _flip_signature(request: requests.PreparedRequest) -> None:
    text = request.headers["Authorization"]
    request.headers["Authorization"] = text[:-1] + ("1" if text[-1] == "0" else "0")


def _header(name: str, value: str) -> Callable[[requests.PreparedRequest], None]:
    return lambda request: request.headers.__setitem__(name, value)


def _without(name: str) -> Callable[[requests.PreparedRequest], None]:
    return lambda request: request.headers.__delitem__(name)


def _url(old: str, new: str) -> Callable[[requests.PreparedRequest], None]:
    def change(request: requests.PreparedRequest) -> None:
        assert request.url is not None
        assert old in request.url
        request.url = request.url.replace(old, new)

    return change


def _more_query(request: requests.PreparedRequest) -> None:
    request.url = f"{request.url}?user_id=teacher-karin"


def _as_post(request: requests.PreparedRequest) -> None:
    request.method = "POST"


def _fresh_date(request: requests.PreparedRequest) -> None:
    request.headers["X-Amz-Date"] = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def _replaced(**changed: str) -> Callable[[CallerKeys, Stack], CallerKeys]:
    return lambda keys, _: {**keys, **changed}  # type: ignore[typeddict-item] # names of its own keys


def _others_token(keys: CallerKeys, stack: Stack) -> CallerKeys:
    return {**keys, "session_token": stack.callers[DASHBOARD]["session_token"]}


def _root(_: CallerKeys, __: Stack) -> CallerKeys:
    return {"access_key_id": "test", "secret_access_key": "anything", "session_token": ""}


MISMATCH = (
    're:Post "api-gateway-iam-sigv4-mismatch": 403, the request signature we calculated does not match; x'
)
SKEW = "IAM User Guide, SigV4: a request must arrive within five minutes of its timestamp, some services take fifteen; 403"
INVALID_TOKEN = (
    "403 UnrecognizedClientException, the security token included in the request is invalid; no response type of its"
    " own is documented (developer guide, gateway response types)"
)
SCOPE = "403 InvalidSignatureException: credential should be scoped to a valid region, to correct service"


@dataclass(frozen=True)
class Row:
    """One way to ask."""

    name: str
    ask: Ask
    aws: GatewayAnswer
    source: str
    emulator: GatewayAnswer | None = None
    """Where the emulator decides otherwise than AWS."""


ACCOUNT = "000000000000"
MATRIX = [
    Row("allowed, the gateway", Ask(), READ, "DESIGN 5"),
    Row("allowed, the dashboard", Ask(DASHBOARD), READ, "DESIGN 5"),
    Row("allowed, nearly five minutes old", Ask(age_s=240), READ, SKEW),
    Row("no signature", Ask(None), UNSIGNED, 're:Post "api-gateway-iam-sigv4-mismatch": missing authentication token'),
    Row("a bearer token", Ask(None, headers={"Authorization": "Bearer x=1"}),
        BAD_KEY, "403 IncompleteSignatureException; no response type of its own is documented"),
    Row("half a signature", Ask(None, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=x"}),
        BAD_KEY, "403 IncompleteSignatureException; no response type of its own is documented"),
    Row("tampered signature", Ask(tamper=_flip_signature), BAD_SIGNATURE, MISMATCH),
    Row("tampered path", Ask(tamper=_url("/internal/v1/batches/", "/internal/v1/batches/x")), BAD_SIGNATURE, MISMATCH),
    Row("tampered query", Ask(query="?user_id=teacher-elin", tamper=_url("teacher-elin", "teacher-karin")),
        BAD_SIGNATURE, MISMATCH),
    Row("a query added", Ask(tamper=_more_query), BAD_SIGNATURE, MISMATCH),
    Row("tampered signed header", Ask(headers={"X-Correlation-ID": "a"}, tamper=_header("X-Correlation-ID", "b")),
        BAD_SIGNATURE, MISMATCH),
    Row("signed header left out", Ask(headers={"X-Correlation-ID": "a"}, tamper=_without("X-Correlation-ID")),
        BAD_SIGNATURE, MISMATCH),
    Row("signed as GET, sent as POST", Ask(tamper=_as_post), BAD_SIGNATURE, MISMATCH),
    Row("wrong secret", Ask(keys=_replaced(secret_access_key="x" * 40)), BAD_SIGNATURE, MISMATCH),
    Row("unknown key", Ask(keys=_replaced(access_key_id="ASIAUNKNOWN000000000")), BAD_KEY, INVALID_TOKEN),
    Row("session token missing", Ask(tamper=_without("X-Amz-Security-Token")), BAD_KEY, INVALID_TOKEN),
    Row("session token never signed", Ask(keys=_replaced(session_token="")), BAD_KEY, INVALID_TOKEN),
    Row("session token made up", Ask(keys=_replaced(session_token="x" * 64)), BAD_KEY, INVALID_TOKEN),
    Row("session token of another", Ask(keys=_others_token), BAD_KEY, INVALID_TOKEN),
    Row("expired date", Ask(age_s=86_400), BAD_SIGNATURE, SKEW),
    Row("date in the future", Ask(age_s=-3_600), BAD_SIGNATURE, SKEW),
    Row("replay of an old request", Ask(age_s=1_200), BAD_SIGNATURE, SKEW),
    Row("replay of an old request, dated anew", Ask(age_s=1_200, tamper=_fresh_date), BAD_SIGNATURE, MISMATCH),
    Row("another region", Ask(region="us-east-1"), BAD_SIGNATURE, f"{SCOPE} (Kong/insomnia#713, n8n-io/n8n#21337)"),
    Row("another service name", Ask(service="s3"), BAD_SIGNATURE, f"{SCOPE} (Kong/insomnia#713)"),
    # The emulator does not use the gateway responses for what its policies refuse.
    Row("a role that is not allowed", Ask(STRANGER), DENIED,
        "developer guide, table A: neither policy allows; ACCESS_DENIED is the type of authorization failures",
        in_the_emulators_words(f"arn:aws:sts::{ACCOUNT}:assumed-role/{STRANGER}/{STRANGER}")),
    Row(POWERLESS_USER, Ask(POWERLESS_USER), DENIED, "developer guide, table A: neither policy allows",
        in_the_emulators_words(f"arn:aws:iam::{ACCOUNT}:user/{POWERLESS_USER.replace(' ', '-')}")),
    # The resource policy's denial of everybody else is left out locally; the function refuses them too.
    Row(USER, Ask(USER), DENIED, "developer guide, table A: the resource policy denies (OnlyNamedCallers)", BY_THE_FUNCTION),
    # The emulator's root keys pass every check of its own.
    Row("the emulator's root keys", Ask(keys=_root), BAD_KEY, INVALID_TOKEN, BY_THE_FUNCTION),
]  # fmt: skip


@pytest.fixture(scope="module")
def asked(filled: Stack) -> Iterator[Stack]:
    """The stack with two IAM users of the account among its callers."""
    iam = filled.cloud.iam
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "execute-api:*", "Resource": "*"}],
    }
    made: dict[str, CallerKeys] = {}
    for name in (USER, POWERLESS_USER):
        user = name.replace(" ", "-")
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        made[name] = {
            "access_key_id": key["AccessKeyId"],
            "secret_access_key": key["SecretAccessKey"],
            "session_token": "",
        }
    iam.put_user_policy(
        UserName=USER.replace(" ", "-"), PolicyName="invoke", PolicyDocument=json.dumps(policy)
    )
    filled.callers.update(made)
    yield filled
    iam.delete_user_policy(UserName=USER.replace(" ", "-"), PolicyName="invoke")
    for name, keys in made.items():
        iam.delete_access_key(UserName=name.replace(" ", "-"), AccessKeyId=keys["access_key_id"])
        iam.delete_user(UserName=name.replace(" ", "-"))
        del filled.callers[name]


def check(answer: requests.Response, wanted: GatewayAnswer, method: str = "GET") -> None:
    """Exactly the status and the body, with a correlation id that header and body agree on."""
    assert answer.status_code == wanted.status, answer.text
    if method == "HEAD":
        assert answer.content == b""
        return
    body = answer.json()
    if wanted.status >= 400 and "__type" not in wanted.body:
        assert body.pop("correlation_id") == answer.headers["X-Correlation-ID"] != ""
    if wanted.status >= 400:
        assert body == wanted.body


@pytest.mark.parametrize("path", [BATCH, MISSING, LISTING])
@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_matrix(asked: Stack, row: Row, path: str) -> None:
    """Allowed callers read; all others get the row's refusal, the same whether the thing exists or not."""
    wanted = row.emulator or row.aws
    if wanted == READ and path == MISSING:
        wanted = GatewayAnswer(404, {"error": "no such batch", "code": "batch_not_found", "details": {}})

    check(row.ask.send(asked, path), wanted)


def test_the_emulator_refuses_whom_aws_refuses() -> None:
    """At most the body of a refusal differs."""
    assert [row.name for row in MATRIX if row.emulator and row.emulator.status != row.aws.status] == []


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [BATCH, LISTING, HEALTH, UNKNOWN, ROOT])
def test_methods_and_routes_without_a_signature(asked: Stack, method: str, path: str) -> None:
    """Nothing but the health check, and that by GET and HEAD alone; what is not there looks like what is."""
    wanted = UNSIGNED
    if path == HEALTH:
        wanted = READ if method in ("GET", "HEAD") else DENIED

    check(Ask(None).send(asked, path, method), wanted, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [BATCH, LISTING, HEALTH, UNKNOWN, ROOT])
def test_methods_and_routes_with_a_signature(asked: Stack, method: str, path: str) -> None:
    """A known route by another method than GET is a 405 that says so, an unknown one a 404 by any."""
    wanted = READ if method == "GET" else NOT_GET
    if path == HEALTH:
        wanted = READ if method in ("GET", "HEAD") else DENIED
    elif path == UNKNOWN:
        wanted = NO_ROUTE
    elif path == ROOT:
        wanted = UNSIGNED  # the gateway's answer to what its definition does not have
    answer = Ask().send(asked, path, method)

    check(answer, wanted, method)
    assert answer.headers.get("Allow") == ("GET" if wanted == NOT_GET else None)


@pytest.mark.parametrize("method", METHODS)
def test_methods_and_routes_of_a_caller_that_is_refused(asked: Stack, method: str) -> None:
    """Who may not ask learns of no route and no method, by the function's word too."""
    for path in (BATCH, MISSING, LISTING, UNKNOWN):
        check(Ask(USER).send(asked, path, method), BY_THE_FUNCTION, method)


def test_a_replay_within_minutes_reads_again(asked: Stack) -> None:
    """A signature is good for minutes, as often as one likes: repeating it reads the same, and changes nothing."""
    captured = Ask().prepared(asked, BATCH)
    first, second = signed_http.send(captured), signed_http.send(captured)

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()


def logged(stack: Stack) -> list[str]:
    """Everything that the query function has logged."""
    pages = stack.cloud.logs.get_paginator("filter_log_events").paginate(
        logGroupName="/aws/lambda/ras-local-query"
    )
    return [event["message"] for page in pages for event in page["events"]]


def test_the_log_says_who_asked_and_holds_no_keys(asked: Stack) -> None:
    """The caller's service and the correlation id of each request, a refused caller's ARN; nothing to sign with."""
    mine = f"who-{uuid.uuid4()}"
    requests_sent = [
        Ask(caller, headers={"X-Correlation-ID": mine}).prepared(asked, BATCH)
        for caller in (GATEWAY, DASHBOARD, USER)
    ]
    for one in requests_sent:
        signed_http.send(one)
    deadline = time.monotonic() + 60
    while True:
        lines = logged(asked)
        told = [json.loads(line) for line in lines if line.startswith("{") and mine in line]
        if len([line for line in told if line["message"] == "answered"]) == 3:
            break
        assert time.monotonic() < deadline, told
        time.sleep(0.2)

    # Functions run side by side, and a field without a value is not logged.
    assert {(line.get("caller"), line["status"]) for line in told if line["message"] == "answered"} == {
        (GATEWAY, 200),
        (DASHBOARD, 200),
        (None, 403),
    }
    (refused,) = (line for line in told if line["message"] == "caller refused")
    assert refused["caller_arn"].endswith(f":user/{USER.replace(' ', '-')}")
    everything = "\n".join(lines)
    secrets = [str(part) for keys in asked.callers.values() for part in keys.values() if part]
    signatures = [one.headers["Authorization"].rpartition("Signature=")[2] for one in requests_sent]
    assert [text for text in (*secrets, *signatures) if text in everything] == []
