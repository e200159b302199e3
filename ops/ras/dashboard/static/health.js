// Ingest health: what became of the records, how far behind the mappings are, what was kept.
import { copyButton, el, said, show } from "./dom.js";
import { number, words } from "./format.js";
import { live, problem } from "./polling.js";
import { Columns } from "./chart.js";
import { keptOverTime } from "./letters-chart.js";

const places = Object.fromEntries(["now", "paused", "outcomes", "lag", "kept"].map((name) => [name, document.getElementById(name)]));
const chart = el("div");
const columns = new Columns(chart, (series) => `Records in the last hour: ${series.map((one) => `${number(one.values.reduce((a, b) => a + b, 0))} ${one.name}`).join(", ")}`);

const GOOD = new Set(["applied", "duplicate", "stale", "ignored"]);
let last = null;
let latest = null;
let waiting = null;

live(() => "/data/health", {
  every: 3000,
  seen(data) {
    latest = data;
    showTiles(data);
    showPaused(data.paused);
    showOutcomes(data.outcomes);
    showLag(data.lag);
  },
  // Nothing has come since: that is a rate too.
  unchanged: () => showTiles(latest),
  failed: (error, retry) => ["outcomes", "lag"].forEach((name) => show(places[name], problem(error, retry))),
});

// A scan of the table, which the dashboard makes now and then for all tabs: what it found comes with its time.
live(() => "/data/unclaimed", {
  every: 30000,
  seen(data) {
    waiting = data;
    if (latest) showTiles(latest);
  },
  failed: () => {},
});

const drawKept = keptOverTime(places.kept);
live(() => "/data/letters", {
  every: 5000,
  seen: drawKept,
  failed: (error, retry) => show(places.kept, problem(error, retry)),
});

function tile(value, name, kind = "") {
  return el("div", { class: `tile ${kind}` }, el("b", {}, value), el("span", {}, name));
}

function showTiles({ outcomes, lag }) {
  const tiles = [];
  if (!lag.failed) {
    tiles.push(behindTile(lag.rows));
    if (lag.consumed !== null) tiles.push(tile(number(rate(lag.consumed)), "records a second, just now"));
  }
  if (!outcomes.failed) {
    for (const [name, total] of Object.entries(outcomes.totals))
      tiles.push(tile(number(total), `${words(name)}, last hour`, total && !GOOD.has(name) ? "bad" : ""));
  }
  if (waiting) tiles.push(tile(number(waiting.unclaimed), `unclaimed for an hour, as of ${new Date(waiting.at).toLocaleTimeString()}`, waiting.unclaimed ? "warn" : "good"));
  show(places.now, ...tiles);
}

function behindTile(rows) {
  const known = rows.filter((row) => row.lag !== null);
  const unknown = rows.length - known.length;
  const behind = known.reduce((sum, row) => sum + row.lag, 0);
  if (!unknown) return tile(number(behind), "records behind", behind ? "busy" : "good");
  return tile(known.length ? `at least ${number(behind)}` : "?", `records behind, ${number(unknown)} of ${number(rows.length)} unknown`, "warn");
}

/** Records a second between this look and the one before, however long ago that was. */
function rate(consumed) {
  const at = Date.now(); // goes on while the machine sleeps
  const found = last && at > last.at ? Math.max(0, Math.round((1000 * (consumed - last.consumed)) / (at - last.at))) : 0;
  last = { at, consumed };
  return found;
}

/** Mappings that an interrupted replay has left disabled: nothing of their topics is read until somebody enables them. */
function showPaused(paused) {
  if (paused.failed) return show(places.paused, el("p", { class: "quiet" }, "Whether an interrupted replay left a mapping disabled is not known: ", said(paused.failed.error)));
  show(
    places.paused,
    ...paused.map((one) => el("div", { class: "result bad", role: "alert" }, el("p", {}, said(one.text)), el("p", {}, "Enable it with ", el("code", {}, said(one.enable)), copyButton(one.enable, "the command")))),
  );
}

function showOutcomes(outcomes) {
  if (outcomes.failed) return show(places.outcomes, problem({ told: outcomes.failed }));
  if (!chart.isConnected) show(places.outcomes, chart);
  columns.set(outcomes.minutes, Object.entries(outcomes.series).map(([name, values]) => ({ name: words(name), kind: name, values })));
}

function showLag(lag) {
  if (lag.failed) return show(places.lag, problem({ told: lag.failed }));
  const names = lag.consumed === null ? ["Function", "Behind", "Told"] : ["Topic", "Function", "State", "Behind", "Consumed", "Failures", "Given up"];
  const count = (value) => el("td", { class: "number", }, value === null || value === undefined ? "?" : number(value));
  const behind = (row) => el("td", { class: row.lag ? "number behind" : "number" }, row.lag === null ? "?" : number(row.lag));
  const rows = lag.rows.map((row) =>
    lag.consumed === null
      ? el("tr", {}, el("td", {}, row.function), behind(row), el("td", {}, row.at ? new Date(row.at).toLocaleTimeString() : "nothing in ten minutes"))
      : el(
          "tr",
          {},
          el("td", { class: "id" }, said(row.name), row.problem ? el("div", { class: "error small" }, said(row.problem)) : null),
          el("td", {}, row.function),
          el("td", {}, el("span", { class: `chip ${row.state === "polling" ? "good" : "warn"}` }, row.state)),
          behind(row),
          count(row.consumed),
          count(row.failures),
          count(row.given_up),
        ),
  );
  show(
    places.lag,
    el(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": "How far behind, a table" },
      el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col", class: ["Behind", "Consumed", "Failures", "Given up"].includes(name) ? "number" : null }, name)))), el("tbody", {}, ...rows)),
    ),
  );
}
