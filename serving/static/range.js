// The range that a page shows: as the address says it, as the API is asked for it, and a step before or after it.

import { midnight } from "./format.js";

const MINUTE = 60_000;
const LENGTH = { minute: MINUTE, quarter_hour: 15 * MINUTE, hour: 60 * MINUTE };
const DAY = 24 * LENGTH.hour;
const STEPS = ["minute", "quarter_hour", "hour", "day", "week", "month"];
// The steps that fit a range: the longest range of each.
const LONGEST = [
  ["minute", DAY / 6], ["quarter_hour", DAY], ["hour", 4 * DAY], ["day", 120 * DAY], ["week", 800 * DAY],
];

// The steps of a named range. `1h` is the page's own, for counts that are kept by less than the hour.
export const BY = {
  "24h": "hour", "48h": "hour", yesterday: "hour", "7d": "day", "28d": "day", "30d": "day", week: "day",
  last_week: "day", month: "day", last_month: "day", quarter: "day", "12mo": "month", year: "month", all: "month",
};

const isDate = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "");
const asDate = (time) => new Date(time).toISOString().slice(0, 10);
const asTime = (date) => Date.parse(`${date}T00:00:00Z`);

// The finest of the offered steps that fits so many milliseconds, or the next coarser one that is offered.
export function fitting(milliseconds, offered) {
  const fit = LONGEST.find(([, longest]) => milliseconds <= longest)?.[0] ?? "month";
  return STEPS.slice(STEPS.indexOf(fit)).find((step) => offered.includes(step)) ?? offered.at(-1);
}

// What the address says as the API's parameters; null where it says too little. Its dates are both within the range, of
// the API the end is not.
export function asked({ period, start, end }, now, finest) {
  if (period === "1h") {
    const step = LENGTH[finest];
    const until = Math.ceil(now / step) * step;
    const iso = (time) => new Date(time).toISOString();
    return { start: iso(until - LENGTH.hour), end: iso(until) };
  }
  if (period !== "custom") return { period };
  if (!start || !end) return null;
  return { start, end: isDate(end) ? asDate(asTime(end) + DAY) : end };
}

// Bounds of the API, half-open, as the address says them.
export function said({ start, end }) {
  if (!midnight(start) || !midnight(end)) return { start, end };
  return { start: start.slice(0, 10), end: asDate(asTime(end.slice(0, 10)) - DAY) };
}

// The range as long before it (way -1) or after it (1): by months where it is whole months, else by days or hours.
export function moved({ start, end }, way) {
  if (!midnight(start) || !midnight(end)) {
    const length = Date.parse(end) - Date.parse(start);
    const shift = (iso) => new Date(Date.parse(iso) + way * length).toISOString();
    return { start: shift(start), end: shift(end) };
  }
  const [first, after] = [start.slice(0, 10), end.slice(0, 10)];
  if (first.endsWith("-01") && after.endsWith("-01")) {
    const months = (date) => Number(date.slice(0, 4)) * 12 + Number(date.slice(5, 7)) - 1;
    const length = way * (months(after) - months(first));
    const shift = (date) => Date.UTC(0, months(date) + length, 1);
    const full = (date) => new Date(shift(date)).setUTCFullYear(Math.floor((months(date) + length) / 12));
    return { start: asDate(full(first)), end: asDate(full(after) - DAY) };
  }
  const length = way * (asTime(after) - asTime(first));
  return { start: asDate(asTime(first) + length), end: asDate(asTime(after) + length - DAY) };
}
