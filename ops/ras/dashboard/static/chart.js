// Numbers over time as stacked columns, with a legend that tells the sums.
import { el, onWidth, show, svg, visible } from "./dom.js";
import { hour, number } from "./format.js";

const HEIGHT = 180;
const [LEFT, TOP, BOTTOM] = [58, 8, 22];

export class Columns {
  #place;
  #data = null;
  #label;

  /** `label(sums)` is the chart in words. */
  constructor(place, label) {
    this.#place = place;
    this.#label = label;
    onWidth(place, () => this.#draw());
  }

  /** `moments`: ISO times; `series`: `[{name, kind, values}]`, where `kind` names its colour. */
  set(moments, series) {
    this.#data = { moments, series };
    this.#draw();
  }

  #draw() {
    const width = this.#place.clientWidth;
    if (!this.#data || !width) return;
    const { moments, series } = this.#data;
    const tops = moments.map((_, at) => series.reduce((sum, one) => sum + one.values[at], 0));
    const top = nice(Math.max(1, ...tops));
    const wide = (width - LEFT) / moments.length;
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const chart = svg("svg", { class: "chart", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": this.#label(series) });
    for (const value of [0, top / 2, top]) {
      if (!Number.isInteger(value)) continue;
      chart.append(
        svg("line", { class: "rule", x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
        svg("text", { class: "value", x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, number(value)),
      );
    }
    moments.forEach((moment, at) => {
      if (!tops[at]) return;
      const column = svg("g", {}, svg("title", {}, `${hour(moment)}: ${series.filter((one) => one.values[at]).map((one) => `${number(one.values[at])} ${visible(one.name)}`).join(", ")}`));
      let below = 0;
      for (const one of series) {
        const value = one.values[at];
        if (!value) continue;
        const height = Math.max(1, y(below) - y(below + value));
        column.append(svg("rect", { class: `c-${one.kind}`, x: LEFT + at * wide + 1, y: y(below + value), width: Math.max(1, wide - 2), height }));
        below += value;
      }
      chart.append(column);
    });
    const step = Math.max(1, Math.round(moments.length / Math.max(2, Math.floor(width / 140))));
    for (let at = 0; at < moments.length; at += step) {
      const x = LEFT + at * wide;
      if (x + 40 < width) chart.append(svg("text", { class: "value", x, y: HEIGHT - 6 }, hour(moments[at])));
    }
    const legend = el(
      "ul",
      { class: "legend" },
      ...series.map((one) => el("li", {}, el("i", { class: `c-${one.kind}` }), `${visible(one.name)} `, el("b", {}, number(one.values.reduce((a, b) => a + b, 0))))),
    );
    show(this.#place, chart, legend);
  }
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}
