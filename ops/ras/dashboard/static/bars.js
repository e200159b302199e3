// Progress of essays, as a bar of parts.
import { el } from "./dom.js";
import { number } from "./format.js";

/** `set({good, busy, bad}, total)` moves the parts; without a total nothing is known yet. */
export function bar(label) {
  const parts = { good: el("i", { class: "good" }), busy: el("i", { class: "busy" }), bad: el("i", { class: "bad" }) };
  const made = el("div", { class: "progress", role: "img", "aria-label": label }, parts.good, parts.busy, parts.bad);
  return {
    made,
    set(counts, total) {
      const whole = Math.max(total, (counts.good ?? 0) + (counts.busy ?? 0) + (counts.bad ?? 0), 1);
      for (const [name, part] of Object.entries(parts)) part.style.inlineSize = `${(100 * (counts[name] ?? 0)) / whole}%`;
      const done = counts.good ?? 0;
      // More than were registered, or it is not known yet how many were.
      const told = [done <= total ? `${number(done)} of ${number(total)} done` : `${number(done)} done${total ? `, ${number(total)} registered` : ""}`];
      if (counts.busy) told.push(`${number(counts.busy)} under way`);
      if (counts.bad) told.push(`${number(counts.bad)} failed`);
      made.setAttribute("aria-label", `${label}: ${told.join(", ")}`);
      return told.join(" · ");
    },
  };
}
