// Keys by their first letters, as they are typed.

import { ROOT, ask, link, otherToken } from "./api.js";
import { load, nameOf } from "./names.js";
import { explain } from "./words.js";

const form = document.getElementById("finder");
const list = document.getElementById("keys");
const found = document.getElementById("found");
const note = document.getElementById("note");
const retoken = document.getElementById("retoken");
const more = document.getElementById("more");
const MISSING = "No such name yet. New ones are listed after the next nightly run; open one by its full name.";
const UNLISTED = "Names cannot be listed here. Type a full name to open its page.";
let counters = [];
let fields = new Map(); // field → a counter of it, whose keys are listed
let next = null;
let timer = 0;
let asking = new AbortController();

async function begin() {
  const { body } = await ask("/v1/counters", {});
  counters = body.data;
  fields = new Map(body.data.map((one) => [one.key, one]).toReversed());
  const labels = [...fields].toReversed().map(([field, one]) => new Option(one.key_label, field));
  form.field.replaceChildren(...labels);
  if (fields.has(form.dataset.field)) form.field.value = form.dataset.field;
  if (!fields.size) throw Object.assign(new Error(), { status: 401 });
}

function item(field, key) {
  const line = document.createElement("li");
  const anchor = document.createElement("a");
  const name = document.createElement("bdi");
  anchor.href = link(field, key);
  name.textContent = nameOf(field, key);
  anchor.title = key;
  anchor.append(name);
  line.append(anchor);
  load(field, [key]).then((came) => {
    if (came) name.textContent = nameOf(field, key);
  });
  return line;
}

// Where names are listed, their charts may be seen.
function charts(field) {
  const links = counters.filter((one) => one.key === field && one.chart).map((one) => {
    const anchor = document.createElement("a");
    anchor.href = `${ROOT}/charts/${one.name}`;
    anchor.textContent = `${one.title} by ${one.key_label.toLowerCase()}`;
    return anchor;
  });
  const line = document.getElementById("charts");
  line.replaceChildren("Charts: ", ...links.flatMap((one, n) => (n ? [", ", one] : [one])));
  line.hidden = links.length === 0;
}

async function look(after) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  try {
    if (!fields.size) await begin();
    const field = form.field.value;
    const prefix = form.key.value;
    document.getElementById("key-name").textContent = `${fields.get(field).key_label} begins with`;
    const { body } = await ask("/v1/keys", { counter: fields.get(field).name, prefix, limit: 30, after }, signal);
    const items = body.data.map((row) => item(field, row.key));
    if (after) list.append(...items);
    else list.replaceChildren(...items);
    next = body.next;
    more.hidden = next === null;
    const count = list.children.length;
    found.textContent = count ? `${count}${next === null ? "" : " or more"} found` : MISSING;
    note.hidden = true;
    charts(field);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return undefined;
    const unlisted = fields.size > 0 && [401, 403].includes(error.status); // a right of its own
    if (!unlisted && (await otherToken(error))) return look(after);
    list.replaceChildren();
    document.getElementById("charts").hidden = true;
    document.getElementById("reason").textContent = unlisted ? UNLISTED : explain(error);
    retoken.hidden = ![401, 403].includes(error.status);
    note.hidden = false;
  }
  return undefined;
}

form.field.addEventListener("change", () => look());
form.key.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, 150);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.key.value && form.field.value) location.href = link(form.field.value, form.key.value);
});
more.addEventListener("click", () => look(next));
retoken.addEventListener("click", async () => {
  if (await otherToken({ status: 401 }, true)) look();
});
look();
