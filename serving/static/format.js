// Numbers, times and names as the person at the page writes them.

// The page's words are English and its days the API's: digits are Latin and the calendar is Gregorian for everybody,
// and where people write from right to left, numbers and dates are English like the words around them.
function chosen(language) {
  try {
    const mine = new Intl.Locale(language).maximize();
    const rightToLeft = ["Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg"].includes(mine.script);
    const latin = { calendar: "gregory", numberingSystem: "latn" };
    return new Intl.Locale(rightToLeft ? "en-GB" : language, latin).toString();
  } catch {
    return "en-GB"; // a language that is none
  }
}

export const LOCALE = chosen(navigator.language || "en-GB");
const NUMBER = new Intl.NumberFormat(LOCALE);
const COMPACT = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 2 });
const PERCENT = new Intl.NumberFormat(LOCALE, {
  style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero",
});
const SHARE = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 1 });

// Counts beyond 2^53 come as decimal strings: BigInt keeps every digit.
export function number(count) {
  if (count === null || count === undefined) return "–";
  return NUMBER.format(typeof count === "string" ? BigInt(count) : count);
}

// Room for a number beside an axis is small: 1.2M.
export function compact(count) {
  return Math.abs(count) < 10_000 ? NUMBER.format(count) : COMPACT.format(count);
}

// A change of the API in words and as a direction: 1 more, -1 less, 0 the same, or none to compare with.
export function change({ current, previous, change: by }) {
  if (current === null || previous === null) return { text: "", way: 0 }; // not known
  if (by !== null) return { text: PERCENT.format(by), way: Math.sign(by) };
  if (Number(current) === 0) return { text: "no change", way: 0 };
  return Number(current) > 0 ? { text: "new", way: 1 } : { text: "", way: 0 };
}

// By how much more, or less, in a change of the API.
export function difference({ current, previous }) {
  if (current === null || previous === null) return "";
  const by = BigInt(current) - BigInt(previous);
  return `${by > 0n ? "+" : ""}${NUMBER.format(by)}`;
}

export function share(count, total) {
  const whole = Number(total);
  const part = whole > 0 ? Number(count) / whole : -1;
  return part >= 0 && part <= 1 ? SHARE.format(part) : "–"; // of a sum with negative parts nothing is a share
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
  return new Intl.DateTimeFormat(LOCALE, { ...PARTS[granularity], timeZone }).format(new Date(iso));
}

export function minute(iso, timeZone) {
  return new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short", timeZone }).format(new Date(iso));
}

export function day(date) {
  return new Intl.DateTimeFormat(LOCALE, { dateStyle: "long", timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`));
}

// What stands below a tick of the chart: the hour, the day at midnight, the month, the year in January.
export function edge(seconds, step, timeZone) {
  // A day's tick may be an hour early where clocks were set.
  const at = new Date((seconds + (step < 86400 ? 0 : 7200)) * 1000);
  const say = (parts) => new Intl.DateTimeFormat(LOCALE, { ...parts, timeZone }).format(at);
  const clock = { hour: "numeric", minute: "numeric", hourCycle: "h23", timeZone };
  const hour = new Intl.DateTimeFormat("en", clock).format(at);
  if (step < 86400 && hour !== "00:00") return say({ hour: "2-digit", minute: "2-digit" });
  if (step < 28 * 86400) return say({ day: "numeric", month: "short" });
  const january = new Intl.DateTimeFormat("en", { month: "numeric", timeZone }).format(at) === "1";
  return january ? say({ year: "numeric" }) : say({ month: "short" });
}

// Whether a bound, as the API says it, is the midnight of its zone.
export const midnight = (iso) => iso.slice(11, 19) === "00:00:00";

// A half-open range as people say it: its last day, not the one after.
export function range({ start, end }, timeZone) {
  const date = new Intl.DateTimeFormat(LOCALE, { year: "numeric", month: "short", day: "numeric", timeZone });
  if (midnight(start) && midnight(end)) return date.formatRange(new Date(start), new Date(Date.parse(end) - 1));
  return `${midnight(start) ? date.format(new Date(start)) : minute(start, timeZone)} – ${minute(end, timeZone)}`;
}

// Characters that no font shows, as pictures of them; serving/pages/routes.py does the same.
export function visible(text) {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f]/g, (one) =>
    one === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + one.charCodeAt(0)),
  );
}
