// Numbers and times in the words of the reader of the page.

const NUMBER = new Intl.NumberFormat();
const PERCENT = new Intl.NumberFormat(undefined, {
  style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero",
});

// Counts beyond 2^53 come as decimal strings: BigInt keeps every digit.
export function number(count) {
  if (count === null || count === undefined) return "–";
  return NUMBER.format(typeof count === "string" ? BigInt(count) : count);
}

export function change(share) {
  return share === null ? "" : PERCENT.format(share);
}

export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

const PARTS = {
  minute: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  quarter_hour: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  hour: { weekday: "short", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  day: { weekday: "short", year: "numeric", month: "short", day: "numeric" },
  week: { year: "numeric", month: "short", day: "numeric" },
  month: { year: "numeric", month: "long" },
};

export function moment(iso, granularity, timeZone) {
  return new Intl.DateTimeFormat(undefined, { ...PARTS[granularity], timeZone }).format(new Date(iso));
}

// What stands below a tick of the chart: the hour, the day at midnight, the month, the year in January.
export function edge(seconds, step, timeZone) {
  // A day's tick may be an hour early where clocks were set.
  const at = new Date((seconds + (step < 86400 ? 0 : 7200)) * 1000);
  const say = (parts) => new Intl.DateTimeFormat(undefined, { ...parts, timeZone }).format(at);
  const clock = { hour: "numeric", minute: "numeric", hourCycle: "h23", timeZone };
  const hour = new Intl.DateTimeFormat("en", clock).format(at);
  if (step < 86400 && hour !== "00:00") return say({ hour: "2-digit", minute: "2-digit" });
  if (step < 28 * 86400) return say({ day: "numeric", month: "short" });
  const january = new Intl.DateTimeFormat("en", { month: "numeric", timeZone }).format(at) === "1";
  return january ? say({ year: "numeric" }) : say({ month: "short" });
}

// A half-open range as people say it: its last day, not the one after.
export function range(bounds, timeZone) {
  const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", timeZone });
  const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", timeZone });
  const [start, end] = [new Date(bounds.start), new Date(bounds.end)];
  const hour = new Intl.DateTimeFormat("en", { hour: "numeric", hourCycle: "h23", timeZone });
  const midnight = (at) =>
    time
      .formatToParts(at)
      .filter((part) => part.type !== "literal" && part.type !== "dayPeriod")
      .every((part) => Number(part.value) % 12 === 0) && hour.format(at) === "00";
  if (midnight(start) && midnight(end)) return day.formatRange(start, new Date(end - 1));
  return `${day.format(start)} ${time.format(start)} – ${day.format(end)} ${time.format(end)}`;
}

export function link(counter, key) {
  const plain = /^[A-Za-z0-9_][A-Za-z0-9_.~-]*$/.test(key);
  return plain ? `/stats/${counter}/${key}` : `/stats/${counter}?key=${encodeURIComponent(key)}`;
}
