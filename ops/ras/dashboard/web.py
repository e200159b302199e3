"""The application: pages, the data that their scripts fetch, and the replay of a letter.

Pages are shells that scripts fill and keep up to date; the page of a letter is all HTML. Data carries an ETag, and an
unchanged answer is a 304: pages ask every few seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from botocore.exceptions import BotoCoreError, ClientError
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from result_aggregator.domain import ids
from result_aggregator.domain.statuses import OVERALL
from result_aggregator.names import DASHBOARD_CALLER
from result_aggregator.topics import TOPICS
from result_aggregator_client import (
    BadRequestError,
    CredentialsError,
    CursorOutdatedError,
    ForbiddenError,
    ResultAggregatorError,
    TemporaryError,
)
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ras.dashboard import batches, dead_letters, ingest_health
from ras.dashboard.data_source import DataSource
from ras.dashboard.request_guard import TOKEN_FIELD, RequestGuard
from ras.dead_letters.bucket import PENDING
from ras.dead_letters.letter import Kind
from ras.dead_letters.replay import DEFAULT_LIMIT, OVER_LIMIT, TO_REPLAY
from ras.errors import ConflictError, OperatorError
from ras.visible import visible

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from ras.dashboard.request_guard import Access
    from ras.dead_letters.letter import DeadLetter

HERE = Path(__file__).parent

BATCHES_A_PAGE = 100
FIRST_ESSAYS = 100
"""With the first answer of a batch: what a window shows and more, however large the batch."""

# How long an answer is good for all who ask. In AWS CloudWatch has news once a minute and charges for each question.
_LOCAL_S = 1.0
_METRICS_S = 60.0
_LETTERS_S = 5.0
# A scan of the whole table: read units each time, a million items in two minutes.
_SCAN_S = 1800.0
_LOCAL_SCAN_S = 10.0
# For so long people wait for AWS; their pages wait a little longer. A function may take a minute for a record.
_PATIENCE_S = 20.0
_REPLAY_S = 90.0

_SURROGATE = re.compile("[\ud800-\udfff]")

T = TypeVar("T")

Opener = Callable[[], DataSource]
"""Gives the source to read now. May raise OperatorError: the stack is not up."""


@dataclass(frozen=True)
class Told:
    """A failure as people are told it."""

    status: int
    code: str
    error: str
    advice: str
    correlation_id: str | None = None


def told(error: Exception) -> Told:
    """What went wrong, and what to do about it."""
    if isinstance(error, ResultAggregatorError):
        return _of_api(error)
    if isinstance(error, ConflictError):
        return Told(409, "conflict", error.message, error.advice)
    if isinstance(error, OperatorError):
        return Told(503, "not_there", error.message, error.advice)
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if "AccessDenied" in code or code == "NotAuthorized":
            return Told(403, "not_allowed", str(error), "The credentials in use lack that right.")
        return Told(502, "aws", str(error), "AWS refused. Reload the page in a moment.")
    if isinstance(error, TimeoutError):
        return Told(503, "late", f"No answer within {_PATIENCE_S:.0f} s.", "Try again in a moment.")
    return Told(502, "aws", str(error), "Are there credentials, and is AWS or the stack reachable?")


def _of_api(error: ResultAggregatorError) -> Told:
    status, message, advice = 502, error.message, "Report it with the correlation id."
    if isinstance(error, CursorOutdatedError):
        status, advice = 409, "Reload the page."
    elif isinstance(error, BadRequestError) or error.status == 414:
        status, advice = 400, "; ".join(f"{name}: {text}" for name, text in error.details.items())
    elif isinstance(error, ForbiddenError):
        status = 403
        advice = (
            f"The API knows its callers by their role, here {DASHBOARD_CALLER}. Assume it, and try again."
        )
    elif isinstance(error, CredentialsError):
        status, advice = 403, "Sign in to AWS, or name a profile with --profile."
    elif isinstance(error, TemporaryError):
        status, advice = 503, "The page tries again by itself."
        if error.status is None:
            message = "The API does not answer."
    return Told(status, error.code, message, advice, error.correlation_id)


_EXPECTED = (ResultAggregatorError, OperatorError, ClientError, BotoCoreError, TimeoutError)


async def _in_thread(work: Callable[[], T], patience_s: float | None = None) -> T:
    """What `work` returns, waited for off the event loop. Raises what it raises, and TimeoutError: it goes on unheard."""
    with anyio.fail_after(_PATIENCE_S if patience_s is None else patience_s):
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


class Shared:
    """Answers that cost something, made once for all tabs that ask meanwhile or within some seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}
        self._making: dict[str, asyncio.Task[Any]] = {}

    async def get(self, name: str, seconds: float, make: Callable[[], Any]) -> Any:
        """The answer called `name`, not older than `seconds`. Raises what `make` raises, and TimeoutError.

        `make` runs in a thread, never twice at a time. One that takes longer than people wait goes on, for who asks next.
        """
        kept = self._kept.get(name)
        if kept is not None and time.monotonic() - kept[0] <= seconds:
            return kept[1]
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.create_task(self._make(name, make))
            # Its failure may come when nobody waits any more.
            making.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        with anyio.fail_after(_PATIENCE_S):
            return await asyncio.shield(making)

    async def _make(self, name: str, make: Callable[[], Any]) -> Any:
        try:
            made = await anyio.to_thread.run_sync(make, abandon_on_cancel=True)
            self._kept[name] = time.monotonic(), made
        finally:
            del self._making[name]
        return made


