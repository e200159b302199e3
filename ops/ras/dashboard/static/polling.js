// Asking again and again, without reloading the page: with ETags, slower while nothing answers, not at all while
// nobody looks. What was seen last stays on the page, and the page says how old it is.
import { copyButton, el, show } from "./dom.js";
import { hour } from "./format.js";

const PATIENCE_MS = 25_000;
const LONGEST_PAUSE_MS = 15_000;

export class Failure extends Error {
  constructor(told) {
    super(told.error);
    this.told = told;
  }
}

const NOT_HERE = { code: "dashboard", error: "The dashboard does not answer.", advice: "Is it still running?" };

/** JSON from the dashboard, or null for an answer that has not changed. Throws a Failure. */
export async function ask(url, etag = null) {
  let answer;
  try {
    answer = await fetch(url, {
      headers: etag ? { "If-None-Match": etag } : {},
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Failure(NOT_HERE);
  }
  const id = answer.headers.get("X-Correlation-ID");
  if (id) tellAnswer(id);
  if (answer.status === 304) return null;
  let found;
  try {
    found = await answer.json();
  } catch {
    throw new Failure(NOT_HERE);
  }
  if (!answer.ok) throw new Failure(found);
  return { data: found, etag: answer.headers.get("ETag") };
}

function tellAnswer(id) {
  const place = document.getElementById("answer");
  if (place.dataset.id === id) return;
  place.dataset.id = id;
  // Not made anew while somebody is copying it.
  if (place.contains(document.activeElement)) return;
  show(place, el("span", { class: "quiet" }, "last answer "), el("code", {}, id), copyButton(id, "the correlation id"));
}

const troubles = new Map();
let since = null;
let returned = null;

function connection(name, failure, retry) {
  const place = document.getElementById("connection");
  if (failure) {
    since ??= new Date();
    troubles.set(name, retry);
    clearTimeout(returned);
  } else {
    if (!troubles.delete(name) || troubles.size) return;
    since = null;
    place.dataset.told = "";
    place.className = "connection back";
    place.textContent = "Connected again.";
    returned = setTimeout(() => (place.hidden = true), 4000);
    return;
  }
  const { error, advice, code, correlation_id: id } = failure.told;
  if (place.dataset.told === reason(failure)) return;
  place.dataset.told = reason(failure);
  place.className = "connection lost";
  place.hidden = false;
  show(
    place,
    el("b", {}, `No answer since ${hour(since)}. `),
    el("span", {}, `${error} `),
    el("span", {}, "What you see is from before. "),
    advice ? el("span", {}, `${advice} `) : null,
    el("span", { class: "quiet" }, `(${code}${id ? `, ${id}` : ""}) `),
    el("button", { type: "button", onclick: () => troubles.forEach((round) => round()) }, "Try now"),
  );
}

/** The same failure again is not told anew: whoever is at its button, or hears the page read out, stays undisturbed. */
const reason = ({ told }) => JSON.stringify([told.code, told.error, told.advice]);

/**
 * Keep a part of the page up to date. `url()` is asked each `every` ms; `seen(data)` gets what is new, `unchanged()` is
 * told that nothing is, and `failed(failure)` what could not be had as long as nothing was seen: without it the page has
 * something to show already. Returns a function that asks at once.
 */
export function live(url, { every, seen, unchanged = () => {}, failed = null }) {
  let etag = null;
  let timer = null;
  let misses = 0;
  let asking = false;
  let again = false;
  let any = failed === null;
  let told = null;

  async function round() {
    clearTimeout(timer);
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    const begun = performance.now();
    let pause = every;
    try {
      const found = await ask(url(), etag);
      if (found) {
        any = true;
        await seen(found.data);
        etag = found.etag; // only now: what could not be shown is asked for again
      } else await unchanged();
      misses = 0;
      connection(seen, null);
      // A page must not be the load: a slow answer is asked for more seldom.
      pause = Math.max(every, 3 * (performance.now() - begun));
      document.getElementById("live").textContent = "live";
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      misses += 1;
      pause = Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** misses);
      document.getElementById("live").textContent = "";
      if (any) connection(seen, error, round);
      else if (told !== reason(error)) failed(error, round);
      told = reason(error);
    } finally {
      asking = false;
      if (!document.hidden) timer = setTimeout(round, again ? 0 : pause);
      again = false;
    }
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else round();
  });
  round();
  return round;
}

/** In place of what could not be had. */
export function problem({ told }, retry) {
  return el(
    "div",
    { class: "empty bad", role: "alert" },
    el("p", {}, el("b", {}, told.error)),
    told.advice ? el("p", {}, told.advice) : null,
    told.correlation_id
      ? el("p", { class: "quiet" }, "correlation id ", el("code", {}, told.correlation_id), copyButton(told.correlation_id, "the correlation id"))
      : null,
    retry ? el("p", {}, el("button", { type: "button", onclick: retry }, "Try now")) : null,
  );
}
