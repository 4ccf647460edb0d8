// The files of the repository: indexed, changed since, or left out and why.

import { address, isAbort, request } from "./api.js";
import { debounced, h, refill } from "./dom.js";
import { count, plural, visible } from "./format.js";
import { failed, waiting } from "./notice.js";
import { openSource } from "./source.js";
import { chosenRepo } from "./state.js";

const MOST = 200;
const PAUSE = 160;
const STATES = [
  ["indexed", "Indexed"],
  ["changed", "Changed"],
  ["left out", "Left out"],
];
const NONE = { indexed: "No file is indexed.", changed: "No file changed.", "left out": "No file is left out." };

const counts = new Map(STATES.map(([state]) => [state, h("span", { class: "number" })]));
const states = h(
  "fieldset",
  { class: "segments" },
  h("legend", { class: "unseen" }, "State of the files"),
  STATES.map(([value, label]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name: "state", value, checked: value === "indexed" }),
      h("span", {}, label, " ", counts.get(value)),
    ),
  ),
);
const part = h("input", {
  type: "search",
  placeholder: "Part of the path",
  "aria-label": "Filter files by a part of their path",
  autocomplete: "off",
  autocapitalize: "off",
  spellcheck: "false",
});
const form = h("form", { class: "model-tools", "aria-label": "Filter files" }, states, part);
const list = h("div", { class: "file-list" });

export const files = h("div", {}, form, list);

let running = null;
let explain = () => {};

/** Say who explains a file that is not simply indexed. */
export const onExplain = (work) => {
  explain = work;
};

const later = debounced(loadFiles, PAUSE);
part.addEventListener("input", later);
states.addEventListener("change", () => loadFiles());
form.addEventListener("submit", (event) => event.preventDefault());

/** Ask for the files that the form wants, as they were seen last. */
export async function loadFiles() {
  const repo = chosenRepo();
  if (repo === null) return;
  running?.abort();
  const mine = new AbortController();
  running = mine;
  if (list.childElementCount === 0) refill(list, waiting("Looking at the files…"));
  const state = form.elements.state.value;
  try {
    const query = { repo, state, contains: part.value.trim(), limit: MOST, look: false };
    const got = await request(address("api/files", query), { signal: mine.signal });
    for (const [name, shown] of counts) shown.textContent = count(got.counts[name] ?? 0);
    draw(repo, state, got);
  } catch (error) {
    if (!isAbort(error)) refill(list, failed(error, loadFiles));
  }
}

function draw(repo, state, { files: found, total }) {
  const rest = total - found.length;
  refill(
    list,
    found.length === 0 && h("p", { class: "quiet" }, part.value.trim() ? "No such file." : NONE[state]),
    h(
      "ul",
      { "aria-label": "Files" },
      found.map((file) => row(repo, file)),
    ),
    rest > 0 && h("p", { class: "quiet" }, `and ${plural(rest, "more file")}; say a part of the path`),
  );
}

function row(repo, file) {
  const known = file.state === "indexed";
  const told = known ? `${file.language || "text"} · ${plural(file.chunks, "chunk")}` : file.reason;
  const press = () => (known ? openSource({ repo, path: file.path, start: 1, end: 1 }) : explain(file.path));
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "plain", title: known ? "Open the source" : "Explain", onClick: press },
      h("bdi", { class: "mono" }, visible(file.path)),
      h("span", { class: "quiet" }, visible(told)),
    ),
  );
}
