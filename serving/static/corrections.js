// What the nightly batch corrected, told in a sentence for each day.

import { ask } from "./api.js";
import { day, number } from "./format.js";
import { say } from "./table.js";

// "12 plays of 3 March 2024 were removed: duplicates, or events that are not to be counted."
export function sentence({ day: date, difference }, counter) {
  const less = String(difference).startsWith("-");
  const count = number(typeof difference === "number" ? Math.abs(difference) : difference.replace("-", ""));
  const what = (counter.unit ?? counter.title).toLowerCase();
  const why = less
    ? "were removed: duplicates, or events that are not to be counted"
    : "were added: events that arrived late";
  return `${count} ${what} of ${day(date)} ${why}.`;
}

// The corrections of a counter, the newest day first; none where they may not be seen.
export async function corrections(counter) {
  try {
    const { body } = await ask("/v1/corrections", { counter: counter.name });
    return body.data.filter((row) => Number(row.difference) !== 0).toReversed();
  } catch {
    return [];
  }
}

export async function showCorrections(section, counter) {
  section.hidden = true;
  const rows = await corrections(counter);
  if (!rows.length) return;
  const lines = rows.map((row) => {
    const line = document.createElement("li");
    line.textContent = sentence(row, counter);
    return line;
  });
  say(
    section.querySelector("p"),
    `In the last 30 days, over every ${counter.key_label.toLowerCase()}. Days are in UTC.`,
  );
  section.querySelector("ul").replaceChildren(...lines);
  section.hidden = false;
}
