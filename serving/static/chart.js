// The series as bars, what it is compared with as a line: uPlot, drawn in the colours of the page.

import { edge, moment, number } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const value = (count) => (count === null ? null : Number(count));

export class Chart {
  #plot = null;
  #drawn = null;

  constructor(element, readout) {
    this.element = element;
    this.readout = readout;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawn && this.#make(this.#drawn));
  }

  // answer: a /v1/series; the zone and granularity are those of its query.
  draw(answer, counter) {
    const shape = JSON.stringify([answer.query.granularity, answer.query.tz, Boolean(answer.comparison)]);
    const same = this.#plot && this.#drawn?.shape === shape;
    this.#drawn = { answer, counter, shape, data: this.#data(answer, counter) };
    if (same) this.#plot.setData(this.#drawn.data);
    else this.#make(this.#drawn);
  }

  #data(answer, counter) {
    const columns = [
      answer.points.map((point) => Date.parse(point.start) / 1000),
      answer.points.map((point) => value(point.counts[counter])),
    ];
    if (answer.comparison) {
      columns.push(answer.points.map((point) => value(point.previous?.counts[counter] ?? null)));
    }
    return columns;
  }

  #make({ answer, counter, data }) {
    const { tz, granularity } = answer.query;
    const axis = {
      stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui",
    };
    const series = [
      {},
      {
        label: counter, stroke: colour("--accent"), fill: colour("--accent"), width: 0, points: { show: false },
        paths: window.uPlot.paths.bars({ size: [0.72, 48], radius: 0.15 }),
      },
    ];
    if (answer.comparison) {
      series.push({ label: "before", stroke: colour("--ink"), width: 1.5, dash: [5, 4], points: { show: false } });
    }
    this.#plot?.destroy();
    this.#plot = new window.uPlot(
      {
        ...this.#size(), series, legend: { show: false }, padding: [12, 18, 0, 0],
        tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), tz),
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: {
          x: { range: (_, from, to) => [from - this.#half(data), to + this.#half(data)] },
          y: { range: (_, from, to) => [Math.min(0, from), to > 0 ? to * 1.08 : 1] },
        },
        axes: [
          {
            ...axis, size: 34, grid: { show: false },
            values: (_, ticks, __, ___, step) => ticks.map((tick) => edge(tick, step, tz)),
          },
          {
            ...axis, size: 62,
            values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number(tick) : "")),
          },
        ],
        hooks: { setCursor: [(plot) => this.#say(plot.cursor.idx, granularity, tz)] },
      },
      data,
      this.element,
    );
  }

  #say(at, granularity, tz) {
    const { answer, counter } = this.#drawn;
    const point = at === null || at === undefined ? null : answer.points[at];
    if (!point) {
      this.readout.textContent = "\u00a0";
      return;
    }
    const before = answer.comparison && (point.previous?.counts[counter] ?? null);
    const words = { known: number(point.counts[counter]), unknown: "not known", future: "to come" }[point.status];
    const compared = before === undefined ? "" : ` · before: ${number(before)}`;
    this.readout.textContent = `${moment(point.start, granularity, tz)}: ${words}${compared}`;
  }

  #half(data) {
    const [times] = data;
    return times.length > 1 ? (times[1] - times[0]) / 2 : 1800;
  }

  #size() {
    return { width: this.element.clientWidth, height: this.element.clientWidth < 520 ? 220 : 300 };
  }
}
