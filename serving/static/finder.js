// Keys of a counter by prefix, as they are typed.

import { ApiError, ask, askForToken } from "./api.js";
import { link } from "./format.js";

const form = document.getElementById("finder");
const list = document.getElementById("keys");
const found = document.getElementById("found");
const note = document.getElementById("note");
const more = document.getElementById("more");
let next = null;
let timer = 0;
let asking = new AbortController();

function item(counter, key) {
  const line = document.createElement("li");
  const anchor = document.createElement("a");
  anchor.href = link(counter, key);
  anchor.textContent = key;
  line.append(anchor);
  return line;
}

async function look(after) {
  asking.abort();
  asking = new AbortController();
  const counter = form.counter.value;
  const prefix = form.key.value;
  try {
    const { body } = await ask("/v1/keys", { counter, prefix, limit: 30, after }, asking.signal);
    const items = body.data.map((row) => item(counter, row.key));
    if (after) list.append(...items);
    else list.replaceChildren(...items);
    next = body.next;
    more.hidden = next === null;
    const count = list.children.length;
    const keys = count === 1 ? "key" : "keys";
    found.textContent = count
      ? `${count}${next === null ? "" : " or more"} ${keys} ${prefix ? `beginning with “${prefix}”` : ""}`
      : "no key that the nightly batch has counted begins so; a newer one is shown all the same";
    note.hidden = true;
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401 && (await askForToken(error.message))) return look(after);
    note.textContent = error instanceof ApiError ? error.message : "the reader cannot be reached";
    note.hidden = false;
  }
}

function choose() {
  const option = form.counter.selectedOptions[0];
  document.getElementById("key-name").textContent = option.dataset.key;
  look();
}

form.counter.addEventListener("change", choose);
form.key.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, 150);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.key.value) location.href = link(form.counter.value, form.key.value);
});
more.addEventListener("click", () => look(next));
choose();
