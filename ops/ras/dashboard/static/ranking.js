// The ranking of a CJ assessment: a line for each essay, or a curve where lines would be too many.
import { onWidth, show, svg, visible } from "./dom.js";
import { number, score } from "./format.js";

const LINES_AT_MOST = 40;
const LINE_PX = 26;
const NAME_CHARACTERS = 26;

export class Ranking {
  #place;
  #words;
  #version = "";
  #ranked = [];

  constructor(place, words) {
    this.#place = place;
    this.#words = words;
    onWidth(place, () => this.#draw());
  }

  /** True where there is a ranking to show. */
  set({ columns, rows }) {
    const [id, name, rank, value] = ["essay_id", "filename", "cj_rank", "cj_score"].map((field) => columns.indexOf(field));
    const ranked =
      rank < 0 || value < 0
        ? []
        : rows
            .filter((row) => row[rank] !== null && row[value] !== null)
            .map((row) => ({ name: (name >= 0 && row[name]) || row[id], rank: row[rank], score: row[value] }))
            .sort((a, b) => a.rank - b.rank || b.score - a.score);
    const version = JSON.stringify(ranked);
    if (version !== this.#version) {
      this.#version = version;
      this.#ranked = ranked;
      const held = new Map();
      for (const essay of ranked) held.set(essay.rank, (held.get(essay.rank) ?? 0) + 1);
      for (const essay of ranked) essay.tied = held.get(essay.rank) > 1;
      if (ranked.length) this.#tell();
      requestAnimationFrame(() => this.#draw());
    }
    return ranked.length > 0;
  }

  #bounds() {
    let [low, high] = [Infinity, -Infinity];
    for (const essay of this.#ranked) {
      low = Math.min(low, essay.score);
      high = Math.max(high, essay.score);
    }
    return low === high ? [low - 1, high + 1] : [low, high];
  }

  #tell() {
    const scores = this.#ranked.map((essay) => essay.score);
    const tied = this.#ranked.filter((essay) => essay.tied).length;
    const [low, high] = [scores.reduce((a, b) => Math.min(a, b)), scores.reduce((a, b) => Math.max(a, b))];
    this.#words.textContent =
      `${number(this.#ranked.length)} essays ranked, scores from ${score(low)} to ${score(high)}` +
      (tied ? `; ${number(tied)} share their rank, marked =.` : ", no ties.");
  }

  #draw() {
    const width = this.#place.clientWidth;
    if (!this.#ranked.length || !width) return;
    show(this.#place, this.#ranked.length <= LINES_AT_MOST ? this.#lines(width) : this.#curve(width));
  }

  #lines(width) {
    const labels = Math.min(260, width * 0.45);
    const [from, to] = [labels + 12, width - 70];
    const [low, high] = this.#bounds();
    const x = (value) => from + ((to - from) * (value - low)) / (high - low);
    const characters = Math.max(8, Math.min(NAME_CHARACTERS, Math.floor((labels - 44) / 7.5)));
    const height = this.#ranked.length * LINE_PX;
    const chart = frame(width, height, this.#words.textContent);
    this.#ranked.forEach((essay, at) => {
      const middle = at * LINE_PX + LINE_PX / 2;
      const name = visible(essay.name);
      if (essay.tied) chart.append(svg("rect", { class: "tie", x: 0, y: at * LINE_PX + 1, width, height: LINE_PX - 2, rx: 5 }));
      chart.append(
        svg("text", { class: "rank", x: 34, y: middle + 4, "text-anchor": "end" }, `${essay.tied ? "=" : ""}${essay.rank}`),
        svg("text", { class: "name", x: 44, y: middle + 4 }, name.length > characters ? `${name.slice(0, characters - 1)}…` : name, svg("title", {}, name)),
        svg("line", { class: "reach", x1: from, x2: x(essay.score), y1: middle, y2: middle }),
        svg("circle", { class: "dot", cx: x(essay.score), cy: middle, r: 5 }),
        svg("text", { class: "value", x: x(essay.score) + 10, y: middle + 4 }, score(essay.score)),
      );
    });
    if (low < 0 && high > 0) chart.prepend(svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: height }));
    return chart;
  }

  #curve(width) {
    const height = 220;
    const [left, right, top, bottom] = [52, width - 12, 12, height - 30];
    const [low, high] = this.#bounds();
    const last = this.#ranked.length - 1;
    const x = (at) => left + ((right - left) * at) / last;
    const y = (value) => bottom - ((bottom - top) * (value - low)) / (high - low);
    const chart = frame(width, height, this.#words.textContent);
    for (const value of [low, (low + high) / 2, high]) {
      chart.append(
        svg("line", { class: "rule", x1: left, x2: right, y1: y(value), y2: y(value) }),
        svg("text", { class: "value", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, score(Number(value.toPrecision(3)))),
      );
    }
    chart.append(
      svg("path", { class: "curve", d: this.#ranked.map((essay, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(essay.score).toFixed(1)}`).join("") }),
      svg("text", { class: "value", x: left, y: height - 8 }, `rank ${number(this.#ranked[0].rank)}`),
      svg("text", { class: "value", x: right, y: height - 8, "text-anchor": "end" }, `rank ${number(this.#ranked[last].rank)}`),
    );
    const mark = svg("circle", { class: "dot", r: 5, visibility: "hidden" });
    const told = svg("text", { class: "name", x: (left + right) / 2, y: height - 8, "text-anchor": "middle" });
    chart.append(mark, told);
    chart.addEventListener("pointermove", (event) => {
      const share = (event.clientX - chart.getBoundingClientRect().left - left) / (right - left);
      const at = Math.round(Math.min(Math.max(share, 0), 1) * last);
      const essay = this.#ranked[at];
      mark.setAttribute("cx", x(at));
      mark.setAttribute("cy", y(essay.score));
      mark.setAttribute("visibility", "visible");
      told.textContent = `${essay.tied ? "=" : ""}${number(essay.rank)} · ${visible(essay.name).slice(0, NAME_CHARACTERS)} · ${score(essay.score)}`;
    });
    return chart;
  }
}

function frame(width, height, words) {
  return svg("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
}
