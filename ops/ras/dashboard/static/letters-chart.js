// Dead letters by reason over the last day.
import { el, show } from "./dom.js";
import { number } from "./format.js";
import { Columns } from "./chart.js";

const HOURS = 24;
const COLOURS = 5;

/** Draws into `place` whatever letters it is given. */
export function keptOverTime(place) {
  const inner = el("div");
  const drawn = new Columns(inner, (series) => `Dead letters kept in the last ${HOURS} hours by reason: ${series.map((one) => `${one.name} ${number(one.values.reduce((a, b) => a + b, 0))}`).join(", ")}`);
  return ({ letters, shown, objects }) => {
    const now = new Date();
    now.setMinutes(0, 0, 0);
    const start = now.getTime() - (HOURS - 1) * 3_600_000;
    const moments = Array.from({ length: HOURS }, (_, at) => new Date(start + at * 3_600_000).toISOString());
    const reasons = new Map();
    for (const letter of letters) {
      const at = Math.floor((new Date(letter.kept_at).getTime() - start) / 3_600_000);
      if (at < 0 || at >= HOURS) continue;
      if (!reasons.has(letter.reason)) reasons.set(letter.reason, new Array(HOURS).fill(0));
      reasons.get(letter.reason)[at] += 1;
    }
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const ordered = [...reasons].sort((a, b) => sum(b[1]) - sum(a[1]));
    const series = ordered.slice(0, COLOURS).map(([name, values], at) => ({ name, kind: `r${at}`, values }));
    const rest = ordered.slice(COLOURS);
    if (rest.length) series.push({ name: "other reasons", kind: "rest", values: moments.map((_, at) => sum(rest.map(([, values]) => values[at]))) });
    if (!series.length) {
      show(place, el("p", { class: "empty small" }, objects ? "None in the last 24 hours." : "None: every record could be applied."));
      return;
    }
    if (!inner.isConnected) show(place, inner);
    drawn.set(moments, series);
    if (shown < objects) show(place, inner, el("p", { class: "quiet small" }, `Of the newest ${number(shown)} of ${number(objects)} objects.`));
  };
}
