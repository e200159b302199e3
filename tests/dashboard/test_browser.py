"""The dashboard in a real headless Chromium, over the stack on this machine with real events in it.

Every test also fails for a script's error, for anything that the page's own policy stopped, and for a dialog, which
is what hostile text would open if a browser ever ran it.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from ras.dashboard import dead_letters
from ras.dashboard.data_source import open_source
from ras.dead_letters.bucket import DeadLetterBucket
from ras.errors import OperatorError
from ras.kafka.publish import Event, publish
from ras.state_folder import REPOSITORY
from ras.visible import visible
from ras_local import stack
from ras_local.settings import StackDir
from result_aggregator.topics import TOPICS

from tests import samples
from tests.dashboard import events
from tests.dashboard.events import stack_consumed
from tests.dashboard.serving import serving
from tests.dashboard.severable import Severable
from tests.real_servers import require_chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, Dialog, Request, Route
    from ras.stack_file import Stack

# The first test's time has the stack's start and all of the events in it.
pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(900)]

# Nobody here waits for a fast machine; what does not come at all is a failure.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

BUILT = REPOSITORY / ".build/dashboard"
AXE = REPOSITORY / "node_modules/axe-core/axe.min.js"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

SCRIPT = "<script>window.hostile=1;alert(1)</script><img src=x onerror=alert(2)>"
TURNED = "abc\u202e\u2066txt.exe\u200b"
IMAGE = "<img src=x onerror=window.hostile=2>"
LONG = (IMAGE + TURNED + "å" * 255)[:255]
LARGE = 5000
MANY = 1200

# The emulator, or a machine that stood still, may be late: the page gets over it, and the tests wait for that.
PASSING = re.compile(r"error: Failed to load resource: .* status of 50[234] .*")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = require_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StackDir:
    return StackDir(tmp_path_factory.mktemp("stack"))


# After `chromium`: without a browser nothing is started.
@pytest.fixture(scope="module")
def running(chromium: Browser, state: StackDir) -> Iterator[Stack]:  # noqa: ARG001
    """The stack, with the sample events, a classroom's batch, a large batch, many batches and some poison."""
    try:
        started = stack.up(state)
        for name in samples.FILES:
            publish(started.bootstrap_servers, samples.publishable(name))
        stack_consumed(
            started,
            [
                *events.classroom("batch-english-7b", "teacher-karin"),
                *events.large("large", "teacher-large", LARGE),
                *(events.registered(f"many-{n:04d}", "teacher-many", 1, _at(n)) for n in range(MANY)),
                *poison(),
            ],
        )
        yield started
    finally:
        stack.down(state)


def _at(number: int) -> str:
    return f"2026-03-{1 + number // 60:02d}T08:{number % 60:02d}:00Z"


def poison() -> Iterator[Event]:
    """Records of several reasons."""
    for number in range(4):
        yield events.spellchecked(
            "b", f"e-{number}", status="EXPLODED", correlation_id=f"correlation-{number}"
        )
    for number in range(2):
        yield events.spellchecked("b", f"n-{number}", correction_count=-4)
    yield Event(events.SPELLCHECK, b"this is no event", b"k")


class Watched:
    """A page of a browser of its own, and what went wrong in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.wrong: list[str] = []
        self.expected: str = ""
        """A pattern of messages that belong to the test, such as of requests that fail on purpose."""
        self._asked_for: set[Request] = set()
        context.set_default_timeout(PATIENCE_MS)
        self.page = context.new_page()
        self.page.on("request", lambda request: self._asked_for.add(request))
        self.page.on("requestfinished", lambda request: self._asked_for.discard(request))
        self.page.on("requestfailed", lambda request: self._asked_for.discard(request))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._asked)
        self.page.on("console", self._said)

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def problems(self) -> list[str]:
        return [
            one
            for one in self.wrong
            if not PASSING.fullmatch(one) and not (self.expected and re.search(self.expected, one))
        ]

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nothing on the page is drawn anew meanwhile: whatever it asks for has not changed."""
        self.page.route("**/data/**", lambda route: route.fulfill(status=304))
        until(self.page, lambda: not self._asked_for)
        # What came last has been drawn, too.
        self.page.evaluate(
            "new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
        )
        yield
        self.page.unroute("**/data/**")


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait for what the page itself does not show."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        page.wait_for_timeout(50)


