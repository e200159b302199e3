// Numbers and times as the reader's browser writes them.
import { el } from "./dom.js";

const NUMBER = new Intl.NumberFormat();
const SCORE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 4 });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export const number = (value) => NUMBER.format(value);
export const score = (value) => SCORE.format(value);
export const hour = (value) => HOUR.format(new Date(value));
export const moment = (value) => MOMENT.format(new Date(value));

/** A time in the reader's zone; pointing at it tells it in UTC. */
export function time(iso, { short = false } = {}) {
  if (!iso) return el("span", { class: "quiet" }, "–");
  const at = new Date(iso);
  return el("time", { datetime: iso, title: at.toISOString() }, (short ? SHORT : MOMENT).format(at));
}

/** Times that the server wrote. */
export function localTimes(root = document) {
  for (const found of root.querySelectorAll("time[datetime]")) {
    const at = new Date(found.getAttribute("datetime"));
    found.title = at.toISOString();
    found.textContent = MOMENT.format(at);
  }
}

const KIND = {
  COMPLETED: "good",
  PARTIALLY_COMPLETED: "warn",
  FAILED: "bad",
  PROCESSING: "busy",
  IN_PROGRESS: "busy",
  CANCELLED: "warn",
};

export const words = (name) => name.replaceAll("_", " ").toLowerCase();

/** A status: its word, and a colour for those that we know. */
export const chip = (status) =>
  status ? el("span", { class: `chip ${KIND[status] ?? ""}` }, words(status)) : el("span", { class: "quiet" }, "–");
