// How new the counts are: a line for the eye that moves each second, and a word for the ear when something changes.

import { ago, minute } from "./format.js";
import { say } from "./table.js";

export const LATE = 60_000; // milliseconds behind, from which counts are called delayed
const MEANS = {
  live: "The counts are live.", late: "The counts are delayed.", partial: "Some counts are missing.",
};

// What an answer says of a counter: everything that came before `asOf` is counted, and before `cutoff` finally; `lacks`
// is what is missing, "" where nothing is.
export function heard({ body: { meta }, now }, counter) {
  const mine = meta.counters[counter];
  const which = meta.missing?.includes("batch") ? "Older" : meta.missing?.includes("realtime") ? "New" : "Some";
  const lacks = meta.partial ? `${which} events are missing right now` : "";
  return { asOf: mine.as_of, cutoff: mine.cutoff, lacks, now, came: performance.now() };
}

export const behind = (seen) => (seen.asOf ? seen.now + (performance.now() - seen.came) - Date.parse(seen.asOf) : 0);

export class Freshness {
  #told = "live";

  // line: seen and not read out; ear: read out.
  constructor(line, ear) {
    this.line = line;
    this.ear = ear;
  }

  // seen: what was heard with the counts that are shown; failed: why there are no newer ones, "" where there are.
  show(seen, failed, zone) {
    const state = failed ? "stale" : !seen ? "" : seen.lacks ? "partial" : behind(seen) > LATE ? "late" : "live";
    this.line.dataset.state = state;
    say(this.line, seen ? sentences(seen, failed, zone) : failed || "Loading…");
    if (state) this.#tell(state, failed || MEANS[state]);
  }

  #tell(state, text) {
    if (state === this.#told) return;
    this.#told = state;
    say(this.ear, text);
  }
}

function sentences(seen, failed, zone) {
  const found = [];
  if (failed) found.push(failed, `Shown as of ${minute(seen.asOf ?? seen.now, zone)}`);
  else if (seen.lacks) found.push(seen.lacks);
  else if (seen.asOf && behind(seen) > LATE) found.push(`Delayed: counted up to ${minute(seen.asOf, zone)}`);
  else if (seen.asOf) found.push(`Live, ${ago(behind(seen))}`);
  if (seen.cutoff) found.push(`final up to ${minute(seen.cutoff, zone)}`);
  return found.join(" · ");
}