def copied(page: Page, pattern: str) -> None:
    """Wait for such a text on the clipboard. The button tells of it for a moment only."""
    until(page, lambda: re.fullmatch(pattern, page.evaluate("navigator.clipboard.readText()")) is not None)


def entered(chromium: Browser, running: Stack) -> Any:
    """What a browser keeps after it has opened the address that `ras up` prints."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(running.dashboard_url)
        assert urlsplit(page.url).query == ""  # the secret is not left in the address
        return context.storage_state()
    finally:
        context.close()


@pytest.fixture
def watched(chromium: Browser, running: Stack) -> Iterator[Watched]:
    context = chromium.new_context(
        base_url=running.dashboard_url,
        storage_state=entered(chromium, running),
        viewport={"width": 1200, "height": 860},
        locale="en-GB",
        timezone_id="America/New_York",
        color_scheme="light",
        permissions=["clipboard-read", "clipboard-write"],
    )
    try:
        found = Watched(context)
        yield found
        assert found.page.evaluate("window.hostile") is None
        assert found.problems() == []
    finally:
        context.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


def open_batch(page: Page, batch_id: str) -> None:
    page.goto(f"/batch?{urlencode({'id': batch_id})}")
    expect(page.locator("#summary .big")).to_be_visible()


# --- getting in ---


def test_without_its_address_a_page_says_how_to_get_in(chromium: Browser, running: Stack) -> None:
    """Another account of this machine, or a browser that was not given the address."""
    context = chromium.new_context(base_url=running.dashboard_url)
    try:
        page = context.new_page()
        for path in ("/", "/letters", "/batch?id=large"):
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 403
            expect(page.locator("main")).to_contain_text("ras status")
    finally:
        context.close()


# --- finding batches ---


def test_a_users_batches_are_found_and_opened_with_the_keyboard_alone(page: Page) -> None:
    [(user, wanted)] = [
        (user, ids) for user, ids in samples.expected_listing().items() if user == "teacher-elin"
    ]
    page.goto("/health")
    page.keyboard.press("/")  # to the search, from anywhere
    page.wait_for_url("**/")
    page.keyboard.press("/")
    page.keyboard.type(user)
    page.keyboard.press("Enter")
    rows = page.locator("#batches tbody tr")

    expect(rows).to_have_count(len(wanted))
    assert [row.get_attribute("href") for row in page.locator("#batches .id a").all()] == [
        f"/batch?id={batch_id}" for batch_id in wanted
    ]
    rows.first.get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(wanted[0])))
    expect(page.get_by_role("heading", level=1)).to_contain_text(wanted[0])


def test_batches_are_filtered_by_status(page: Page) -> None:
    page.goto("/?user=teacher-elin")
    page.get_by_label("Status").select_option("PARTIALLY_COMPLETED")

    expect(page).to_have_url(re.compile("status=PARTIALLY_COMPLETED"))
    expect(page.locator("#batches tbody tr")).to_have_count(1)
    expect(page.locator("#batches tbody .chip")).to_have_text("partially completed")


def test_a_user_has_thousands_of_batches(page: Page) -> None:
    """Page by page behind the API's cursor, newest first, each once."""
    page.goto("/?user=teacher-many")
    rows = page.locator("#batches tbody tr")
    expect(rows).to_have_count(100)
    more = page.get_by_role("button", name="Show more")
    for number in range(200, MANY + 1, 100):
        more.focus()
        page.keyboard.press("Enter")
        expect(rows).to_have_count(number)

    expect(more).to_be_hidden()
    expect(page.locator("#batches [role=status]")).to_have_text("1,200 of 1,200 shown, newest first")
    shown = page.evaluate("[...document.querySelectorAll('#batches .id a')].map((one) => one.textContent)")
    assert shown == [f"many-{number:04d}" for number in reversed(range(MANY))]


