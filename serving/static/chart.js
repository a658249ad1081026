// The series as bars, what it is compared with as a line: uPlot, drawn in the colours of the page.

import { compact, edge, moment, number } from "./format.js";
import { earlier } from "./points.js";
import { say } from "./table.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const value = (count) => (count === null || count === undefined ? null : Number(count));
const seconds = (iso) => Date.parse(iso) / 1000;

export class Chart {
  #plot = null;
  #drawn = null;

  // zoomed(first, last): somebody drew over the points between these.
  constructor(element, readout, zoomed) {
    this.element = element;
    this.readout = readout;
    this.zoomed = zoomed;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawn && this.#make());
  }

  // answer: a /v1/series; the zone and granularity are those of its query.
  draw(answer, counter) {
    const shape = JSON.stringify([answer.query.granularity, answer.query.tz, Boolean(answer.comparison), counter]);
    const same = this.#plot && this.#drawn?.shape === shape;
    this.#drawn = { answer, counter, shape, data: this.#data(answer, counter) };
    if (same) this.#plot.setData(this.#drawn.data);
    else this.#make();
  }

  #data(answer, counter) {
    const columns = [
      answer.points.map((point) => (seconds(point.start) + seconds(point.end)) / 2),
      answer.points.map((point) => value(point.counts[counter])),
    ];
    if (answer.comparison) {
      columns.push(answer.points.map((_, at) => value(earlier(answer, at, counter))));
    }
    return columns;
  }

  #make() {
    const { answer, data } = this.#drawn;
    const { tz } = answer.query;
    const axis = {
      stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
      font: "12px system-ui",
    };
    const series = [
      {},
      {
        stroke: colour("--accent"), fill: colour("--accent"), width: 0, points: { show: false },
        paths: window.uPlot.paths.bars({ radius: 0.15, disp: this.#bars() }),
      },
    ];
    if (answer.comparison) {
      series.push({ stroke: colour("--ink"), width: 1.5, dash: [5, 4], points: { show: answer.points.length === 1 } });
    }
    this.#plot?.destroy();
    this.#plot = new window.uPlot(
      {
        ...this.#size(), series, legend: { show: false }, padding: [12, 26, 0, 0],
        tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), tz),
        cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: false } },
        scales: { x: { range: () => this.#across() }, y: { range: (_, low, high) => reach(low, high) } },
        axes: [
          {
            ...axis, size: 34, grid: { show: false }, space: 64,
            values: (_, ticks, __, ___, step) => ticks.map((tick) => edge(tick, step, tz)),
          },
          {
            ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? compact(tick) : "")),
            size: (_, texts) => 16 + 7.5 * Math.max(1, ...(texts ?? []).map((text) => text.length)),
          },
        ],
        hooks: { setCursor: [(plot) => this.#tell(plot.cursor.idx)], setSelect: [(plot) => this.#select(plot)] },
      },
      data,
      this.element,
    );
  }

  // From the edge of the first point to that of the last: one point alone is as wide as what it counts.
  #across() {
    const { points } = this.#drawn.answer;
    return points.length ? [seconds(points[0].start), seconds(points.at(-1).end)] : [0, 1];
  }

  // Each bar is nearly as wide as what it counts: a week that the range cuts has a narrow one.
  #bars() {
    const spans = () => this.#drawn.answer.points.map((point) => [seconds(point.start), seconds(point.end)]);
    return {
      x0: { unit: 1, values: () => spans().map(([start, end]) => start + 0.14 * (end - start)) },
      size: { unit: 1, values: () => spans().map(([start, end]) => 0.72 * (end - start)) },
    };
  }

  #select(plot) {
    const { left, width } = plot.select;
    if (width < 8) return;
    const [first, last] = [plot.posToIdx(left), plot.posToIdx(left + width)];
    plot.setSelect({ left: 0, width: 0 }, false);
    this.zoomed(this.#drawn.answer.points[first], this.#drawn.answer.points[last]);
  }

  #tell(at) {
    const { answer, counter } = this.#drawn;
    const { tz, granularity } = answer.query;
    const point = answer.points[at ?? -1];
    if (!point) {
      say(this.readout, "\u00a0");
      return;
    }
    const before = earlier(answer, at, counter);
    const known = number(point.counts[counter]);
    const words = { known, unknown: "not known", future: "upcoming" }[point.status[counter]];
    const compared = before === undefined ? "" : ` · before: ${number(before)}`;
    say(this.readout, `${moment(point.start, granularity, tz)}: ${words}${compared}`);
  }

  #size() {
    return { width: this.element.clientWidth, height: this.element.clientWidth < 520 ? 220 : 300 };
  }
}

function reach(low, high) {
  return [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1];
}
