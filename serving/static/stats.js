// The page of one key: what the pickers say is in its address, what it shows is asked every two seconds.

import { ApiError, address, ask, askForToken, poll } from "./api.js";
import { Chart } from "./chart.js";
import { ago, change, link, moment, number, range } from "./format.js";

const root = document.getElementById("stats");
const at = (id) => document.getElementById(id);
const { counter, key, member } = root.dataset;
const pickers = at("pickers");
const chart = new Chart(at("chart"), at("readout"));
const MINE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const BY = {
  "24h": "hour", "7d": "day", "28d": "day", "30d": "day", month: "day", "12mo": "month", year: "month", all: "month",
};

const wanted = new URLSearchParams(location.search).get("tz") || MINE;
let zone = wanted; // or UTC, where the counter cannot be cut by that zone
let seen = null; // { meta, now, heard }: what the last answer rests on, and when it came
let failed = "";
let announced = 0;
let asking = new AbortController();

function read() {
  const query = new URLSearchParams(location.search);
  for (const field of pickers.elements) {
    if (field.type === "checkbox") field.checked = query.get(field.name) === "true";
    else field.value = query.get(field.name) ?? { period: "30d", granularity: "day" }[field.name] ?? "";
  }
  if (query.get("start") && query.get("end")) pickers.period.value = "custom";
  if (!query.get("granularity")) pickers.granularity.value = BY[pickers.period.value] ?? "day";
  show();
}

function write() {
  const query = new URLSearchParams(location.search);
  for (const field of pickers.elements) {
    const value = field.type === "checkbox" ? (field.checked ? "true" : "") : field.value;
    if (value && !(field.name === "period" && value === "custom")) query.set(field.name, value);
    else query.delete(field.name);
  }
  if (pickers.period.value !== "custom") ["start", "end"].forEach((name) => query.delete(name));
  if (!pickers.compare.value) query.delete("match_weekday");
  history.pushState(null, "", `?${query}`);
}

function show() {
  at("dates").hidden = pickers.period.value !== "custom";
  at("weekdays").hidden = !pickers.compare.value;
  pickers.compare.disabled = pickers.period.value === "all";
  const source = `${location.origin}/embed/${counter}?key=${encodeURIComponent(key)}`;
  const size = 'width="180" height="40"';
  at("snippet").value = `<iframe src="${source}" title="${counter}" ${size} frameborder="0"></iframe>`;
}

function asked() {
  const { period, start, end, compare } = pickers;
  const custom = period.value === "custom";
  const ready = !custom || Boolean(start.value && end.value);
  const when = custom ? ready && edges(start.value, end.value, pickers.granularity.value) : { period: period.value };
  const compared = { compare: compare.value, match_weekday: pickers.match_weekday.checked ? "true" : "" };
  const comparing = compare.value && period.value !== "all" ? compared : {};
  return { when, comparing, ready };
}

// The days picked, grown to whole weeks or months where those are shown; the last day is within, the API's end is not.
function edges(first, last, granularity) {
  const [start, end] = [new Date(`${first}T00:00:00Z`), new Date(`${last}T00:00:00Z`)];
  end.setUTCDate(end.getUTCDate() + 1);
  if (granularity === "month") {
    start.setUTCDate(1);
    if (end.getUTCDate() > 1) end.setUTCMonth(end.getUTCMonth() + 1, 1);
  }
  if (granularity === "week") {
    start.setUTCDate(start.getUTCDate() - ((start.getUTCDay() + 6) % 7));
    end.setUTCDate(end.getUTCDate() + ((8 - end.getUTCDay()) % 7));
  }
  return { start: start.toISOString().slice(0, 10), end: end.toISOString().slice(0, 10) };
}

async function turn() {
  const { when, comparing, ready } = asked();
  asking = new AbortController();
  const { signal } = asking;
  const granularity = pickers.granularity.value;
  const series = { counters: counter, key, granularity, tz: zone, fill: "null", ...when, ...comparing };
  // The count of all time is shown whatever the pickers ask for.
  const answers = await Promise.allSettled([
    ask("/v1/totals", { counters: counter, key }, signal),
    ready ? ask("/v1/series", series, signal) : null,
    ready && member ? ask("/v1/top", { counter, key, limit: 10, tz: zone, ...when }, signal) : null,
  ]);
  const [total, points, top] = answers.map((answer) => answer.value);
  if (total) {
    seen = { meta: total.body.meta, now: total.now, heard: performance.now() };
    showTotal(total.body.data[0].counts[counter]);
  }
  if (points) showSeries(points.body);
  if (top) showTop(top.body);
  const error = answers.find((answer) => answer.reason)?.reason;
  try {
    if (error?.name === "AbortError") return;
    failed = "";
    if (error) await explain(error);
    else if (zone === wanted) at("note").hidden = true;
    at("csv").href = address("/v1/series", { ...series, tz: zone, format: "csv" });
  } finally {
    freshness();
  }
}