def test_nobody_and_nothing_have_states_of_their_own(page: Page, watched: Watched) -> None:
    """A user without batches, a batch that does not exist, a page that does not."""
    watched.expected = "status of 404"
    page.goto("/?user=nobody-here")
    expect(page.locator("#batches")).to_contain_text("No batches of nobody-here.")
    page.goto("/batch?id=none")
    expect(page.locator("#summary")).to_contain_text("There is no such batch.")
    page.goto("/nothing")
    expect(page.get_by_role("heading", level=1)).to_have_text("No such page")


def test_older_batches_are_not_left_as_they_were(page: Page, running: Stack) -> None:
    """Behind a first page that has changed: one that does not fit the filter any more goes, none is there twice."""
    user = "teacher-older"
    stack_consumed(running, [events.registered(f"older-{n:03d}", user, 1, _at(n)) for n in range(150)])
    page.goto(f"/?user={user}&status=REGISTERED")
    rows = page.locator("#batches tbody tr")
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(150)
    stack_consumed(
        running,
        [
            events.spellchecked("older-010", "e"),
            *(events.registered(f"newer-{n}", user, 1, "2026-04-01T08:00:00Z") for n in range(3)),
        ],
    )

    expect(rows).to_have_count(152)
    expect(page.locator("#batches [role=status]")).to_have_text("152 of 152 registered shown, newest first")
    shown = page.evaluate("[...document.querySelectorAll('#batches .id a')].map((one) => one.textContent)")
    assert len(set(shown)) == 152
    assert "older-010" not in shown


def test_the_status_of_an_older_batch_goes_on(page: Page, running: Stack) -> None:
    """Without a filter it stays where it is, and says what it is now."""
    user = "teacher-going-on"
    stack_consumed(running, [events.registered(f"going-{n:03d}", user, 1, _at(n)) for n in range(120)])
    page.goto(f"/?user={user}")
    page.get_by_role("button", name="Show more").click()
    row = page.locator("#batches tbody tr", has_text="going-010")
    expect(row).to_contain_text("registered")
    stack_consumed(
        running,
        [
            events.spellchecked("going-010", "e"),
            events.registered("going-new", user, 1, "2026-04-01T08:00:00Z"),
        ],
    )

    expect(row).to_contain_text("processing")


# --- a batch ---


def test_bars_move_while_events_arrive(page: Page, running: Stack) -> None:
    """Without a reload, and the same bar: it moves, it is not drawn anew."""
    batch = "moving"
    stack_consumed(running, [events.registered(batch, "teacher-moving", 4)])
    open_batch(page, batch)
    bar = page.locator("#phases .progress").first
    expect(bar).to_have_attribute("aria-label", "spellcheck: 0 of 4 done")
    page.evaluate("window.notReloaded = document.querySelector('#phases .progress')")
    stack_consumed(running, [events.spellchecked(batch, f"e-{n}") for n in range(2)])
    expect(bar).to_have_attribute("aria-label", "spellcheck: 2 of 4 done")
    expect(bar.locator(".good")).to_have_attribute("style", re.compile("50%"))
    stack_consumed(
        running,
        [
            events.spellchecked(batch, "e-2"),
            events.spellchecked(batch, "e-3", status="FAILED", error_message="broke"),
        ],
    )
    expect(bar).to_have_attribute("aria-label", "spellcheck: 3 of 4 done, 1 failed")

    assert page.evaluate("window.notReloaded === document.querySelector('#phases .progress')")
    expect(page.locator("#essays-count")).to_have_text("4 essays")
    expect(page.get_by_role("gridcell", name="broke")).to_be_visible()


def test_the_ranking_shows_scores_and_ties(page: Page) -> None:
    open_batch(page, "batch-english-7b")
    expect(page.locator("#ranking-words")).to_have_text(
        "16 essays ranked, scores from -2.3 to 2.41; 4 share their rank, marked =."
    )
    chart = page.locator("#ranking-chart svg")

    assert chart.locator(".rank").all_text_contents()[:5] == ["1", "=2", "=2", "4", "5"]
    assert chart.locator(".name").first.text_content() == "Astrid - The sea.docxAstrid - The sea.docx"
    assert chart.locator(".value").first.text_content() == "2.41"


