// The things of a counter that counted most, or rose most. What is chosen is in the address; what is shown is asked for
// again every few seconds.

import { ask, download, link, otherToken, poll } from "./api.js";
import { Freshness, heard } from "./freshness.js";
import { change, difference, minute, number, range } from "./format.js";
import { load, nameOf } from "./names.js";
import { fill, say } from "./table.js";
import { explain } from "./words.js";

const root = document.getElementById("charts");
const at = (id) => document.getElementById(id);
const form = at("pickers");
const body = root.querySelector("tbody");
const { counter, field } = root.dataset;
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const FIRST = 10;
const MOST = 100;
const NOBODY = { count: "Nothing was counted in this range.", rising: "Nothing rose in this range." };

let limit = FIRST;
let seen = null; // what was heard with the counts that are shown
let failed = ""; // why there are no newer ones
let told = true; // whether the person knows what came of the last choice
let asking = new AbortController();
const freshness = new Freshness(at("freshness"), at("announce"));

// What the address says, of what may be chosen.
function choose() {
  const chosen = new URLSearchParams(location.search);
  for (const picker of [form.period, form.order]) {
    const value = chosen.get(picker.name);
    picker.value = [...picker.options].some((option) => option.value === value) ? value : picker.options[0].value;
  }
  allow();
}

// All time faces no earlier range.
function allow() {
  const all = form.period.value === "all";
  form.order.disabled = all;
  if (all) form.order.value = "count";
}

function asked() {
  const [period, order] = [form.period.value, form.order.value];
  return { counter, period, order, limit, compare: period === "all" ? "" : "previous_period" };
}

function show(answer) {
  const keys = answer.keys.map((one) => one.key);
  const draw = () => fill(body, answer.keys.map((one, n) => row(one, n, answer)));
  draw();
  bars(answer);
  const { order, start, tz } = answer.query;
  at("change").hidden = !answer.comparison;
  say(at("change"), order === "rising" ? "More" : "Change");
  say(at("range"), form.period.selectedOptions[0].text);
  const facing = answer.comparison && `, compared with ${range(answer.comparison.previous, tz)}`;
  say(at("bounds"), start ? `${range(answer.query, tz)}, ${tz}${facing ?? ""}` : "");
  say(at("known"), `Who is listed was decided by what was counted up to ${minute(answer.as_of, ZONE)}.`);
  at("unsure").hidden = answer.exact;
  at("nobody").hidden = keys.length > 0;
  say(at("nobody"), NOBODY[order]);
  at("more").hidden = keys.length < limit || limit >= MOST;
  at("content").hidden = false;
  if (!told) say(at("announce"), `${at("range").textContent}: ${keys.length} listed`);
  told = true;
  load(field, keys).then((came) => came && draw());
}

function row(one, n, { query, comparison }) {
  const cells = [
    { text: nameOf(field, one.key), name: true, href: link(field, one.key) },
    { text: number(one.count), kind: "n" },
  ];
  const changed = comparison?.data[n];
  if (!changed) return cells;
  const { text, way } = change(changed);
  return [...cells, { text: query.order === "rising" ? difference(changed) : text, way, kind: "n change" }];
}

// How long a bar is follows what the order is by.
function bars({ keys, query, comparison }) {
  const rise = (n) => Number(comparison.data[n].current) - Number(comparison.data[n].previous);
  const sizes = keys.map((one, n) => (query.order === "rising" ? rise(n) : Number(one.count)));
  const largest = Math.max(1, ...sizes);
  [...body.rows].forEach((line, n) => line.style.setProperty("--share", Math.max(0, sizes[n] / largest)));
}

async function look() {
  asking = new AbortController();
  const { signal } = asking;
  const answer = await ask("/v1/chart", asked(), signal);
  if (signal.aborted) throw new DOMException("another was chosen", "AbortError");
  seen = heard(answer, counter);
  show(answer.body);
}

function note(text) {
  say(at("note"), text);
  at("note").hidden = !text;
}

async function turn() {
  try {
    await look();
    failed = "";
    note("");
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 400) note(explain(error));
    else failed = explain(error);
    at("private").hidden = ![401, 403].includes(error.status);
    tick();
    if (await otherToken(error)) again();
    throw error;
  }
  at("private").hidden = true;
  tick();
}

function tick() {
  freshness.show(seen, failed, ZONE);
}

choose();
const refresh = poll(5, turn);

function again() {
  asking.abort();
  setTimeout(refresh, 0);
}

form.addEventListener("change", () => {
  allow();
  limit = FIRST;
  told = false;
  history.pushState(null, "", `?${new URLSearchParams({ period: form.period.value, order: form.order.value })}`);
  again();
});
addEventListener("popstate", () => {
  choose();
  again();
});
at("more").addEventListener("click", () => {
  limit = Math.min(MOST, limit * 3);
  again();
});
at("retoken").addEventListener("click", async () => {
  if (await otherToken({ status: 401 }, true)) again();
});
at("csv").addEventListener("click", async () => {
  const { compare: _, ...rest } = asked();
  try {
    await download("/v1/chart", { ...rest, limit: MOST, format: "csv" }, `${counter}-${rest.period}.csv`);
  } catch (error) {
    note(explain(error));
  }
});
setInterval(tick, 1000);
