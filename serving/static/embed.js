// One live count in a frame of another page. It keeps the last whole one, and says as of when where that is not now.

import { ask, poll } from "./api.js";
import { LATE, behind, heard } from "./freshness.js";
import { minute, number } from "./format.js";
import { say } from "./table.js";

const { counter } = document.body.dataset;
const key = JSON.parse(document.body.dataset.key);
const period = new URLSearchParams(location.search).get("period");
const when = document.getElementById("as-of");
let seen = null; // what was heard with the count that is shown

poll(5, async () => {
  try {
    const answer = await ask("/v1/totals", { counters: counter, key, period });
    const count = answer.body.data[0].counts[counter];
    const found = heard(answer, counter);
    if (count !== null && (!found.lacks || !seen || seen.lacks)) {
      seen = found;
      say(document.getElementById("count"), number(count));
    }
  } finally {
    when.hidden = !seen?.asOf || (!seen.lacks && behind(seen) <= LATE);
    say(when, when.hidden ? "" : `as of ${minute(seen.asOf)}`);
  }
});
