// The index: its facts, what is wrong with it, its files, and why a file is in it or not.

import { address, isAbort, request } from "./api.js";
import { h, refill } from "./dom.js";
import { visible } from "./format.js";
import { icon } from "./icons.js";
import { repoFacts } from "./index_facts.js";
import { files, loadFiles, onExplain } from "./index_files.js";
import { copyButton, empty, failed, waiting } from "./notice.js";
import { change, route } from "./router.js";
import { openSource } from "./source.js";
import { chosenRepo, look, onChange, repoNamed, repos, retry, state } from "./state.js";

/** How often times are told anew, in milliseconds; nothing is asked for it. */
const MINUTE = 60_000;

const facts = h("div", { class: "facts-of-all" });
const findings = h("div", { class: "findings" });
const file = h("input", {
  type: "text",
  id: "why-path",
  placeholder: "src/app/server.py",
  autocomplete: "off",
  autocapitalize: "off",
  spellcheck: "false",
});
const why = h("div", { class: "why-told", "aria-live": "polite" });
const whyForm = h(
  "form",
  { class: "why-form" },
  h("label", { for: "why-path" }, "Path in the repository"),
  h("div", { class: "row" }, file, h("button", { type: "submit" }, "Explain")),
);

const ofOne = [
  h("section", { "aria-labelledby": "findings-heading" }, h("h2", { id: "findings-heading" }, "Health"), findings),
  h("section", { "aria-labelledby": "files-heading" }, h("h2", { id: "files-heading" }, "Files"), files),
  h(
    "section",
    { "aria-labelledby": "why-heading" },
    h("h2", { id: "why-heading" }, "Why is a file indexed, or not?"),
    whyForm,
    why,
  ),
];

export const element = h(
  "section",
  { class: "view index-view", "aria-labelledby": "index-heading" },
  h("h1", { id: "index-heading" }, "Index"),
  facts,
  ofOne,
);
export const title = "Index";

const blocks = new Map();
/** The version of each repository whose files were looked at since the view was opened. */
const looked = new Map();
let looking = false;
let examined = "";

onExplain((path) => {
  change({ file: path }, { replace: true });
  file.value = path;
  explain(path);
  why.scrollIntoView({ block: "center" });
});
whyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const path = file.value.trim();
  change({ file: path || null }, { replace: true });
  explain(path);
});
onChange("status", () => element.isConnected && draw());
onChange("repo", () => {
  if (!route().params.has("file")) {
    file.value = "";
    refill(why);
  }
  again();
});
addEventListener("focus", again);
setInterval(() => element.isConnected && draw(), MINUTE);

export function show(params) {
  draw();
  const path = params.get("file") ?? "";
  if (path && path !== file.value) {
    file.value = path;
    explain(path);
  }
}

/** Whoever comes back wants to know what changed meanwhile. */
export const hide = () => looked.clear();

function again() {
  hide();
  if (element.isConnected) draw();
}

const shown = () => (chosenRepo() === null ? repos() : repos().filter((repo) => repo.name === chosenRepo()));

function draw() {
  const all = shown();
  ofOne.forEach((section) => {
    section.hidden = all.length !== 1;
  });
  if (all.length === 0) {
    refill(
      facts,
      state.status
        ? empty(
            "The server has no repository.",
            h("p", {}, "Start it with one: ", h("code", {}, "tp serve --repo PATH")),
          )
        : state.failure
          ? failed(state.failure, retry)
          : waiting("Asking the server…"),
    );
    return;
  }
  const elements = all.map((repo) => {
    if (!blocks.has(repo.name))
      blocks.set(
        repo.name,
        repoFacts(repo.name, () => ended(repo.name)),
      );
    const block = blocks.get(repo.name);
    block.draw(repo, all.length > 1);
    return block.element;
  });
  if (elements.length !== facts.children.length || elements.some((one, at) => facts.children[at] !== one))
    facts.replaceChildren(...elements);
  lookAtFiles();
}

const isLookedAt = (repo) => looked.get(repo.name) === `${repo.updated}`;

/** Have the server look at what it has not looked at since the view was opened; then what it saw can be told. */
async function lookAtFiles() {
  const next = shown().find((repo) => !isLookedAt(repo));
  if (looking || !next) return;
  looking = true;
  // Noted before, so that what fails is not tried again at once.
  looked.set(next.name, `${next.updated}`);
  try {
    await look(next.name);
    looked.set(next.name, `${repoNamed(next.name)?.updated}`);
    if (next.name === chosenRepo()) {
      loadFiles();
      examine();
    }
  } catch (error) {
    if (!isAbort(error)) refill(findings, failed(error, again));
  }
  looking = false;
  if (element.isConnected) draw();
}

/** After a run the files are looked at again, and what was wrong may be mended. */
function ended(name) {
  looked.delete(name);
  examined = "";
  if (element.isConnected) draw();
}

async function examine() {
  const name = chosenRepo();
  if (examined === name) return;
  examined = name;
  refill(findings, waiting("Examining the index and its model…"));
  try {
    const found = (await request(address("api/health-findings", { repo: name, look: false }))).findings;
    if (examined !== name) return;
    refill(
      findings,
      found.length === 0
        ? h("p", { class: "state good" }, icon("good"), "Nothing is wrong.")
        : h("ul", { class: "finding-list" }, found.map(finding)),
    );
  } catch (error) {
    examined = "";
    if (!isAbort(error)) refill(findings, failed(error, examine));
  }
}

function finding({ level, what, repair }) {
  return h(
    "li",
    {},
    icon("warning"),
    h(
      "div",
      {},
      h("p", {}, level && h("span", { class: "strong" }, `${visible(level)}: `), visible(what)),
      repair && h("p", { class: "quiet repair" }, visible(repair), " ", copyButton(visible(repair), "Copy the repair")),
    ),
  );
}

async function explain(path) {
  if (!path) return refill(why);
  const repo = chosenRepo();
  refill(why, waiting("Looking…"));
  try {
    const told = await request(address("api/why", { repo, path }));
    const chunks = told.chunks ?? [];
    return refill(
      why,
      h(
        "p",
        { class: `state ${told.state === "indexed" ? "good" : ""}` },
        icon(told.state === "indexed" ? "good" : "warning"),
        h(
          "span",
          {},
          h("bdi", { class: "mono" }, visible(told.path ?? path)),
          ` is ${visible(told.state ?? (told.indexed ? "indexed" : "not indexed"))}`,
        ),
      ),
      h("p", { class: "quiet" }, visible(told.reason ?? "")),
      chunks.length > 0 &&
        h(
          "ul",
          { class: "chunk-list", "aria-label": "Its chunks" },
          chunks.slice(0, 200).map((chunk) =>
            h(
              "li",
              {},
              h(
                "button",
                {
                  type: "button",
                  class: "plain",
                  onClick: () => openSource({ repo, path: told.path, start: chunk.start_line, end: chunk.end_line }),
                },
                h("span", { class: "number quiet" }, `${chunk.start_line}–${chunk.end_line}`),
                h("span", { class: "quiet" }, visible(chunk.kind ?? "")),
                h("bdi", { class: "mono" }, visible(chunk.symbol ?? "")),
              ),
            ),
          ),
        ),
    );
  } catch (error) {
    return isAbort(error)
      ? null
      : refill(
          why,
          failed(error, () => explain(path)),
        );
  }
}
