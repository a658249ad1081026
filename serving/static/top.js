// The members of a thing by count, with their share; they lead on to pages of their own.

import { ask, link } from "./api.js";
import { change, number, share } from "./format.js";
import { load, nameOf } from "./names.js";
import { fill, say } from "./table.js";

const FIRST = 10;
const MOST = 1000;

export class Top {
  #counter = null;
  #limit = FIRST;

  constructor(section, key, more) {
    this.section = section;
    this.key = key;
    this.button = section.querySelector("button");
    this.button.addEventListener("click", () => {
      this.#limit = Math.min(MOST, this.#limit * 3);
      more();
    });
  }

  // counter: whose members are shown; leads: whether they have pages.
  of(counter, leads) {
    this.#counter = counter.member ? counter : null;
    this.#limit = FIRST;
    this.leads = leads;
    this.section.hidden = !this.#counter;
    if (!this.#counter) return;
    say(this.section.querySelector("h2"), `By ${counter.member_label.toLowerCase()}`);
    say(this.section.querySelector("thead th"), counter.member_label);
    fill(this.section.querySelector("tbody"), []);
  }

  ask(asked, signal) {
    if (!this.#counter) return null;
    return ask("/v1/top", { counter: this.#counter.name, key: this.key, limit: this.#limit, ...asked }, signal);
  }

  show(answer) {
    const field = this.#counter.member;
    const members = answer.members.map((one) => one.member);
    const compared = answer.comparison !== undefined;
    this.section.querySelector("thead .before").hidden = !compared;
    const body = this.section.querySelector("tbody");
    const rows = () => [...answer.members.map((one, n) => this.#row(one, n, answer)), ...others(answer, compared)];
    const draw = () => fill(body, rows());
    draw();
    const largest = Math.max(1, ...answer.members.map((one) => Number(one.count)));
    [...body.rows].forEach((line, at) => {
      const count = Number(answer.members[at]?.count ?? 0);
      line.style.setProperty("--share", Math.max(0, count / largest));
    });
    this.button.hidden = answer.next === null || this.#limit >= MOST;
    load(field, members).then((came) => came && draw());
  }

  #row(one, at, answer) {
    const compared = answer.comparison?.data;
    const field = this.#counter.member;
    const href = this.leads ? link(field, one.member) : undefined;
    const cells = [
      { text: nameOf(field, one.member), name: true, href },
      { text: number(one.count), kind: "n" },
      { text: share(one.count, answer.total), kind: "n quiet" },
    ];
    if (compared) {
      const { text, way } = change(compared[at]);
      cells.push({ text, way, kind: "n change" });
    }
    return cells;
  }
}

function others(answer, compared) {
  if (Number(answer.others) === 0) return [];
  const cells = [
    { text: "Others", kind: "quiet" }, { text: number(answer.others), kind: "n quiet" },
    { text: share(answer.others, answer.total), kind: "n quiet" },
  ];
  return [compared ? [...cells, { text: "", kind: "n" }] : cells];
}
