// The page of one thing: its counters as tiles, the chosen one as a chart. What is chosen is in the address; what is
// shown is asked for again every two seconds.

import { ApiError, address, ask, download, otherToken, poll } from "./api.js";
import { Chart } from "./chart.js";
import { showCorrections } from "./corrections.js";
import { Freshness, heard } from "./freshness.js";
import { change, number, range } from "./format.js";
import { load, nameOf } from "./names.js";
import { Pickers } from "./pickers.js";
import { best, rowsOf } from "./points.js";
import { asked } from "./range.js";
import { fill, say } from "./table.js";
import { Tiles } from "./tiles.js";
import { Top } from "./top.js";
import { PRIVATE, explain } from "./words.js";

const root = document.getElementById("stats");
const at = (id) => document.getElementById(id);
const { field } = root.dataset;
const key = JSON.parse(root.dataset.key);
const MINE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const WANTED = new URLSearchParams(location.search).get("tz") || MINE || "UTC";
const SELDOM = 5; // of so many turns one asks for what moves slowly

let counters = []; // of this thing, that may be seen
let counter = null; // the one that the chart shows
let pages = new Set(); // fields that have pages of their own
let tiles = null;
let zone = WANTED; // or UTC, where the counter cannot be cut by that zone
let shown = null; // the series on the page
let seen = null; // what was heard with the counts of all time that are shown
let failed = ""; // why there are no newer counts
let lacks = ""; // what they would lack
let turns = 0;
let told = true; // whether the person knows what came of the last choice
let asking = new AbortController();

const pickers = new Pickers(at("pickers"), () => {
  told = false;
  choose();
  again();
});
const top = new Top(at("top"), key, again);
const chart = new Chart(at("chart"), at("readout"), (first, last) => {
  pickers.zoom({ start: first.start, end: last.end });
});
const freshness = new Freshness(at("freshness"), at("announce"));

async function begin() {
  const { body } = await ask("/v1/counters", {});
  counters = await readable(body.data.filter((one) => one.key === field));
  pages = new Set(body.data.map((one) => one.key));
  const href = (name) => pickers.address(name);
  tiles = new Tiles(at("tiles"), counters, href, (name) => pickers.choose(name));
  choose();
  at("content").hidden = false;
}

// Those that may be read of this key: a token may be for some of the keys of a counter.
async function readable(found) {
  if (!found.length) throw new ApiError(401, { detail: PRIVATE }, 0);
  const totals = (some) => ask("/v1/totals", { counters: some.map((one) => one.name).join(), key });
  try {
    await totals(found);
    return found;
  } catch (error) {
    if (error.status !== 403) throw error;
    const answers = await Promise.allSettled(found.map((one) => totals([one])));
    const some = found.filter((_, n) => answers[n].status === "fulfilled");
    if (!some.length) throw error;
    return some;
  }
}

function choose() {
  const found = counters.find((one) => one.name === pickers.counter) ?? counters[0];
  if (!found) return;
  if (found !== counter) {
    counter = found;
    zone = WANTED;
    turns = 0;
    top.of(counter, pages.has(counter.member));
    showCorrections(at("corrections"), counter);
  }
  at("note").hidden = true;
  pickers.offer(counter);
  tiles.choose(counter.name);
  say(at("chart-title"), counter.title);
  at("snippet").value = snippet();
}

function snippet() {
  const source = `${location.origin}${address(`/embed/${counter.name}`, { key })}`;
  const quoted = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
  return `<iframe src="${quoted(source)}" title="${quoted(counter.title)}" width="220" height="44"></iframe>`;
}

const clock = () => (seen ? seen.now + (performance.now() - seen.came) : Date.now());
const when = () => asked(pickers.range, clock(), counter.granularities[0]);

function series() {
  return {
    counters: counter.name, key, granularity: pickers.granularity, tz: zone, fill: "null", ...when(),
    ...pickers.comparing,
  };
}

async function look() {
  asking = new AbortController();
  const { signal } = asking;
  const names = counters.map((one) => one.name).join();
  const ready = when() !== null;
  const hours = { counters: names, key, granularity: "hour", period: "48h", fill: "null" };
  const seldom = turns % SELDOM === 0;
  turns += 1;
  // Each is shown as it comes; the one that takes longest keeps nobody waiting.
  const then = (answer, use) => answer?.then((found) => signal.aborted || use(found));
  const answers = await Promise.allSettled([
    then(ask("/v1/totals", { counters: names, key }, signal), showTotals), // of all time, whatever the pickers say
    then(ready ? ask("/v1/series", series(), signal) : null, ({ body }) => show(body)),
    then(ready ? top.ask({ tz: zone, ...when(), ...pickers.comparing }, signal) : null, ({ body }) => top.show(body)),
    then(seldom ? ask("/v1/series", hours, signal) : null, ({ body }) => tiles.moves(body)),
  ]);
  if (signal.aborted) throw new DOMException("another was chosen", "AbortError");
  const error = answers.find((answer) => answer.reason)?.reason;
  if (error?.status === 400) return refused(error);
  if (error) throw error;
  if (zone === WANTED) at("note").hidden = true;
  return undefined;
}