def test_essays_are_sorted_filtered_and_opened(page: Page) -> None:
    """By a column, unknown values last; an essay in full with what may be copied; all with the keyboard."""
    open_batch(page, "batch-english-7b")
    grid = page.get_by_role("grid")
    first = grid.locator("[role=row][aria-rowindex='2']")
    page.get_by_role("button", name="score").press("Enter")
    expect(page.get_by_role("columnheader", name="score")).to_have_attribute("aria-sort", "descending")
    expect(first).to_contain_text("Astrid")
    page.get_by_role("button", name="score").press("Enter")
    expect(first).to_contain_text("Sven")
    page.get_by_label("only with errors").check()
    expect(page.locator("#essays-count")).to_have_text("2 of 18")
    grid.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("LanguageTool gave no answer within 30 s; 3 attempts")
    dialog.get_by_role("button", name="Copy essay id").click()
    copied(page, "essay-filip")

    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(grid).to_be_focused()


def test_times_are_the_readers_own(page: Page) -> None:
    """08:00 UTC is 03:00 in New York; pointing at it tells it in UTC."""
    open_batch(page, "batch-english-7b")
    created = page.locator("#summary time").first

    expect(created).to_have_text("2 Mar 2026, 03:00:00")
    expect(created).to_have_attribute("title", "2026-03-02T08:00:00.000Z")


def test_what_was_copied_is_told_to_who_does_not_see_the_button(page: Page) -> None:
    """By a status that is there before, as screen readers listen to changes of one alone."""
    open_batch(page, "batch-english-7b")
    page.evaluate(
        """() => {
          const told = document.querySelector("[role=status]#told");
          window.heard = [];
          new MutationObserver(() => heard.push(told.textContent)).observe(told, { childList: true });
        }"""
    )

    page.get_by_role("button", name="Copy the correlation id").click()

    until(page, lambda: "copied" in page.evaluate("heard"))


def test_the_answers_correlation_id_can_be_copied(page: Page) -> None:
    open_batch(page, "batch-english-7b")
    page.get_by_role("button", name="Copy the correlation id").click()

    copied(page, "[0-9a-f]{8}-[0-9a-f-]{27}")


