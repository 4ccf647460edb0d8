// What a score is made of, in words and bars.

import { h } from "./dom.js";
import { meter } from "./meter.js";

const FACTORS = new Set(["kind of file", "same file"]);
const WHY = {
  words: "the share of the query's words that it holds, rare ones counting more",
  cosine: "how near its meaning is to the query's",
  "file words": "its file as a whole holds the query's words",
  "file name": "the query covers words of the file's name",
  folder: "the query covers words of the folder's name",
  definition: "it defines a name that the query has",
  path: "the query is this path",
  phrase: "it holds what the query has in quotes",
  coherence: "other chunks of its file are good too",
  "kind of file": "tests and prose stand behind code unless asked for",
  "same file": "further chunks of one file count less",
};

/** The parts that took part: an addend of 0 and a factor of 1 say nothing. */
export const telling = (parts) =>
  (parts ?? []).filter(
    ({ name, value }) => Number.isFinite(value) && (FACTORS.has(name) ? value !== 1 : Math.abs(value) >= 0.005),
  );

/** A table of the parts of a score. */
export function explanation(parts) {
  const told = telling(parts);
  if (told.length === 0) return h("p", { class: "quiet" }, "The server gave no parts of this score.");
  const most = Math.max(1, ...told.filter(({ name }) => !FACTORS.has(name)).map(({ value }) => value));
  return h(
    "table",
    { class: "parts" },
    h("caption", { class: "unseen" }, "What the score is made of"),
    h(
      "thead",
      { class: "unseen" },
      h(
        "tr",
        {},
        ["Part", "Value", "Share", "Why"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h(
      "tbody",
      {},
      told.map((part) => row(part, most)),
    ),
  );
}

function row({ name, value, why }, most) {
  const factor = FACTORS.has(name);
  const bar = factor ? null : meter(value, most, name);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    h("td", { class: "number" }, factor ? `× ${value.toFixed(2)}` : value.toFixed(2)),
    h("td", { class: "bar" }, bar),
    h("td", { class: "why" }, why || WHY[name] || ""),
  );
}
