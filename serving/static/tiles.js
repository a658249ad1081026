// The counters of a thing as tiles: the count of all time, what moved in two days, and which one the chart shows.

import { number } from "./format.js";
import { draw, sparkline } from "./spark.js";
import { say } from "./table.js";

function part(kind, name) {
  const made = document.createElement(kind);
  made.className = name;
  return made;
}

export class Tiles {
  #tiles = new Map();

  // href(counter): the address of the page with that counter; chosen(counter): somebody clicked.
  constructor(list, counters, href, chosen) {
    for (const counter of counters) {
      const link = part("a", "tile");
      const parts = {
        title: part("span", "tile-title"), total: part("span", "tile-total"), spark: sparkline(),
        now: part("span", "tile-now"),
      };
      parts.title.textContent = counter.title;
      parts.total.textContent = "–";
      link.append(...Object.values(parts));
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return; // a page of its own
        event.preventDefault();
        chosen(counter.name);
      });
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
      this.#tiles.set(counter.name, { link, ...parts });
    }
    this.href = href;
  }

  choose(counter) {
    for (const [name, { link }] of this.#tiles) {
      link.href = this.href(name);
      if (name === counter) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  // partial: the counts lack a part. A whole one that is shown already stays in place of one that is not.
  totals(counts, partial) {
    for (const [name, { total }] of this.#tiles) {
      if (counts[name] === null || (partial && total.dataset.whole)) continue;
      if (!partial) total.dataset.whole = "true";
      const text = number(counts[name]);
      say(total, text);
      total.style.setProperty("--digits", Math.max(6, text.length)); // as large as the tile is wide
    }
  }

  // answer: /v1/series of two days by the hour.
  moves(answer) {
    const past = answer.points.filter((point) => !Object.values(point.status).includes("future"));
    for (const [name, { spark, now }] of this.#tiles) {
      draw(spark, past.slice(0, -1).map((point) => point.counts[name])); // the present hour has only begun
      const hour = past.at(-1)?.counts[name];
      say(now, `${number(hour)} this hour · ${number(answer.totals[name])} in 48 hours`);
    }
  }
}
