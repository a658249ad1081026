// The state of the counting, for whoever runs it: layers, lag, cutoffs, last runs, corrections.

import { ask, otherToken, poll } from "./api.js";
import { corrections, sentence } from "./corrections.js";
import { ago, minute, number } from "./format.js";
import { fill, say } from "./table.js";
import { explain } from "./words.js";

const at = (id) => document.getElementById(id);
const body = (id) => document.querySelector(`#${id} tbody`);
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const LATE = 60_000;
const LAYERS = { batch: "Batch: all events up to the cutoff", realtime: "Real-time: events since the cutoff" };
const STATES = {
  counting: "Counting", refused: "Refused by the publish guard", loading: "Loading", published: "Published",
};
const FIGURES = ["records", "rejected", "excluded", "duplicates"];
let titles = null; // counter → { title, … }

function layers(status, now) {
  const through = status.meta.realtime_through;
  const behind = through ? now - Date.parse(through) : 0;
  const lag = through ? `counted up to ${minute(through, ZONE)}, ${ago(behind)}` : "has counted nothing yet";
  const rows = Object.entries(status.layers).map(([name, { up }]) => {
    const late = name === "realtime" && behind > LATE;
    const answering = name === "realtime" ? `Answering, ${lag}` : "Answering";
    const said = !up ? "Not answering" : late ? `Delayed: ${lag}` : answering;
    return [{ text: LAYERS[name] }, { text: said, kind: up && !late ? "good" : "bad" }];
  });
  fill(body("layers"), rows);
}

function cutoffs(status, now) {
  const none = status.layers.batch.up ? "Not counted by the batch yet" : "Not known until the batch layer answers";
  const rows = Object.entries(status.cutoffs).map(([name, cutoff]) => [
    { text: titles.get(name)?.title ?? name, name: true },
    { text: name, kind: "quiet", name: true },
    { text: cutoff ? minute(cutoff, ZONE) : none },
    { text: cutoff ? ago(now - Date.parse(cutoff)) : "", kind: "n" },
  ]);
  fill(body("cutoffs"), rows);
}

function runs(status) {
  const rows = status.runs.map((run) => [
    { text: minute(run.since, ZONE) },
    { text: run.kind },
    { text: STATES[run.state] ?? run.state, kind: run.state === "refused" ? "bad" : "" },
    { text: minute(run.cutoff, ZONE) },
    ...FIGURES.map((name) => ({ text: number(run.figures[name]), kind: "n" })),
    { text: number(run.left), kind: "n" },
  ]);
  fill(body("runs"), rows);
  at("no-runs").hidden = rows.length > 0;
}

async function corrected() {
  const found = await Promise.all(
    [...titles.values()].map(async (one) => (await corrections(one)).map((row) => ({ row, one }))),
  );
  const lines = found.flat().toSorted((a, b) => b.row.day.localeCompare(a.row.day)).slice(0, 50).map(({ row, one }) => {
    const line = document.createElement("li");
    line.textContent = `${one.title}: ${sentence(row, one)}`;
    return line;
  });
  at("corrections").replaceChildren(...lines);
  at("no-corrections").hidden = lines.length > 0;
}

poll(5, async () => {
  try {
    if (!titles) {
      const { body: answer } = await ask("/v1/counters", {});
      titles = new Map(answer.data.map((one) => [one.name, one]));
      corrected();
    }
    const { body: status, now } = await ask("/v1/status", {});
    layers(status, now);
    cutoffs(status, now);
    runs(status);
    at("note").hidden = true;
  } catch (error) {
    say(at("note"), explain(error));
    at("note").hidden = false;
    if (await otherToken(error)) titles = null;
    throw error;
  }
});