def test_five_thousand_essays(page: Page) -> None:
    """The first are there before the rest has come, but no ranking of them alone; only rows in view exist.

    How long it takes is measured, and not judged.
    """
    held: list[Any] = []
    page.add_init_script(
        """(function watch() {
          if (!document.querySelector("#table [data-at]")) return requestAnimationFrame(watch);
          window.rowsAt = performance.now();
        })()"""
    )
    page.route("**/data/essays?*", lambda route: held.append(route))
    page.goto("/batch?id=large")
    row = page.locator("#table [data-at='0']")
    expect(row).to_contain_text("essay-00000")
    expect(page.locator("#essays-count")).to_have_text("100 of 5,000 known so far")
    page.wait_for_function(
        "window.rowsAt && performance.getEntriesByName('first-contentful-paint').length > 0"
    )
    painted_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    rows_ms = page.evaluate("window.rowsAt")
    until(page, lambda: bool(held))
    expect(page.locator("#ranking")).to_be_hidden()
    for route in held:
        route.continue_()
    page.unroute("**/data/essays?*")
    expect(page.locator("#essays-count")).to_have_text("5,000 essays")
    expect(page.locator("#ranking-words")).to_contain_text("5,000 essays ranked")

    # A frame for each step of a scroll through all of it, as fast as frames come.
    scrolled = page.evaluate(
        """async () => {
          const grid = document.querySelector('.grid'), gaps = [];
          let most = 0, last = performance.now();
          const end = grid.scrollHeight - grid.clientHeight;
          for (let step = 1; step <= 150; step += 1) {
            grid.scrollTop = (end * step) / 150;
            await new Promise(requestAnimationFrame);
            const now = performance.now();
            gaps.push(now - last);
            last = now;
            most = Math.max(most, grid.querySelectorAll('[data-at]').length);
          }
          gaps.sort((a, b) => a - b);
          return { most, median: gaps[75], longest: gaps[149] };
        }"""
    )
    expect(page.locator("#table")).to_contain_text("essay-04999")
    assert scrolled["most"] < 60
    page.get_by_role("button", name="score").click()
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect(page.locator("#table .active")).to_contain_text("0.002")
    page.keyboard.press("Home")
    expect(page.locator("#table .active")).to_contain_text("essay-00000")
    page.get_by_label("Filter").fill("4321")
    expect(page.locator("#essays-count")).to_have_text("1 of 5,000")
    BUILT.mkdir(parents=True, exist_ok=True)
    measured = {
        "essays": LARGE,
        "first_contentful_paint_ms": round(painted_ms),
        "first_rows_ms": round(rows_ms),
        "rows_in_the_document_at_most": scrolled["most"],
        "frame_ms_median": round(scrolled["median"], 1),
        "frame_ms_longest": round(scrolled["longest"], 1),
    }
    (BUILT / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")


def test_all_essays_come_although_asking_for_them_failed_at_first(page: Page, watched: Watched) -> None:
    """Also where nothing else happens to the batch any more."""
    watched.expected = "ERR_FAILED"
    asked: list[None] = []

    def fail_once(route: Route) -> None:
        asked.append(None)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/data/essays?*", fail_once)
    open_batch(page, "large")

    expect(page.locator("#essays-count")).to_have_text("5,000 essays")
    expect(page.locator("#connection")).to_be_hidden()
    assert len(asked) > 1


# --- hostile content ---


def test_hostile_text_in_every_field_of_every_event_stays_text(page: Page, running: Stack) -> None:
    """Script tags, marks that turn the direction of writing, ids of 255 characters."""
    # No slashes in what stands in a path: the emulator takes an escaped one for a part of the route.
    batch, user, essay = LONG, f"user {IMAGE}{TURNED}", f"essay {SCRIPT}{TURNED}"
    stack_consumed(
        running,
        [
            events.registered(batch, user, 2),
            events.event(
                events.SLOT, "k", batch_id=batch, essay_id=essay, original_file_name=f"{SCRIPT}{TURNED}.docx",
                text_storage_id=SCRIPT, correlation_id=SCRIPT,
            ),
            events.spellchecked(
                batch, essay, status="FAILED", error_message=f"{SCRIPT}{TURNED}", corrected_text_storage_id=SCRIPT
            ),
            events.event(
                events.FEEDBACK, "k", batch_id=batch, essay_id=essay, status="COMPLETED", summary=SCRIPT,
                storage_id=TURNED,
            ),
            events.event(events.NLP, "k", batch_id=batch, essay_id=LONG, status="FAILED", error=LONG),
            events.event(
                events.OUTCOME, "k", batch_id=batch, phase="SPELLCHECK", outcome="FAILED",
                metadata={"requested_pipeline": f"spellcheck,{SCRIPT}{TURNED}", "error_message": SCRIPT},
            ),
            events.ranked(batch, [(essay, 1, 1.5), (LONG, 1, 1.5)]),
            # And letters: the same in key, headers, value and status.
            events.spellchecked(batch, essay, status=f"{SCRIPT}{TURNED}", correlation_id=SCRIPT),
            Event(events.SPELLCHECK, f"{SCRIPT}{TURNED}".encode(), SCRIPT.encode(), ((SCRIPT, TURNED.encode()),)),
        ],
    )  # fmt: skip
    page.goto(f"/?{urlencode({'user': user})}")
    expect(page.locator("#batches tbody tr")).to_have_count(1)
    expect(page.locator("#batches .id a")).to_contain_text("<img src=x onerror=")
    page.locator("#batches .id a").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("\\u202e")
    expect(page.locator("#phases")).to_contain_text("onerror=alert(2)>")
    expect(page.locator("#ranking-chart .rank")).to_have_text(["=1", "=1"])
    expect(page.locator("#table [data-at]")).to_have_count(2)
    for number in range(2):
        page.locator(f"#table [data-at='{number}']").click()
        expect(page.get_by_role("dialog")).to_contain_text("onerror=")
        page.keyboard.press("Escape")
    page.goto("/letters")
    expect(page.locator("#letters tbody tr").first).to_be_visible()
    for link in [one.get_attribute("href") for one in page.locator("#letters tbody a").all()]:
        page.goto(str(link))
        expect(page.locator(".record")).to_be_visible()
    # What is hidden is shown nowhere as it came, but where it is copied from.
    assert page.evaluate("document.body.innerText.includes('\\u202e')") is False
    assert page.evaluate("document.querySelectorAll('main img, main script, bdi *').length") == 0


# --- ingest and dead letters ---


def test_ingest_health_shows_outcomes_lag_and_reasons(page: Page) -> None:
    page.goto("/health")
    expect(page.locator("#lag tbody tr")).to_have_count(len(TOPICS))
    expect(page.locator("#lag")).to_contain_text("polling")
    # CloudWatch has a count some seconds after it was printed.
    expect(page.locator("#outcomes .legend")).to_contain_text(re.compile(r"applied [1-9][\d,]{3,}"))
    expect(page.locator("#outcomes .legend")).to_contain_text(re.compile(r"rejected [1-9]"))
    expect(page.locator("#now")).to_contain_text("0records behind")
    expect(page.locator("#now")).to_contain_text("0unclaimed for an hour")
    expect(page.locator("#kept .legend")).to_contain_text(re.compile(r"unknown_status [1-9]"))


def test_a_mapping_that_a_replay_left_disabled_is_told_with_its_remedy(page: Page) -> None:
    """In the words of `ras status`, invisible characters shown; the command can be copied."""
    text = "a.topic\u202e: its mapping is disabled by an interrupted replay since 2026-03-02T08:00:00+00:00"
    told = {"text": text, "enable": "ras replay --enable --stage prod"}

    def with_paused(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "paused": [told]})

    page.route("**/data/health", with_paused)
    page.goto("/health")
    alert = page.locator("#paused").get_by_role("alert")

    expect(alert).to_contain_text(
        "a.topic\\u202e: its mapping is disabled by an interrupted replay since 2026"
    )
    alert.get_by_role("button", name="Copy the command").click()
    copied(page, re.escape(told["enable"]))


