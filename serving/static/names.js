// What people call keys and members: by the table of the settings, the browser's names of countries, or an address that
// the settings name. `serving.names` of the settings is in the page.

import { LOCALE, visible } from "./format.js";

const RULES = JSON.parse(document.querySelector("[data-names]")?.dataset.names ?? "{}");
const found = new Map(); // "field value" → name, or null while it is asked for and where there is none

export function nameOf(field, value) {
  const { table = {}, kind } = RULES[field] ?? {};
  if (Object.hasOwn(table, value)) return table[value];
  const asked = found.get(`${field} ${value}`);
  if (asked) return asked;
  if (kind === "country" && /^[A-Za-z]{2}$/.test(value)) {
    return new Intl.DisplayNames([LOCALE], { type: "region", fallback: "code" }).of(value.toUpperCase());
  }
  return visible(value);
}

// Asks for the names that are not known yet; resolves to whether any came.
export async function load(field, values) {
  const { table = {}, url } = RULES[field] ?? {};
  if (!url) return false;
  const missing = values.filter((value) => !Object.hasOwn(table, value) && !found.has(`${field} ${value}`));
  const came = await Promise.all(
    missing.map(async (value) => {
      found.set(`${field} ${value}`, null);
      const name = await ask(url.replaceAll("{key}", encodeURIComponent(value)));
      if (name) found.set(`${field} ${value}`, name);
      return Boolean(name);
    }),
  );
  return came.some(Boolean);
}

async function ask(address) {
  try {
    const response = await fetch(address, { credentials: "omit", signal: AbortSignal.timeout(5000) });
    if (!response.ok) return null;
    const json = response.headers.get("Content-Type")?.includes("json");
    const name = json ? (await response.json()).name : await response.text();
    return typeof name === "string" && name.trim() ? visible(name.trim().slice(0, 200)) : null;
  } catch {
    return null; // the value itself is shown
  }
}