class Dashboard:
    """The handlers of all routes, over the sources that `opener` gives."""

    def __init__(self, opener: Opener, token: str) -> None:
        self._open = opener
        self._token = token
        self._shared = Shared()
        self._recent = dead_letters.RecentLetters()
        self._sources: list[DataSource] = []
        # Autoescaping for every template, whatever its name.
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["visible"] = visible

    async def source(self) -> DataSource:
        found = await _in_thread(self._open)
        if found not in self._sources:
            self._sources.append(found)
        return found

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        for source in self._sources:
            await source.results.close()

    # --- pages ---

    async def _page(self, name: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        try:
            label = (await self.source()).label
        except _EXPECTED:
            label = "nothing yet"
        html = self._templates.get_template(name).render(
            label=label, token=self._token, token_field=TOKEN_FIELD, page=name.removesuffix(".html"), **values
        )
        # A lone surrogate has no UTF-8.
        return HTMLResponse(html.encode("utf-8", "backslashreplace"), status)

    async def home(self, request: Request) -> Response:
        user = request.query_params.get("user", "").strip()
        batch = request.query_params.get("batch", "").strip()
        if batch:
            return RedirectResponse(request.url_for("batch").include_query_params(id=batch), 303)
        chosen = request.query_params.get("status", "")
        return await self._page("batches.html", user=user, chosen=chosen, statuses=OVERALL)

    async def batch_page(self, request: Request) -> Response:
        batch_id = request.query_params.get("id", "")
        return await self._page("batch.html", batch_id=batch_id)

    async def health_page(self, _request: Request) -> Response:
        return await self._page("health.html")

    async def letters_page(self, _request: Request) -> Response:
        return await self._page("letters.html")

    async def letter_page(self, request: Request) -> Response:
        record, key = request.query_params.get("record"), request.query_params.get("object", "")
        try:
            bucket = (await self.source()).deployment.dead_letters
            if record is None:
                broken = await _in_thread(lambda: dead_letters.malformed(bucket, key))
                if broken is None:
                    return await self._gone(key)
                return await self._page("malformed.html", object=broken[0], text=broken[1])
            found = await _in_thread(lambda: dead_letters.find(bucket, record, key))
        except _EXPECTED as error:
            return await self._failed(error)
        return await self._gone(record) if found is None else await self._letter(found)

    async def _letter(
        self,
        found: dead_letters.Found,
        *,
        result: Any = None,
        done: bool = False,
        problem: Told | None = None,
    ) -> Response:
        letter = found.letter
        return await self._page(
            "letter.html",
            403 if problem and problem.status == 403 else 200,
            letter=letter,
            **await _in_thread(lambda: _record(letter)),
            waiting=letter.kind in PENDING,
            aside=letter.kind is Kind.REPLAYED,
            function=TOPICS[letter.place.topic].function.replace("_", "-")
            if letter.place.topic in TOPICS
            else None,
            limit=DEFAULT_LIMIT,
            over_limit=letter.replays >= DEFAULT_LIMIT,
            result=result,
            done=done,
            to_replay=bool(result and result.counts[TO_REPLAY]),
            refused_by_limit=bool(result and result.counts[OVER_LIMIT]),
            problem=problem,
        )

    async def _gone(self, name: str) -> Response:
        return await self._page(
            "failed.html",
            404,
            title="No such dead letter",
            problem=Told(
                404,
                "not_found",
                f"There is no dead letter {visible(name)}.",
                "It may have been replayed or purged meanwhile.",
            ),
        )

    async def _failed(self, error: Exception) -> Response:
        problem = told(error)
        return await self._page("failed.html", problem.status, title="That did not work", problem=problem)

    async def replay(self, request: Request) -> Response:
        """A dry run, or with `confirmed` the replay itself: POST of a letter's own page."""
        form = dict(parse_qsl((await request.body()).decode()))
        record, key = form.get("record", ""), form.get("object", "")
        force = form.get("force") == "yes"
        try:
            source = await self.source()
            bucket = source.deployment.dead_letters
            found = await _in_thread(lambda: dead_letters.find(bucket, record, key))
            if found is None:
                return await self._gone(record)
        except _EXPECTED as error:
            return await self._failed(error)
        try:
            if form.get("confirmed") != "yes":
                result = await _in_thread(lambda: dead_letters.preview(found, force=force))
                return await self._letter(found, result=result)
            result = await _in_thread(
                lambda: dead_letters.replay(source.deployment, found, force=force), _REPLAY_S
            )
        except _EXPECTED as error:
            return await self._letter(found, problem=_of_replay(error))
        kept = None
        if not result.clean:
            # As it is now: rejected again, it has a new reason. What became of the record is known all the same.
            with suppress(*_EXPECTED):
                kept = await _in_thread(lambda: dead_letters.find(bucket, record, key))
        return await self._letter(kept or found, result=result, done=True)

    # --- data ---

    async def batches_data(self, request: Request) -> Response:
        asked = request.query_params

        async def answer(correlation_id: str) -> Any:
            user = _id(request, "user")
            found = await (await self.source()).results.get_user_batches(
                user,
                correlation_id=correlation_id,
                limit=BATCHES_A_PAGE,
                status=asked.get("status") or None,
                cursor=asked.get("cursor") or None,
            )
            return batches.page(found)

        return await self._data(request, answer)

    async def batch_data(self, request: Request) -> Response:
        async def answer(correlation_id: str) -> Any:
            batch_id = _id(request, "id")
            found = await (await self.source()).results.get_batch_status_page(
                batch_id, correlation_id=correlation_id, limit=FIRST_ESSAYS
            )
            return None if found is None else batches.status(found)

        return await self._data(request, answer)

    async def essays_data(self, request: Request) -> Response:
        async def answer(correlation_id: str) -> Any:
            batch_id = _id(request, "id")
            found = await (await self.source()).results.get_batch_status(
                batch_id, correlation_id=correlation_id
            )
            return None if found is None else batches.essays(found.essays)

        return await self._data(request, answer)

    async def health_data(self, request: Request) -> Response:
        """Outcomes, lag and what a replay left disabled. Each has its own failure: one may be readable, another not."""

        async def part(name: str, seconds: float, read: Callable[[DataSource, datetime], Any]) -> Any:
            try:
                source = await self.source()
                kept_s = _LOCAL_S if source.is_local else seconds
                return await self._shared.get(name, kept_s, lambda: read(source, datetime.now(UTC)))
            except _EXPECTED as error:
                return {"failed": told(error).__dict__}

        async def answer(_: str) -> Any:
            outcomes, lag, paused = await asyncio.gather(
                part("outcomes", _METRICS_S, ingest_health.outcomes),
                part("lag", _METRICS_S, ingest_health.lag),
                part("paused", _METRICS_S, ingest_health.paused),
            )
            return {"outcomes": outcomes, "lag": lag, "paused": paused}

        return await self._data(request, answer)

    async def unclaimed_data(self, request: Request) -> Response:
        async def answer(_: str) -> Any:
            source = await self.source()
            kept_s = _LOCAL_SCAN_S if source.is_local else _SCAN_S
            return await self._shared.get(
                "unclaimed", kept_s, lambda: ingest_health.waiting(source, datetime.now(UTC))
            )

        return await self._data(request, answer)

    async def letters_data(self, request: Request) -> Response:
        async def answer(_: str) -> Any:
            source = await self.source()
            bucket = source.deployment.dead_letters
            kept_s = _LOCAL_S if source.is_local else _LETTERS_S
            return await self._shared.get("letters", kept_s, lambda: self._recent.listed(bucket))

        return await self._data(request, answer)

    async def _data(self, request: Request, answer: Callable[[str], Awaitable[Any]]) -> Response:
        correlation_id = str(uuid.uuid4())
        headers = {"X-Correlation-ID": correlation_id}
        try:
            found = await answer(correlation_id)
            # Megabytes, of a large batch: meanwhile others are answered.
            encoded = None if found is None else await _in_thread(lambda: _encoded(found))
        except ValueError as error:  # of an id
            problem = Told(400, "bad_request", str(error), "Write an id.", correlation_id)
        except _EXPECTED as error:
            problem = told(error)
        else:
            if encoded is not None:
                body, headers["ETag"] = encoded
                if request.headers.get("If-None-Match") == headers["ETag"]:
                    return Response(status_code=304, headers=headers)
                return Response(body, media_type="application/json", headers=headers)
            problem = Told(404, "batch_not_found", "There is no such batch.", "", correlation_id)
        return Response(
            json.dumps(problem.__dict__), problem.status, media_type="application/json", headers=headers
        )

    async def not_found(self, _request: Request, _error: HTTPException | Exception) -> Response:
        problem = Told(404, "not_found", "There is no such page.", "")
        return await self._page("failed.html", 404, title="No such page", problem=problem)

    async def broken(self, _request: Request, _error: Exception) -> Response:
        problem = Told(500, "internal_error", "The dashboard itself failed.", "Its log has the details.")
        return await self._page("failed.html", 500, title="That did not work", problem=problem)


def _id(request: Request, name: str) -> str:
    """An id that a page asks for. Raises ValueError where it is none, or no address can carry it to the API.

    Servers on the way decode `%2F` and resolve `..` between slashes: the request would be one for another path.
    """
    text = request.query_params.get(name, "")
    problem = ids.problem_of(text)
    if problem is None and "/" in text and any(part in (".", "..") for part in text.split("/")):
        problem = "no address can carry it"
    if problem:
        raise ValueError(f"That is no id: {problem}.")
    return text


def _encoded(found: Any) -> tuple[bytes, str]:
    """An answer's body, and its ETag."""
    body = json.dumps(found, default=batches.plain, separators=(",", ":")).encode()
    return body, f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _record(letter: DeadLetter) -> dict[str, Any]:
    """A letter's record as its page shows it."""
    return {
        "lines": dead_letters.lines_of(letter),
        "text": _attempt(lambda: dead_letters.text_of(letter.value())),
        "key": _attempt(lambda: dead_letters.text_of(letter.key())),
        "headers": _attempt(
            lambda: [(name, dead_letters.text_of(value)) for name, value in letter.headers()]
        ),
        "batch_id": _batch_of(letter.document()),
    }


def _attempt(read: Callable[[], Any]) -> Any:
    """A part of a record, or in its place what is wrong with it."""
    try:
        return read()
    except ValueError as error:
        return f"({error})"


def _batch_of(document: Any) -> str | None:
    data = document.get("data") if isinstance(document, dict) else None
    found = data.get("batch_id") if isinstance(data, dict) else None
    # Half a surrogate pair is no text that an address could hold, and no batch has such an id.
    return found if isinstance(found, str) and found and not _SURROGATE.search(found) else None


def _of_replay(error: Exception) -> Told:
    # A function that may not be invoked comes as a OperatorError with botocore's own word as its cause.
    cause = error.__cause__
    if isinstance(error, OperatorError) and isinstance(cause, ClientError):
        problem = told(cause)
        if problem.status == 403:
            return problem
    if isinstance(error, TimeoutError):
        advice = (
            "It may come to it yet. Look at the letter again in a moment: the view takes each event once."
        )
        return Told(503, "late", "The function has not answered yet.", advice)
    return told(error)


def create(opener: Opener, *, port: int, access: Access | None) -> ASGIApp:
    """The application, for a server that listens on 127.0.0.1:`port`; without `access` whoever asks is answered."""
    token = secrets.token_urlsafe(32)
    dashboard = Dashboard(opener, token)
    application = Starlette(
        routes=[
            Route("/", dashboard.home, name="home"),
            Route("/batch", dashboard.batch_page, name="batch"),
            Route("/health", dashboard.health_page),
            Route("/letters", dashboard.letters_page),
            Route("/letter", dashboard.letter_page),
            Route("/letter/replay", dashboard.replay, methods=["POST"]),
            Route("/data/batches", dashboard.batches_data),
            Route("/data/batch", dashboard.batch_data),
            Route("/data/essays", dashboard.essays_data),
            Route("/data/health", dashboard.health_data),
            Route("/data/unclaimed", dashboard.unclaimed_data),
            Route("/data/letters", dashboard.letters_data),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        exception_handlers={404: dashboard.not_found, 500: dashboard.broken},
        lifespan=dashboard.lifespan,
    )
    # Around all of it: Starlette's own middleware would leave out what it answers to errors by itself.
    return RequestGuard(application, port=port, token=token, access=access)