def test_scripts_and_python_make_the_same_visible(page: Page) -> None:
    """Every character that this Python's Unicode knows."""
    known = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) != "Cn"]
    page.goto("/letters")
    # Lone surrogates have no UTF-8 to be sent in.
    numbers = [ord(one) for one in known]
    shown = page.evaluate(
        "async (numbers) => { const { visible } = await import('/static/dom.js');"
        " return numbers.map((one) => visible(String.fromCodePoint(one)))"
        ".map((text, at) => text === String.fromCodePoint(numbers[at]) ? null : text) }",
        numbers,
    )
    ours = [None if visible(one) == one else visible(one) for one in known]

    assert [one for one, theirs, mine in zip(known, shown, ours, strict=True) if theirs != mine] == []


def test_the_rate_is_that_of_the_moment_and_what_is_unknown_is_not_called_good(page: Page) -> None:
    """In a browser whose clock is the test's: a poll each three seconds, of which some bring nothing new."""
    minutes = ["2026-03-02T08:00:00+00:00"]
    outcomes = {"minutes": minutes, "series": {"applied": [0]}, "totals": {"applied": 0}}
    row = {"function": "ingest-essays", "state": "polling", "consumed": 1, "failures": 0, "given_up": 0}
    answers: list[tuple[int, Any]] = []
    polls: list[str] = []

    def answer(consumed: int, *lags: int | None) -> tuple[int, Any]:
        rows = [{**row, "name": f"topic-{at}", "lag": lag} for at, lag in enumerate(lags)]
        return 200, {"outcomes": outcomes, "lag": {"rows": rows, "consumed": consumed}, "paused": []}

    def fulfil(route: Route) -> None:
        status, body = answers.pop(0)
        polls.append(f"poll-{len(polls)}")
        route.fulfill(status=status, json=body, headers={"ETag": '"e"', "X-Correlation-ID": polls[-1]})

    def next_poll(ms: int, *answer: Any) -> None:
        answers.append(answer)
        with page.expect_response("**/data/health"):
            page.clock.run_for(ms)
        # The page has it, and with that its next poll is due.
        expect(page.locator("#answer code")).to_have_text(polls[-1])

    page.route("**/data/health", fulfil)
    page.route("**/data/unclaimed", lambda route: route.fulfill(json={"unclaimed": 0, "at": minutes[0]}))
    page.route("**/data/letters", lambda route: route.fulfill(json={"letters": [], "shown": 0, "objects": 0}))
    page.clock.install(time="2026-03-02T08:00:00Z")
    page.clock.pause_at("2026-03-02T08:00:01Z")
    answers.append(answer(1000, 0, 0))
    page.goto("/health")
    tiles = page.locator("#now .tile")
    behind, rate = tiles.nth(0), tiles.nth(1)
    expect(behind).to_have_class("tile good")
    expect(rate).to_have_text("0records a second, just now")
    next_poll(3000, 304, None)
    next_poll(3000, *answer(1300, 7, 5))
    expect(behind).to_have_text("12records behind")
    expect(behind).to_have_class("tile busy")
    expect(rate).to_have_text("100records a second, just now")
    next_poll(3000, 304, None)
    expect(rate).to_have_text("0records a second, just now")
    next_poll(3000, 503, {"code": "late", "error": "No answer.", "advice": ""})
    expect(page.locator("#connection")).to_contain_text("No answer since")
    next_poll(2000, *answer(1800, 0, None, None))
    expect(rate).to_have_text("100records a second, just now")
    expect(behind).to_have_text("at least 0records behind, 2 of 3 unknown")
    expect(behind).to_have_class("tile warn")


