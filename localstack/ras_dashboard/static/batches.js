// A user's batches: the first page kept up to date, older ones added on demand by the API's cursor.
import { copyButton, el, said, show } from "./dom.js";
import { chip, number, time, words } from "./format.js";
import { ask, Failure, live, problem } from "./live.js";
import { bar } from "./bars.js";

const place = document.getElementById("batches");
document.querySelector("#search select").addEventListener("change", (event) => {
  if (event.target.form.elements.user.value.trim()) event.target.form.requestSubmit();
});

if (place) follow(place.dataset.user, place.dataset.status);

function follow(user, status) {
  let first = null;
  let older = [];
  let next = null;
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
    const all = [...first.batches, ...older];
    const shown = [];
    const here = new Set();
    for (const batch of all) {
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
    count.textContent = `${number(shown.length)} of ${number(first.pagination.total)}${status ? ` ${words(status)}` : ""} shown, newest first`;
    more.hidden = next === null;
    if (table.isConnected) return;
    show(place, count, table, trouble, more);
  }

  async function loadMore() {
    more.disabled = true;
    try {
      const { data } = await ask(url(next));
      older = [...older, ...data.batches];
      next = data.pagination.next_cursor;
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
    every: 3000,
    seen(data) {
      // Batches that new ones push off the first page stay on this one.
      if (first && older.length) older = [...first.batches, ...older];
      else next = data.pagination.next_cursor;
      first = data;
      if (data.pagination.total) draw();
      else show(place, nothing());
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