function showTotals(answer) {
  const found = heard(answer, counter.name);
  lacks = found.lacks;
  if (!lacks || !seen || seen.lacks) seen = found;
  tiles.totals(answer.body.data[0].counts, Boolean(lacks));
  tick();
}

// The reader does not show what was chosen: in UTC it may.
function refused(error) {
  if (error.errors.some((one) => one.parameter === "tz") && zone !== "UTC") {
    zone = "UTC";
    note(`Shown in UTC: ${counter.title} is kept by whole hours, and those of ${WANTED} begin in between.`);
    return look();
  }
  note(explain(error));
  return undefined;
}

function note(text) {
  say(at("note"), text);
  at("note").hidden = false;
}

async function turn() {
  try {
    if (!tiles) await begin();
    await look();
    failed = "";
  } catch (error) {
    if (error.name === "AbortError") return;
    failed = explain(error);
    at("private").hidden = ![401, 403].includes(error.status);
    tick();
    if (await otherToken(error)) again();
    throw error;
  }
  at("private").hidden = true;
  tick();
}

function show(answer) {
  shown = answer;
  const { tz } = answer.query;
  chart.draw(answer, counter.name);
  const count = number(answer.totals[counter.name]);
  say(at("range-total"), `${count}${counter.unit ? ` ${counter.unit}` : ""}`);
  const bounds = answer.query.start ? answer.query : { start: answer.points[0].start, end: answer.points.at(-1).end };
  const before = answer.before ? ` · ${number(answer.before.counts[counter.name])} of them before that` : "";
  say(at("bounds"), `${range(bounds, tz)}, ${tz}${before}`);
  pickers.showing(answer.query.start ? bounds : null, clock());
  say(at("best"), best(answer, counter.name));
  compare(answer);
  if (at("table").open) table();
  if (!told) say(at("announce"), `${counter.title}, ${pickers.title}: ${count}`);
  told = true;
}

function compare({ comparison, query }) {
  at("legend").hidden = !comparison;
  const changes = comparison?.changes[counter.name];
  const found = changes && changes.current !== null && changes.previous !== null ? changes : null;
  at("against").hidden = !found;
  const { text, way } = found ? change(found) : { text: "", way: 0 };
  say(at("change"), text);
  at("change").dataset.way = way;
  if (!found) return;
  const [now, before] = [comparison.current, comparison.previous].map((bounds) => range(bounds, query.tz));
  say(at("against"), `${number(found.current)} (${now}) against ${number(found.previous)} (${before})`);
  say(at("legend-now"), counter.title);
  say(at("legend-before"), { previous_period: "Previous period", year_over_year: "Previous year" }[comparison.compare]);
}

function table() {
  document.querySelector("#points .before").hidden = !shown.comparison;
  fill(document.querySelector("#points tbody"), rowsOf(shown, counter.name));
}

function tick() {
  freshness.show(seen, failed || (seen && !seen.lacks && lacks), zone);
}

function showName() {
  const called = nameOf(field, key);
  say(at("name"), called);
  at("code").hidden = called === at("code").textContent;
  document.title = `\u2068${called}\u2069 · Stitch`;
}

showName();
load(field, [key]).then((came) => came && showName());
const refresh = poll(2, turn);

function again() {
  asking.abort();
  setTimeout(refresh, 0);
}

at("table").addEventListener("toggle", () => shown && at("table").open && table());
at("retoken").addEventListener("click", async () => {
  if (await otherToken({ status: 401 }, true)) again();
});
at("csv").addEventListener("click", async () => {
  const { compare: _, match_weekday: __, ...rest } = series();
  const file = `${counter.name}-${key}`.replace(/[^\p{L}\p{N}_]+/gu, "-").slice(0, 80);
  try {
    await download("/v1/series", { ...rest, format: "csv" }, `${file}.csv`);
  } catch (error) {
    note(explain(error));
  }
});
at("copy").addEventListener("click", async () => {
  at("snippet").select();
  try {
    await navigator.clipboard.writeText(at("snippet").value);
    say(at("copied"), "Copied");
  } catch {
    say(at("copied"), "Press Ctrl+C to copy");
  }
});
setInterval(tick, 1000);