def test_the_list_of_letters_says_where_it_ends(
    page: Page, state: StackDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "LETTERS", 2)
    source = open_source(state=state)
    with serving(lambda: source) as url:
        page.goto(f"{url}/letters")

        expect(page.locator("#count")).to_have_text(
            re.compile(r"read up to 2 letters: \d+ older objects are not here, but in ras dead-letters list$")
        )
        page.goto("about:blank")  # before the dashboard goes


def test_a_letter_is_inspected_and_replayed_after_a_dry_run(page: Page, running: Stack) -> None:
    page.goto("/letters")
    page.locator("#reason").select_option("invalid_field")
    expect(page).to_have_url(re.compile("reason=invalid_field"))
    expect(page.locator("#letters tbody tr")).to_have_count(2)
    page.locator("#letters tbody a").first.click()
    expect(page.locator("mark")).to_have_text('"correction_count": -4')
    expect(page.locator(".problems")).to_contain_text("data.correction_count")
    place = page.locator("h1 bdi").text_content()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("status").filter(has_text="Dry run")).to_contain_text("ingest-essays")
    page.get_by_role("button", name="Replay this record").click()

    expect(page.get_by_role("alert")).to_contain_text("rejected")
    expect(page.get_by_role("alert")).to_contain_text("It stays")
    expect(page.locator(".chip.warn")).to_have_text("replayed 1\u00d7")
    bucket = DeadLetterBucket(running.cloud.s3, running.dead_letter_bucket)
    kept = dead_letters.find(bucket, str(place))
    assert kept is not None
    assert kept.letter.replays == 1


# --- the way to the API is lost ---


def test_a_lost_connection_is_told_and_gets_over(
    watched: Watched, page: Page, running: Stack, state: StackDir
) -> None:
    """What was seen stays on the page; with the API back, news arrive by themselves."""
    watched.expected = "ERR_"
    batch = "severed"
    stack_consumed(running, [events.registered(batch, "teacher-severed", 2)])
    with Severable(urlsplit(running.api_url).netloc) as way:
        source = open_source(state=state, api_url=running.api_url.replace(way.target, way.address))
        with serving(lambda: source) as url:
            page.goto(f"{url}/batch?id={batch}")
            bar = page.locator("#phases .progress").first
            expect(bar).to_have_attribute("aria-label", "spellcheck: 0 of 2 done")
            way.sever()
            lost = page.locator("#connection")
            expect(lost).to_contain_text("No answer since")
            expect(lost).to_contain_text("The API does not answer.")
            expect(bar).to_be_visible()
            # A page that is opened meanwhile says so, and goes on trying.
            other = page.context.new_page()
            other.goto(f"{url}/batch?id={batch}")
            expect(other.get_by_role("alert")).to_contain_text("The API does not answer.")
            stack_consumed(running, [events.spellchecked(batch, "e")])
            way.mend()
            # Unless it has tried by itself in this moment.
            other.evaluate("document.querySelector('[role=alert] button')?.click()")
            expect(other.locator("#phases .progress").first).to_have_attribute(
                "aria-label", "spellcheck: 1 of 2 done"
            )
            other.close()
            expect(bar).to_have_attribute("aria-label", "spellcheck: 1 of 2 done")
            expect(lost).to_be_hidden()
        # And the dashboard itself has gone.
        expect(lost).to_contain_text("The dashboard does not answer.")