async function explain(error) {
  if (!(error instanceof ApiError)) {
    failed = "the reader cannot be reached, trying again";
    throw error;
  }
  if (error.status === 401) {
    if (await askForToken(error.message)) return turn();
    failed = "a token is needed";
    throw error;
  }
  const refused = error.errors.find((one) => one.parameter === "tz");
  if (refused && zone !== "UTC") {
    zone = "UTC";
    note(`Shown in UTC: ${refused.detail}`);
    return turn();
  }
  if (error.status === 400) {
    note(error.message);
    return undefined;
  }
  failed = error.status === 503 ? "no layer answers, trying again" : error.message;
  throw error;
}

function note(text) {
  at("note").textContent = text;
  at("note").hidden = false;
}

function showTotal(count) {
  const text = number(count);
  at("total").textContent = text;
  if (Date.now() - announced > 15000) {
    at("announce").textContent = `${text} ${counter}`; // not at each change: a screen reader would never be silent
    announced = Date.now();
  }
}

function showSeries(answer) {
  chart.draw(answer, counter);
  const { tz, granularity } = answer.query;
  at("range-total").textContent = number(answer.totals[counter]);
  const first = answer.query.start ? answer.query : { start: answer.points[0].start, end: answer.points.at(-1).end };
  at("bounds").textContent = `${range(first, tz)}, ${tz}`;
  if (answer.before) at("bounds").textContent += ` · ${number(answer.before.counts[counter])} of them before that`;
  const { current, previous, changes } = answer.comparison ?? {};
  const found = changes?.[counter];
  at("change").textContent = found ? `${change(found.change) || "new"}` : "";
  at("change").dataset.way = found ? Math.sign(found.change ?? 1) : "";
  if (found) {
    const [now, before] = [number(found.current), number(found.previous)];
    at("bounds").textContent += ` · ${now} in ${range(current, tz)} against ${before} in ${range(previous, tz)}`;
  }
  showPoints(answer, tz, granularity);
}

function showPoints(answer, tz, granularity) {
  const compared = Boolean(answer.comparison);
  document.querySelector("#points .before").hidden = !compared;
  const rows = answer.points.map((point) => {
    const known = point.final ? "exact" : point.complete ? "live" : "so far";
    const what = { unknown: "not known", future: "to come" }[point.status] ?? known;
    const cells = [moment(point.start, granularity, tz), number(point.counts[counter])];
    if (compared) cells.push(number(point.previous?.counts[counter]));
    return row([...cells, what], cells.length);
  });
  document.querySelector("#points tbody").replaceChildren(...rows);
}

function row(texts, numbersEnd) {
  const line = document.createElement("tr");
  texts.forEach((text, n) => {
    const cell = document.createElement(n === 0 ? "th" : "td");
    if (n === 0) cell.scope = "row";
    if (n > 0 && n < numbersEnd) cell.className = "n";
    cell.textContent = text;
    line.append(cell);
  });
  return line;
}

function showTop(answer) {
  const largest = Math.max(1, ...answer.members.map((one) => Number(one.count)));
  const rows = answer.members.map((one) => {
    const line = row([one.member, number(one.count)], 2);
    line.style.setProperty("--share", Math.max(0, Number(one.count) / largest));
    return line;
  });
  if (answer.others !== 0) {
    const others = row(["others", number(answer.others)], 2);
    others.className = "others";
    rows.push(others);
  }
  document.querySelector("#top tbody").replaceChildren(...rows);
}

function freshness() {
  const line = at("freshness");
  line.dataset.state = failed ? "stale" : seen?.meta.partial ? "partial" : "live";
  if (!seen) {
    line.textContent = failed || "asking…";
    return;
  }
  const { meta, now, heard } = seen;
  const clock = now + (performance.now() - heard);
  const parts = [];
  if (failed) parts.push(failed, `as of ${ago(performance.now() - heard)}`);
  else if (meta.partial) parts.push(`partial: the ${meta.missing.join(" and the ")} layer is missing`);
  else if (meta.realtime_through) parts.push(`live, ${ago(clock - Date.parse(meta.realtime_through))}`);
  if (meta.cutoff) {
    const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", timeZone: zone });
    parts.push(`exact through ${minute.format(new Date(meta.cutoff))}`);
  }
  const text = parts.join(" · ");
  if (line.textContent !== text) line.textContent = text;
}

read(); // before the first question
const refresh = poll(2, turn);

function again() {
  asking.abort();
  setTimeout(refresh, 0);
}

pickers.addEventListener("change", (event) => {
  if (event.target.name === "period" && BY[event.target.value]) {
    const fits = [...pickers.granularity.options].some((option) => option.value === BY[event.target.value]);
    if (fits) pickers.granularity.value = BY[event.target.value];
  }
  at("note").hidden = true;
  write();
  show();
  again();
});
pickers.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  read();
  again();
});
at("copy").addEventListener("click", async () => {
  at("snippet").select();
  try {
    await navigator.clipboard.writeText(at("snippet").value);
    at("copied").textContent = "copied";
  } catch {
    at("copied").textContent = "selected: press Ctrl+C";
  }
});
setInterval(freshness, 1000);
document.querySelector(".crumb a").href = link(counter, "").replace(/\?key=$/, "");
