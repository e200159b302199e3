// The essays of a batch in a table of which only the rows in view exist: 5,000 scroll as 50 do.
import { el, said, show } from "./dom.js";
import { chip, number, score, time, words } from "./format.js";

const ROW_PX = 40;
const MARGIN_ROWS = 8;

const PHASE_FIELDS = /_(status|error)$/;
const text = new Intl.Collator(undefined, { numeric: true });

export class EssayTable {
  #place;
  #count;
  #open;
  #all = [];
  #shown = [];
  #columns = [];
  #phases = [];
  #fields = "";
  #expected = 0;
  #sort = { name: "essay_id", down: false };
  #filter = { text: "", failed: false };
  #active = null;
  #frame = 0;
  #scroll;
  #head;
  #rows;

  constructor(place, count, open) {
    this.#place = place;
    this.#count = count;
    this.#open = open;
    this.#head = el("div", { role: "row", class: "row head", "aria-rowindex": 1 });
    this.#rows = el("div", { class: "rows", role: "rowgroup" });
    this.#scroll = el(
      "div",
      { class: "grid", role: "grid", tabindex: 0, "aria-label": "Essays", "aria-readonly": "true" },
      el("div", { role: "rowgroup", class: "heads" }, this.#head),
      this.#rows,
    );
    this.#scroll.addEventListener("scroll", () => this.#later(), { passive: true });
    this.#scroll.addEventListener("keydown", (event) => this.#key(event));
    this.#rows.addEventListener("click", (event) => {
      const row = event.target.closest("[data-at]");
      if (!row || String(getSelection())) return;
      this.#move(Number(row.dataset.at));
      this.#open(this.#shown[this.#active.at]);
    });
    new ResizeObserver(() => this.#later()).observe(this.#scroll);
    show(place, this.#scroll);
  }

  phases(names) {
    this.#phases = names;
  }

  filter(change) {
    Object.assign(this.#filter, change);
    this.#arrange();
    this.#scroll.scrollTop = 0;
  }

  /** So many essays were registered. */
  expect(count) {
    if (count === this.#expected) return;
    this.#expected = count;
    this.#arrange();
  }

  /** `{columns, rows}` as the dashboard sends them. */
  set({ columns, rows }) {
    this.#all = rows.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]])));
    for (const essay of this.#all) {
      essay.error = Object.keys(essay)
        .filter((name) => name.endsWith("_error") && essay[name])
        .map((name) => essay[name])
        .join(" · ") || null;
      Object.defineProperty(essay, "error", { enumerable: false });
    }
    const fields = JSON.stringify([columns, this.#phases]);
    if (fields !== this.#fields) {
      this.#fields = fields;
      this.#columns = columnsOf(new Set(columns), this.#phases);
      this.#drawHead();
    }
    this.#arrange();
  }

  #arrange() {
    const wanted = this.#filter.text.trim().toLowerCase();
    const shown = this.#all.filter(
      (essay) =>
        (!this.#filter.failed || essay.error || Object.entries(essay).some(([name, value]) => name.endsWith("_status") && value === "FAILED")) &&
        (!wanted || [essay.essay_id, essay.filename, essay.error].some((part) => part?.toLowerCase().includes(wanted))),
    );
    const { name, down } = this.#sort;
    const turn = down ? -1 : 1;
    shown.sort((a, b) => {
      const [one, other] = [a[name] ?? null, b[name] ?? null];
      if (one === null || other === null) return one === other ? 0 : one === null ? 1 : -1; // the unknown last
      return turn * (typeof one === "number" ? one - other : text.compare(one, other)) || text.compare(a.essay_id, b.essay_id);
    });
    this.#shown = shown;
    if (this.#active) {
      const at = shown.findIndex((essay) => essay.essay_id === this.#active.id);
      this.#active = at < 0 ? null : { at, id: this.#active.id };
    }
    const total = Math.max(this.#expected, this.#all.length);
    const narrowed = shown.length < this.#all.length;
    this.#count.textContent = narrowed
      ? `${number(shown.length)} of ${number(this.#all.length)}`
      : this.#all.length < total
        ? `${number(this.#all.length)} of ${number(total)} known so far`
        : `${number(total)} essays`;
    this.#scroll.setAttribute("aria-rowcount", shown.length + 1);
    this.#draw();
  }

  #drawHead() {
    // Head and rows are grids of their own: both have the same tracks, and are never narrower than these.
    const track = ({ least, grows }) => (grows ? `minmax(${least}rem, 2fr)` : `${least}rem`);
    this.#scroll.style.setProperty("--columns", this.#columns.map(track).join(" "));
    this.#scroll.style.setProperty("--least", `${this.#columns.reduce((sum, column) => sum + column.least, 0)}rem`);
    show(
      this.#head,
      ...this.#columns.map((column) =>
        el(
          "div",
          { role: "columnheader", class: column.number ? "number" : null, "aria-sort": this.#direction(column) },
          el("button", { type: "button", tabindex: 0, "data-sort": column.name, onclick: () => this.#sortBy(column) }, column.title),
        ),
      ),
    );
  }

  #direction(column) {
    return column.name !== this.#sort.name ? null : this.#sort.down ? "descending" : "ascending";
  }

  #sortBy(column) {
    this.#sort = { name: column.name, down: this.#sort.name === column.name ? !this.#sort.down : column.down ?? false };
    for (const [at, one] of this.#columns.entries()) {
      const direction = this.#direction(one);
      const cell = this.#head.children[at];
      if (direction) cell.setAttribute("aria-sort", direction);
      else cell.removeAttribute("aria-sort");
    }
    this.#arrange();
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const top = this.#scroll.scrollTop;
    const height = this.#scroll.clientHeight || 600;
    const first = Math.max(0, Math.floor(top / ROW_PX) - MARGIN_ROWS);
    const last = Math.min(this.#shown.length, Math.ceil((top + height) / ROW_PX) + MARGIN_ROWS);
    this.#rows.style.blockSize = `${Math.max(this.#shown.length, 1) * ROW_PX}px`;
    const rows = this.#shown.slice(first, last).map((essay, step) => this.#row(essay, first + step));
    if (!rows.length) rows.push(el("div", { role: "row", class: "row none" }, el("div", { role: "gridcell" }, this.#all.length ? "No essay fits." : "No essay is known yet.")));
    this.#rows.replaceChildren(...rows);
    this.#tellActive();
  }

  #row(essay, at) {
    const active = this.#active?.at === at;
    const made = el(
      "div",
      { role: "row", class: active ? "row active" : "row", id: `essay-row-${at}`, "data-at": at, "aria-rowindex": at + 2, "aria-selected": active ? "true" : null },
      ...this.#columns.map((column) => el("div", { role: "gridcell", class: column.number ? "number" : null }, column.cell(essay))),
    );
    made.style.insetBlockStart = `${at * ROW_PX}px`;
    return made;
  }

  #tellActive() {
    if (this.#active && document.getElementById(`essay-row-${this.#active.at}`)) this.#scroll.setAttribute("aria-activedescendant", `essay-row-${this.#active.at}`);
    else this.#scroll.removeAttribute("aria-activedescendant");
  }

  #move(to) {
    if (!this.#shown.length) return;
    const at = Math.min(Math.max(to, 0), this.#shown.length - 1);
    this.#active = { at, id: this.#shown[at].essay_id };
    const seen = this.#scroll.clientHeight - this.#head.offsetHeight;
    const top = at * ROW_PX;
    if (top < this.#scroll.scrollTop) this.#scroll.scrollTop = top;
    else if (top + ROW_PX > this.#scroll.scrollTop + seen) this.#scroll.scrollTop = top + ROW_PX - seen;
    this.#draw();
  }

  #key(event) {
    if (event.target !== this.#scroll) return; // a heading's button
    const page = Math.max(1, Math.floor(this.#scroll.clientHeight / ROW_PX) - 2);
    const at = this.#active?.at ?? -1;
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.#shown.length - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.#move(to);
    } else if (event.key === "Enter" && this.#active) {
      event.preventDefault();
      this.#open(this.#shown[at]);
    }
  }
}

function columnsOf(fields, phases) {
  const has = (name) => fields.has(name);
  const named = (essay) =>
    essay.filename ? el("span", { class: "two" }, said(essay.filename), el("span", { class: "quiet small" }, said(essay.essay_id))) : said(essay.essay_id);
  const figure = (name, title, least, as = number, down = false) =>
    has(name) ? [{ name, title, least, number: true, down, cell: (essay) => (essay[name] ?? null) === null ? "" : as(essay[name]) }] : [];
  return [
    { name: has("filename") ? "filename" : "essay_id", title: "Essay", least: 12, grows: true, cell: named },
    ...phases.flatMap((phase) => [
      { name: `${phase}_status`, title: words(phase), least: Math.max(7.6, 1.6 + 0.52 * phase.length), cell: (essay) => chip(essay[`${phase}_status`]) },
      ...(phase === "spellcheck" ? figure("spellcheck_correction_count", "corrections", 6.9, number, true) : []),
      ...(phase === "cj_assessment" ? [...figure("cj_rank", "rank", 4.6), ...figure("cj_score", "score", 5.4, score, true)] : []),
    ]),
    ...([...fields].some((name) => PHASE_FIELDS.test(name) && name.endsWith("_error"))
      ? [{ name: "error", title: "error", least: 10, grows: true, cell: (essay) => (essay.error ? el("span", { class: "error" }, said(essay.error)) : "") }]
      : []),
    { name: "last_updated", title: "updated", least: 10, cell: (essay) => time(essay.last_updated, { short: true }) },
  ];
}