def test_the_stack_is_not_up_yet(page: Page) -> None:
    def opener() -> Any:
        raise OperatorError("the stack is not up", "Start it with `ras up`.")

    with serving(opener) as url:
        for path in ("/?user=u", "/batch?id=b", "/letters"):
            page.goto(f"{url}{path}")
            expect(page.get_by_role("alert")).to_contain_text("Start it with `ras up`.")
            # It goes on trying, and does not take the button away from under somebody's fingers.
            again = page.get_by_role("button", name="Try now")
            again.focus()
            for _ in range(2):
                with page.expect_response("**/data/**"):
                    page.keyboard.press("Enter")
            expect(again).to_be_focused()


# --- for everybody ---

VIEWS = {
    "batches": "/?user=teacher-elin",
    "batch": "/batch?id=batch-english-7b",
    "ingest": "/health",
    "letters": "/letters",
    "letter": None,
    "nobody": "/?user=nobody",
    "start": "/",
}


def look(page: Page, name: str) -> None:
    """Open a view and wait until it has filled itself."""
    path = VIEWS[name]
    page.goto(path or "/letters")
    if path is None:
        page.locator("#letters tbody tr", has_text="invalid_field").first.get_by_role("link").click()
        page.wait_for_url("**/letter?*")
    expect(page.locator(".skeleton")).to_have_count(0)
    if name == "ingest":
        expect(page.locator("#outcomes svg")).to_be_visible()
        expect(page.locator("#lag table")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, watched: Watched, scheme: str) -> None:
    """Contrast, names, roles, order: on a screen and on a phone's."""
    script = AXE.read_text(encoding="utf-8")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    found = []
    for width in (1200, 390):
        page.set_viewport_size({"width": width, "height": 860})
        for name in VIEWS:
            look(page, name)
            with watched.still():
                if name == "batch":
                    page.locator("#table [data-at='1']").click()
                    found += _violations(page, script, f"{name} dialog {width}")
                    page.keyboard.press("Escape")
                found += _violations(page, script, f"{name} {width}")

    assert found == []


def _violations(page: Page, script: str, where: str) -> list[str]:
    page.evaluate(script)
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{where}: {one['id']} ({one['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in report["violations"]
        if one["impact"] in ("serious", "critical", "moderate")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_no_view_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 780})
    for name in VIEWS:
        look(page, name)

        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_screenshots(page: Page) -> None:
    """The main views for the README and for those who change them: .build/dashboard/."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for scheme, size, names in (
        ("light", (1120, 800), ("batches", "batch", "letters", "letter")),
        ("dark", (1120, 800), ("batch", "ingest")),
        ("light", (390, 780), ("batch", "letters")),
    ):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for name in names:
            look(page, name)
            kind = "phone" if size[0] < 500 else scheme
            path = BUILT / f"{name}-{kind}.png"
            page.screenshot(path=path, animations="disabled", full_page=name == "batch" and kind != "phone")
            # A page has few colours: a palette makes a third of it.
            with Image.open(path) as image:
                image.convert("RGB").quantize(
                    method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
                ).save(path, optimize=True)


def test_every_name_has_its_page(page: Page) -> None:
    """Ids of dots, question marks, percent signs and quotes are asked for as they are."""
    for name in ("..", "?#&%25", "a b+c", "'\"<>"):
        page.goto(f"/?user={quote(name, safe='')}")
        expect(page.locator("#batches")).to_contain_text(f"No batches of {name}.")
