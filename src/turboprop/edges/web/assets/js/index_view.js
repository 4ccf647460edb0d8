// The index: what is in it, what changed since, what is wrong with it, and why a file is in it or not.

import { address, isAbort, request } from "./api.js";
import { announce } from "./announce.js";
import { h, refill } from "./dom.js";
import { ago, bytes, count, epochOf, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { files, loadFiles, onExplain } from "./index_files.js";
import { followJob } from "./jobs.js";
import { copyButton, empty, failed, waiting } from "./notice.js";
import { change } from "./router.js";
import { openSource } from "./source.js";
import { onChange, oneRepo, refresh as refreshStatus, repoNamed, state } from "./state.js";

const SHOWN = 50;

const facts = h("div", { class: "facts-panel" });
const run = h("button", { type: "button", class: "main" }, icon("refresh"), "Bring up to date");
const job = h("div", { class: "index-job" });
const changes = h("div", { class: "changes" });
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

export const element = h(
  "section",
  { class: "view index-view", "aria-labelledby": "index-heading" },
  h("h1", { id: "index-heading" }, "Index"),
  facts,
  job,
  changes,
  h("section", { "aria-labelledby": "findings-heading" }, h("h2", { id: "findings-heading" }, "Health"), findings),
  h("section", { "aria-labelledby": "files-heading" }, h("h2", { id: "files-heading" }, "Files"), files),
  h(
    "section",
    { "aria-labelledby": "why-heading" },
    h("h2", { id: "why-heading" }, "Why is a file indexed, or not?"),
    whyForm,
    why,
  ),
);
export const title = "Index";

let following = null;
let examined = "";

onExplain((path) => {
  change({ file: path }, { replace: true });
  file.value = path;
  explain(path);
  why.scrollIntoView({ block: "center" });
});
run.addEventListener("click", start);
whyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const path = file.value.trim();
  change({ file: path || null }, { replace: true });
  explain(path);
});
onChange("status", drawStatus);
onChange("repo", () => {
  if (!element.isConnected) return;
  drawStatus();
  examine();
});

export function show(params) {
  drawStatus();
  examine();
  const path = params.get("file") ?? "";
  if (path && path !== file.value) {
    file.value = path;
    explain(path);
  }
}

function drawStatus() {
  const repo = repoNamed(oneRepo());
  run.disabled = following !== null || !repo;
  if (!repo) {
    refill(changes);
    refill(
      facts,
      state.status
        ? empty(
            "The server has no repository.",
            h("p", {}, "Start it with one: ", h("code", {}, "tp serve --repo PATH")),
          )
        : state.failure
          ? failed(state.failure, refreshStatus)
          : waiting("Asking the server…"),
    );
    return;
  }
  if (following === null && ["queued", "running"].includes(repo.job?.state)) follow(repo.job);
  const changed = (repo.stale?.length ?? 0) + (repo.removed?.length ?? 0);
  const current = repo.indexed && repo.complete !== false && changed === 0;
  const said = repo.problem
    ? "The index cannot be used"
    : !repo.indexed
      ? "Not indexed yet"
      : repo.complete === false
        ? "Not complete: the last run was interrupted"
        : changed
          ? `${plural(changed, "file")} changed since`
          : "Up to date";
  const rows = repo.indexed
    ? [
        ["Files", count(repo.files)],
        ["Chunks", count(repo.chunks)],
        ["On disk", bytes(repo.bytes_on_disk)],
        ["Updated", ago(epochOf(repo.updated))],
      ]
    : [];
  const key = JSON.stringify([repo, rows, following !== null]);
  if (facts.dataset.key === key) return;
  facts.dataset.key = key;
  loadFiles();
  const focused = document.activeElement === run;
  refill(
    facts,
    h(
      "div",
      { class: "facts-head" },
      h(
        "div",
        {},
        h("p", { class: `state ${current ? "good" : ""}` }, icon(current ? "good" : "warning"), said),
        h("p", { class: "quiet path" }, h("bdi", {}, visible(repo.path ?? repo.name))),
      ),
      run,
    ),
    repo.problem && h("p", { class: "bad" }, visible(repo.problem)),
    rows.length > 0 &&
      h(
        "dl",
        { class: "facts" },
        rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value))),
      ),
    repo.model &&
      h(
        "p",
        { class: "quiet" },
        "Made with ",
        h("bdi", { class: "strong" }, visible(repo.model)),
        repo.dimensions ? `, ${count(repo.dimensions)} dimensions` : "",
      ),
    languages(repo),
  );
  if (focused) run.focus();
  run.className = current ? "" : "main";
  run.replaceChildren(icon("refresh"), repo.indexed ? "Bring up to date" : "Index now");
  refill(
    changes,
    changed > 0 &&
      h(
        "details",
        { open: changed <= 12 },
        h("summary", {}, "What changed"),
        h(
          "ul",
          { class: "changed" },
          changedRows(repo.stale ?? [], "changed or new"),
          changedRows(repo.removed ?? [], "gone"),
        ),
      ),
  );
}

const changedRows = (paths, what) => [
  ...paths
    .slice(0, SHOWN)
    .map((path) => h("li", {}, h("bdi", { class: "mono" }, visible(path)), h("span", { class: "quiet" }, what))),
  paths.length > SHOWN && h("li", { class: "quiet" }, `and ${count(paths.length - SHOWN)} more`),
];

function languages(repo) {
  const told = Object.entries(repo.languages ?? {})
    .filter(([name]) => name)
    .sort((one, other) => other[1] - one[1]);
  return (
    told.length > 0 &&
    h(
      "ul",
      { class: "languages", "aria-label": "Files by language" },
      told.map(([name, files]) => h("li", {}, name, " ", h("span", { class: "number quiet" }, count(files)))),
    )
  );
}

async function start() {
  run.disabled = true;

  refill(job);
  try {
    follow((await request("api/index", { body: { repo: oneRepo() } })).job);
  } catch (error) {
    run.disabled = false;
    if (!isAbort(error)) refill(job, failed(error));
  }
}

function follow(given) {
  following = followJob({
    base: "api/index",
    job: given,
    label: "Indexing",
    unit: "files",
    ended: async (error, last) => {
      following = null;

      refill(job, error && failed(error));
      announce(
        error ? "Indexing failed" : last.state === "cancelled" ? "Indexing was cancelled" : "The index is up to date",
      );
      delete facts.dataset.key;
      await refreshStatus();
      examine(true);
    },
  });
  refill(job, following.element);
  run.disabled = true;
}

async function examine(again = false) {
  const name = oneRepo();
  if (name === null || (!again && examined === name)) return;
  examined = name;
  refill(findings, waiting("Examining the index and its model…"));
  try {
    const found = (await request(address("api/health-findings", { repo: name }))).findings;
    refill(
      findings,
      found.length === 0
        ? h("p", { class: "state good" }, icon("good"), "Nothing is wrong.")
        : h("ul", { class: "finding-list" }, found.map(finding)),
    );
  } catch (error) {
    examined = "";
    if (!isAbort(error))
      refill(
        findings,
        failed(error, () => examine(true)),
      );
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
  const repo = oneRepo();
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
