// The newest dead letters, narrowed by reason, kind and topic.
import { copyButton, el, said, show } from "./dom.js";
import { number, time, words } from "./format.js";
import { live, problem } from "./polling.js";
import { keptOverTime } from "./letters-chart.js";

const ROWS_AT_MOST = 200;

const place = document.getElementById("letters");
const chosen = Object.fromEntries(["reason", "kind", "topic"].map((name) => [name, document.getElementById(name)]));
const wanted = new URLSearchParams(location.search);
const drawKept = keptOverTime(document.getElementById("kept"));
let found = null;

for (const [name, select] of Object.entries(chosen)) {
  select.addEventListener("change", () => {
    if (select.value) wanted.set(name, select.value);
    else wanted.delete(name);
    history.replaceState(null, "", wanted.size ? `?${wanted}` : location.pathname);
    draw();
  });
}

live(() => "/data/letters", {
  every: 5000,
  seen(data) {
    found = data;
    document.getElementById("over-time").hidden = document.getElementById("filters").hidden = data.objects === 0;
    drawKept(data);
    draw();
  },
  failed: (error, retry) => show(place, problem(error, retry)),
});

function draw() {
  const { letters, shown, objects, bound } = found;
  if (!objects) {
    show(
      place,
      el("div", { class: "empty good" }, el("p", {}, el("b", {}, "No dead letters.")), el("p", {}, "Every record that came could be applied, or was in already.")),
    );
    return;
  }
  for (const [name, select] of Object.entries(chosen)) options(select, name, letters);
  const fitting = letters.filter((letter) => Object.keys(chosen).every((name) => !wanted.get(name) || letter[name] === wanted.get(name)));
  const seen = fitting.slice(0, ROWS_AT_MOST);
  const shared = placesOfSeveral(letters);
  const told = [`${number(fitting.length)} of ${number(letters.length)}`];
  if (fitting.length > seen.length) told.push(`the newest ${number(seen.length)} shown`);
  if (bound) told.push(`read up to ${bound}: ${number(objects - shown)} older objects are not here, but in ras dead-letters list`);
  document.getElementById("count").textContent = told.join("; ");
  // Only what is new is drawn: whoever reads or copies is not disturbed.
  if (place.dataset.version === version(seen)) return;
  place.dataset.version = version(seen);
  show(
    place,
    el(
      "table",
      { class: "list" },
      el("caption", { class: "hidden" }, "Dead letters, newest first"),
      el("thead", {}, el("tr", {}, ...["Record", "Reason", "What is wrong", "Kept", "Replays", "Correlation id"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...seen.map((letter) => row(letter, shared.has(letter.record)))),
    ),
  );
}

const version = (letters) => JSON.stringify(letters.map((letter) => [letter.object, letter.id, letter.replays, letter.kept_at]));

function options(select, name, letters) {
  const counts = new Map();
  for (const letter of letters) if (letter[name]) counts.set(letter[name], (counts.get(letter[name]) ?? 0) + 1);
  if (wanted.get(name) && !counts.has(wanted.get(name))) counts.set(wanted.get(name), 0);
  const made = [["", "any"], ...[...counts].sort((a, b) => b[1] - a[1]).map(([value, count]) => [value, `${value} (${number(count)})`])];
  const now = JSON.stringify(made);
  if (select.dataset.made === now) return;
  select.dataset.made = now;
  show(select, ...made.map(([value, title]) => el("option", { value, selected: value === (wanted.get(name) ?? "") }, title)));
}

// Places that several records have: of a topic that was created again. There the digest tells them apart.
function placesOfSeveral(letters) {
  const ids = new Map();
  for (const { record, id } of letters) if (record) ids.set(record, (ids.get(record) ?? new Set()).add(id));
  return new Set([...ids].filter(([, found]) => found.size > 1).map(([record]) => record));
}

function row(letter, withDigest) {
  const query = { ...(letter.id ? { record: letter.id } : {}), object: letter.object };
  return el(
    "tr",
    {},
    el("td", { class: "id" }, el("a", { href: `/letter?${new URLSearchParams(query)}` }, said(letter.record ? (withDigest ? letter.id : letter.record) : letter.object))),
    el("td", { "data-name": "Reason" }, el("span", { class: "chip bad" }, said(letter.reason)), letter.kind === "rejected" ? null : el("span", { class: "chip" }, words(letter.kind))),
    el(
      "td",
      { "data-name": "What is wrong" },
      ...letter.problems.map((one) => el("div", {}, one.path ? el("code", {}, said(one.path)) : null, one.path ? " " : null, said(one.message))),
    ),
    el("td", { "data-name": "Kept" }, time(letter.kept_at, { short: true })),
    el("td", { "data-name": "Replays" }, letter.replays ? number(letter.replays) : "–"),
    el("td", { "data-name": "Correlation id" }, letter.correlation_id ? el("code", {}, said(letter.correlation_id)) : "–", letter.correlation_id ? copyButton(letter.correlation_id, "the correlation id") : null),
  );
}
