// One live count in a frame of another page.

import { ask, poll } from "./api.js";
import { number } from "./format.js";

const { counter, key } = document.body.dataset;
const period = new URLSearchParams(location.search).get("period");

poll(5, async () => {
  const { body } = await ask("/v1/totals", { counters: counter, key, period });
  document.getElementById("count").textContent = number(body.data[0].counts[counter]);
});
