// A user's batches: the first page kept up to date, older ones added on demand by the API's cursor, and read anew
// whenever the first has changed: a batch may have moved, or may not fit the filter any more.
import { copyButton, el, said, show } from "./dom.js";
import { chip, number, time, words } from "./format.js";
import { ask, Failure, live, problem } from "./polling.js";
import { bar } from "./bars.js";

const EVERY_MS = 3000;
// Also when the first page has not changed: an older batch may have gone on all the same.
const OLDER_AT_LEAST_MS = 30_000;

const place = document.getElementById("batches");
document.querySelector("#search select").addEventListener("change", (event) => {
  if (event.target.form.elements.user.value.trim()) event.target.form.requestSubmit();
});

if (place) follow(place.dataset.user, place.dataset.status);

function follow(user, status) {
  let first = null;
  let older = [];
  let next = null;
  let olderAt = 0;
  let turn = Promise.resolve();
  const rows = new Map();
  const body = el("tbody");
  const count = el("p", { class: "quiet", role: "status" });
  const more = el("button", { type: "button", onclick: loadMore }, "Show more");
  const trouble = el("div");
  const table = el(
    "table",
    { class: "list" },
    el("caption", { class: "hidden" }, "Batches, newest first"),
    el(
      "thead",
      {},
      el("tr", {}, ...["Batch", "Status", "Essays", "Phase", "Created", "Updated"].map((name) => el("th", { scope: "col" }, name))),
    ),
    body,
  );

  function url(cursor = "") {
    return `/data/batches?${new URLSearchParams({ user, status, cursor })}`;
  }

  function draw() {
    const shown = [];
    const here = new Set();
    for (const batch of [first, ...older].flatMap((page) => page.batches)) {
      if (here.has(batch.batch_id)) continue;
      here.add(batch.batch_id);
      const version = JSON.stringify(batch);
      let row = rows.get(batch.batch_id);
      if (!row) rows.set(batch.batch_id, (row = rowOf(batch)));
      if (row.version !== version) {
        row.set(batch);
        row.version = version;
      }
      shown.push(row.made);
    }
    if (shown.length !== body.children.length || shown.some((row, at) => body.children[at] !== row)) body.replaceChildren(...shown);
    for (const id of rows.keys()) if (!here.has(id)) rows.delete(id);
    count.textContent = `${number(shown.length)} of ${number(first.pagination.total)}${status ? ` ${words(status)}` : ""} shown, newest first`;
    more.hidden = next === null;
    if (table.isConnected) return;
    show(place, count, table, trouble, more);
  }

  /** One at a time: each reads on from where the one before has ended. */
  function inTurn(work) {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  }

  /** So many pages behind the first, as they are now. */
  async function readOlder(count) {
    const pages = [];
    let cursor = first.pagination.next_cursor;
    while (cursor && pages.length < count) {
      const { data } = await ask(url(cursor));
      pages.push(data);
      cursor = data.pagination.next_cursor;
    }
    older = pages;
    next = cursor;
    olderAt = performance.now();
  }

  async function readNext() {
    if (!next) return;
    const { data } = await ask(url(next));
    older.push(data);
    next = data.pagination.next_cursor;
    if (older.length === 1) olderAt = performance.now();
  }

  async function loadMore() {
    more.disabled = true;
    try {
      await inTurn(readNext);
      show(trouble);
      draw();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      show(trouble, problem(error));
    } finally {
      more.disabled = false;
    }
  }

  live(() => url(), {
    every: EVERY_MS,
    seen: (data) =>
      inTurn(async () => {
        first = data;
        try {
          await readOlder(older.length);
        } finally {
          // With the older ones of before where those of now cannot be had; that is told, and tried again.
          if (data.pagination.total) draw();
          else show(place, nothing());
        }
      }),
    unchanged() {
      if (!older.length || performance.now() - olderAt < OLDER_AT_LEAST_MS) return;
      return inTurn(() => readOlder(older.length)).then(draw);
    },
    failed: (error, retry) => show(place, problem(error, retry)),
  });

  function nothing() {
    return el(
      "div",
      { class: "empty" },
      el("p", {}, el("b", {}, "No batches of ", said(user), status ? ` that are ${words(status)}` : "", ".")),
      el("p", {}, "They appear here as soon as an event names them; the page is looking."),
    );
  }
}

function rowOf(batch) {
  const state = el("td", { "data-name": "Status" });
  const phase = el("td", { "data-name": "Phase" });
  const updated = el("td", { "data-name": "Updated" });
  const progress = bar("Essays");
  const told = el("span", { class: "small" });
  const made = el(
    "tr",
    {},
    el(
      "td",
      { class: "id" },
      el("a", { href: `/batch?${new URLSearchParams({ id: batch.batch_id })}` }, said(batch.batch_id)),
      copyButton(batch.batch_id, "the batch's id"),
    ),
    state,
    el("td", { "data-name": "Essays", class: "essays" }, progress.made, told),
    phase,
    el("td", { "data-name": "Created" }, time(batch.created_at, { short: true })),
    updated,
  );
  return {
    made,
    set(now) {
      show(state, chip(now.overall_status));
      phase.textContent = now.current_phase ? words(now.current_phase) : "–";
      show(updated, time(now.last_updated, { short: true }));
      const total = now.essay_count;
      told.textContent = progress.set({ good: now.completed_essay_count, bad: now.failed_essay_count }, total);
    },
  };
}
