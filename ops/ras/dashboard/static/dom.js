// Making elements. Text is only ever set as text: nothing in these modules makes markup of what an event said.

const SVG = "http://www.w3.org/2000/svg";

// Control characters, marks that turn the direction of writing, spaces that are not the space, lone surrogates.
const HIDDEN = /(?! )[\p{C}\p{Z}]/gu;
const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Text in which nothing is hidden: what is invisible is written as JSON writes it. As `visible` of ras/visible.py. */
export function visible(text) {
  return String(text).replace(HIDDEN, (one) => one.split("").map(escaped).join(""));
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** What an event or a person wrote: kept apart from the direction of the text around it. */
export const said = (text) => el("bdi", {}, visible(text));

export function copyButton(text, what) {
  return el("button", { type: "button", class: "copy", "data-copy": visible(text), "aria-label": `Copy ${what}` }, "copy");
}

// The button keeps its name, so what became of a press is told to those who listen here.
const told = el("div", { class: "hidden", id: "told", role: "status" });
document.body.append(told);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
  } catch {
    button.textContent = "not allowed";
  }
  told.textContent = button.textContent;
  setTimeout(() => {
    button.textContent = "copy";
    told.textContent = "";
  }, 1500);
});

// "/" leads to the search, as in many tools.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog")) return;
  const field = document.querySelector("input[type=search]");
  event.preventDefault();
  if (field) field.focus();
  else location.assign("/");
});

/** Put these in place of what is there, which has then been loaded. */
export function show(place, ...children) {
  place.replaceChildren(...children.filter(Boolean));
  place.removeAttribute("aria-busy");
}

/** Calls `draw` whenever an element has become wider or narrower, its first width included. */
export function onWidth(place, draw) {
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    draw();
  }).observe(place);
}
