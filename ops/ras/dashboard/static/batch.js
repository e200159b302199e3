// A batch: its summary and phases every two seconds, its essays whenever those have moved.
import { copyButton, el, said, show } from "./dom.js";
import { chip, time, words } from "./format.js";
import { live, problem } from "./polling.js";
import { bar } from "./bars.js";
import { EssayTable } from "./essays.js";
import { Ranking } from "./ranking.js";

const EVERY_MS = 2000;
// Also when the summary has not moved: an event that comes late may change an essay and nothing else.
const ESSAYS_AT_LEAST_MS = 30_000;

const root = document.getElementById("batch");
const id = root.dataset.id;
const query = new URLSearchParams({ id });
const parts = Object.fromEntries(["summary", "phases", "ranking", "essays"].map((name) => [name, document.getElementById(name)]));
const table = new EssayTable(document.getElementById("table"), document.getElementById("essays-count"), openEssay);
const ranking = new Ranking(document.getElementById("ranking-chart"), document.getElementById("ranking-words"));
const phases = new Map();
const overall = bar("Essays of the batch");

document.getElementById("filter").addEventListener("input", (event) => table.filter({ text: event.target.value }));
document.getElementById("failed-only").addEventListener("change", (event) => table.filter({ failed: event.target.checked }));

let readEssays = null;

live(() => `/data/batch?${query}`, {
  every: EVERY_MS,
  seen(data) {
    root.removeAttribute("aria-busy");
    summary(data.batch);
    showPhases(data.phases, data.batch);
    table.phases(data.phases.map((phase) => phase.name));
    table.expect(data.batch.essay_count);
    if (!data.more) {
      essays(data.essays);
      return;
    }
    if (readEssays) return readEssays();
    // What fits the window now; the others, and with them the ranking, as soon as they are there.
    parts.essays.hidden = false;
    table.set(data.essays);
    readEssays = live(() => `/data/essays?${query}`, { every: ESSAYS_AT_LEAST_MS, seen: essays });
  },
  failed(error, retry) {
    for (const name of ["phases", "ranking", "essays"]) parts[name].hidden = true;
    const missing = error.told.code === "batch_not_found";
    show(
      parts.summary,
      heading(),
      missing
        ? el(
            "div",
            { class: "empty" },
            el("p", {}, el("b", {}, "There is no such batch.")),
            el("p", {}, "A batch appears once an event has named its owner. This page is looking for it."),
          )
        : problem(error, retry),
    );
  },
});

function heading() {
  return el("h1", { class: "id" }, "Batch ", said(id), copyButton(id, "the batch's id"));
}

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

function summary(batch) {
  const told = overall.set({ good: batch.completed_essay_count, bad: batch.failed_essay_count }, batch.essay_count);
  const words_ = el(
    "p",
    { class: "big" },
    told,
    batch.overall_status === "PROCESSING" ? el("span", { class: "quiet small" }, " counted as each phase ends") : null,
  );
  const owner = el("a", { href: `/?${new URLSearchParams({ user: batch.user_id })}` }, said(batch.user_id));
  const facts = el(
    "dl",
    { class: "line" },
    fact("owner", owner),
    fact("pipeline", batch.requested_pipeline ? said(batch.requested_pipeline.replaceAll(",", ", ").replaceAll("_", " ")) : "as by default"),
    fact("created", time(batch.created_at)),
    fact("started", time(batch.processing_started_at)),
    fact("ended", time(batch.processing_completed_at)),
    fact("last event", time(batch.last_updated)),
  );
  const state = el(
    "p",
    { class: "state" },
    chip(batch.overall_status),
    batch.current_phase ? el("span", { class: "quiet" }, ` in ${words(batch.current_phase)}`) : null,
  );
  // The bar stays the same element, so that it moves instead of jumping.
  if (overall.made.parentElement !== parts.summary) show(parts.summary, heading(), state, words_, overall.made, facts);
  else {
    parts.summary.querySelector(".state").replaceWith(state);
    parts.summary.querySelector(".big").replaceWith(words_);
    const old = parts.summary.querySelector("dl");
    if (!old.contains(document.activeElement)) old.replaceWith(facts);
  }
  document.title = `${words(batch.overall_status)} · ${document.title.split(" · ").slice(-2).join(" · ")}`;
}

function showPhases(found, batch) {
  parts.phases.hidden = found.length === 0;
  for (const phase of found) {
    let card = phases.get(phase.name);
    if (!card) {
      const progress = bar(words(phase.name));
      card = { progress, made: el("article", { class: "card phase" }), told: el("div") };
      card.made.append(card.told, progress.made);
      phases.set(phase.name, card);
      parts.phases.append(card.made);
    }
    const each = phase.essay_statuses ?? {};
    // Essays' own results where there are any, else what the events on the batch say.
    const told = card.progress.set(
      {
        good: Math.max(each.COMPLETED ?? 0, phase.completed_count ?? 0),
        busy: each.IN_PROGRESS ?? 0,
        bad: Math.max(each.FAILED ?? 0, phase.failed_count ?? 0),
      },
      batch.essay_count,
    );
    show(
      card.told,
      el("h2", {}, words(phase.name), " ", phase.status ? chip(phase.status) : el("span", { class: "quiet small" }, "no outcome yet")),
      el("p", { class: "count" }, told),
      phase.error ? el("p", { class: "error" }, said(phase.error)) : null,
      phase.last_updated ? el("p", { class: "quiet small" }, "since ", time(phase.last_updated, { short: true })) : null,
    );
  }
}

function essays(found) {
  parts.essays.hidden = false;
  table.set(found);
  parts.ranking.hidden = !ranking.set(found);
}

// --- one essay ---

const dialog = document.getElementById("essay");
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

const COPIED = /(_id|^essay_id|^filename)$/;

function openEssay(essay) {
  const rows = Object.entries(essay)
    .filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [el("dt", {}, words(name)), el("dd", {}, ...valueOf(name, value))]);
  show(
    dialog,
    el(
      "header",
      {},
      el("h2", { id: "essay-title" }, said(essay.filename ?? essay.essay_id)),
      el("button", { type: "button", onclick: () => dialog.close(), autofocus: true }, "Close"),
    ),
    el("dl", { class: "facts" }, ...rows),
  );
  dialog.showModal();
}

function valueOf(name, value) {
  if (name === "last_updated") return [time(value)];
  if (name.endsWith("_status")) return [chip(value)];
  if (name.endsWith("_error")) return [el("span", { class: "error" }, said(value))];
  if (typeof value === "number") return [String(value)];
  if (typeof value === "object") return [el("code", {}, JSON.stringify(value))];
  return COPIED.test(name) ? [said(value), copyButton(value, words(name))] : [said(value)];
}
