// The pickers of a page and its address, which say the same: what is chosen can be shared, and gone back to.

import { BY, fitting, moved, said } from "./range.js";

const STEPS = {
  minute: "Minute", quarter_hour: "15 minutes", hour: "Hour", day: "Day", week: "Week", month: "Month",
};

export class Pickers {
  #bounds = {}; // of a range of one's own: dates, or instants after a zoom
  #step = ""; // as chosen; which are offered, the counter says
  #shown = null; // the bounds of what is shown now

  // changed(): somebody chose something else.
  constructor(form, changed) {
    this.form = form;
    this.changed = changed;
    this.#read();
    form.addEventListener("change", (event) => this.#change(event.target));
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const [name, way] of [["earlier", -1], ["later", 1]]) {
      form.querySelector(`[name=${name}]`).addEventListener("click", () => {
        this.#own(moved(this.#shown, way));
      });
    }
    addEventListener("popstate", () => {
      this.#read();
      this.changed();
    });
  }

  get counter() {
    return new URLSearchParams(location.search).get("counter");
  }

  get granularity() {
    return this.form.granularity.value;
  }

  get range() {
    return { period: this.form.period.value, ...this.#bounds };
  }

  get comparing() {
    const { period, compare, match_weekday: weekdays } = this.form;
    if (!compare.value || period.value === "all") return {};
    return { compare: compare.value, match_weekday: weekdays.checked ? "true" : "" };
  }

  // The words of what is chosen.
  get title() {
    return this.form.period.selectedOptions[0].textContent;
  }

  // The steps, and whether there is a last hour, of the counter that is shown.
  offer(counter) {
    const kept = counter.granularities.filter((name) => STEPS[name]);
    const offered = Object.keys(STEPS).filter((name) => kept.includes(name) || name === "week");
    const select = this.form.granularity;
    if ([...select.options].map((one) => one.value).join() !== offered.join()) {
      select.replaceChildren(...offered.map((name) => new Option(STEPS[name], name)));
    }
    const hour = this.form.period.querySelector("[value='1h']");
    hour.hidden = hour.disabled = kept[0] === "hour";
    if (hour.hidden && this.form.period.value === "1h") this.form.period.value = "24h";
    const last = this.form.period.value === "1h";
    const wanted = last ? kept[0] : this.#step || BY[this.form.period.value] || "day";
    select.value = offered.includes(wanted) ? wanted : offered.find((name) => name === "day");
    select.disabled = last;
  }

  // What the chart shows now, for the steps before and after it.
  showing(bounds, now) {
    this.#shown = bounds;
    this.form.earlier.disabled = !bounds;
    this.form.later.disabled = !bounds || Date.parse(bounds.end) > now;
  }

  zoom(bounds) {
    const offered = [...this.form.granularity.options].map((one) => one.value);
    this.#step = fitting(Date.parse(bounds.end) - Date.parse(bounds.start), offered);
    this.#own(said(bounds));
  }

  address(counter) {
    const query = new URLSearchParams(location.search);
    query.set("counter", counter);
    return `?${query}`;
  }

  choose(counter) {
    history.pushState(null, "", this.address(counter));
    this.changed();
  }

  #own(bounds) {
    this.#bounds = bounds;
    this.form.period.value = "custom";
    this.#write();
  }

  #change(field) {
    if (field.name === "period") this.#step = BY[field.value] ?? this.#step;
    if (field.name === "granularity") this.#step = field.value;
    if (["start", "end"].includes(field.name) || (field.name === "period" && field.value === "custom")) {
      this.#bounds = { start: this.form.start.value, end: this.form.end.value };
    }
    this.#write();
  }

  #read() {
    const query = new URLSearchParams(location.search);
    const { form } = this;
    this.#bounds = { start: query.get("start") ?? "", end: query.get("end") ?? "" };
    this.#step = query.get("granularity") ?? "";
    form.period.value = this.#bounds.start && this.#bounds.end ? "custom" : (query.get("period") ?? "30d");
    if (form.period.selectedIndex < 0) form.period.value = "30d";
    form.compare.value = query.get("compare") ?? "";
    if (form.compare.selectedIndex < 0) form.compare.value = "";
    form.match_weekday.checked = query.get("match_weekday") === "true";
    this.#show();
  }

  #write() {
    const query = new URLSearchParams(location.search);
    const { form } = this;
    const custom = form.period.value === "custom";
    const chosen = {
      period: custom ? "" : form.period.value,
      start: custom ? this.#bounds.start : "", end: custom ? this.#bounds.end : "",
      granularity: this.#step, compare: form.compare.value,
      match_weekday: form.compare.value && form.match_weekday.checked ? "true" : "",
    };
    for (const [name, value] of Object.entries(chosen)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    history.pushState(null, "", `?${query}`);
    this.#show();
    this.changed();
  }

  #show() {
    const { form } = this;
    const custom = form.period.value === "custom";
    form.querySelector("#dates").hidden = !custom;
    form.querySelector("#weekdays").hidden = !form.compare.value;
    form.compare.disabled = form.period.value === "all";
    if (custom) {
      form.start.value = this.#bounds.start.slice(0, 10);
      form.end.value = this.#bounds.end.slice(0, 10);
    }
  }
}
