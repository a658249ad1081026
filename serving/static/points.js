// The points of a series as rows of a table, and the best of them.

import { moment, number } from "./format.js";

const BEST = {
  minute: "Best minute", quarter_hour: "Best 15 minutes", hour: "Best hour", day: "Best day", week: "Best week",
  month: "Best month",
};

// The count that a point is compared with; null where there is none, undefined without a comparison.
export function earlier(answer, at, counter) {
  if (!answer.comparison) return undefined;
  return answer.points[at].previous?.counts[counter] ?? null;
}

function words(point, counter) {
  const status = point.status[counter];
  if (status === "unknown") return "Not known";
  if (status === "future") return "Upcoming";
  if (!point.complete[counter]) return "In progress";
  return point.final[counter] ? "Final" : "May still change";
}

// Rows for table.js; with a third column where there is a comparison.
export function rowsOf(answer, counter) {
  const { tz, granularity } = answer.query;
  return answer.points.map((point, at) => {
    const cells = [
      { text: moment(point.start, granularity, tz) }, { text: number(point.counts[counter]), kind: "n" },
    ];
    if (answer.comparison) cells.push({ text: number(earlier(answer, at, counter)), kind: "n" });
    return [...cells, { text: words(point, counter) }];
  });
}

// "Best day: Sat, 2 Mar 2024 (1,234)"; "" where nothing stands out.
export function best(answer, counter) {
  const { tz, granularity } = answer.query;
  const counted = answer.points.filter(
    (point) => point.status[counter] === "known" && Number(point.counts[counter]) > 0,
  );
  if (counted.length < 2) return "";
  const most = counted.reduce((one, other) =>
    Number(other.counts[counter]) > Number(one.counts[counter]) ? other : one,
  );
  return `${BEST[granularity]}: ${moment(most.start, granularity, tz)} (${number(most.counts[counter])})`;
}
