"""Who may ask: pages of this very dashboard, in a browser on this machine.

Any site that somebody visits can make their browser send requests to 127.0.0.1. So requests are taken only under the
dashboard's own names (a foreign name that resolves to 127.0.0.1, "DNS rebinding", is none), and what changes
anything must come from one of its pages (`Origin`) with the token that only those pages hold. Another site may link
to a page, but not load anything of the dashboard into itself (`Sec-Fetch-Site`, where the browser says so).

Every account of this machine can connect to 127.0.0.1. So the printed address holds a secret (`Access`), as those of
notebook servers do: its first use exchanges it for a cookie, without which nothing but the looks of a page is answered.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_FIELD = "token"  # noqa: S105 (the name of the form's field)
_SAFE = frozenset({"GET", "HEAD"})
_BODY_AT_MOST = 64 * 1024

HEADERS = {
    # No inline script or style, nothing from elsewhere, and no text of an event ever made into markup by a script.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: browsers then send `Origin: null` with forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Access:
    """What lets somebody in: the token of the printed address, and the cookie that it is exchanged for."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def cookie(self, port: int) -> str:
        """The cookie's name. Browsers send a cookie to every port of 127.0.0.1, so each dashboard has its own."""
        return f"ras-dashboard-{port}"


_NOT_IN = "This dashboard is open to whoever has its address, which holds a secret."
_HOW_TO_GET_IN = (
    "Open the address that `ras dashboard` printed; for the stack on this machine, `ras status` prints it."
    " The secret is another one each time that the dashboard is started."
)
# The looks of a page: the same for everybody, and in the repository.
_OPEN_TO_ALL = "/static/"


class RequestGuard:
    """Middleware that answers what is not allowed by itself, and gives every answer its protecting headers.

    `port` is where the dashboard listens: part of its names. `token` is of this process. `access` is what lets somebody
    in; None lets in every account of this machine.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str, access: Access | None = None) -> None:
        self._app = app
        self._port = port
        self._access = access
        self._names = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope) or self._not_in(scope)
        if refusal is None and scope["method"] not in _SAFE:
            body = await _body(receive)
            if body is None:
                refusal = PlainTextResponse("That is too much.", 413)
            elif not self._is_ours(body):
                refusal = PlainTextResponse(
                    "This form is of an earlier run of the dashboard. Reload its page and send it again.", 403
                )
            else:
                receive = _replayed(body, receive)
        await (refusal or self._app)(scope, receive, protected)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._names:
            return PlainTextResponse(
                f"The dashboard answers to {' and '.join(sorted(self._names))} only.", 421
            )
        if scope["method"] in _SAFE:
            return PlainTextResponse("Other sites may only link to it.", 403) if _foreign(headers) else None
        if headers.getlist("origin") != [f"http://{hosts[0].lower()}"]:
            return PlainTextResponse("Only the dashboard's own pages may do that.", 403)
        return None

    def _not_in(self, scope: Scope) -> Response | None:
        """The answer to somebody without the cookie; None for those who have it."""
        access, path = self._access, str(scope["path"])
        if access is None or path.startswith(_OPEN_TO_ALL):
            return None
        if scope["method"] in _SAFE:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            if any(name == TOKEN_FIELD and _same(value, access.token) for name, value in query):
                # Out of the address, so that it is neither kept in the history nor copied with a link.
                rest = urlencode([(name, value) for name, value in query if name != TOKEN_FIELD])
                entered = RedirectResponse(f"/{path.lstrip('/')}{'?' if rest else ''}{rest}", 303)
                entered.set_cookie(access.cookie(self._port), access.session, httponly=True, samesite="lax")
                return entered
        given = Request(scope).cookies.get(access.cookie(self._port), "")
        return None if _same(given, access.session) else _no_entry(path)

    def _is_ours(self, body: bytes) -> bool:
        try:
            [given] = parse_qs(body.decode("ascii")).get(TOKEN_FIELD, [""])
        except ValueError:
            return False
        return _same(given, self._token)


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _no_entry(path: str) -> Response:
    if path.startswith("/data/"):  # a page's script shows it
        told = {"code": "not_in", "error": _NOT_IN, "advice": _HOW_TO_GET_IN}
        return Response(json.dumps(told), 403, media_type="application/json")
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Result Aggregator</title>'
        '<link rel="stylesheet" href="/static/style.css"><main id="content"><h1>Not without its address</h1>'
        f'<div class="empty bad"><p><b>{_NOT_IN}</b></p><p>{_HOW_TO_GET_IN}</p></div></main></html>',
        403,
    )


def _foreign(headers: Headers) -> bool:
    """True for what a page of another site asks for, unless somebody follows its link."""
    followed = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not followed


async def _body(receive: Receive) -> bytes | None:
    """A whole small body; None for a larger one."""
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > _BODY_AT_MOST:
            return None
        if not message.get("more_body"):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What has been read already, for the next reader."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
