// The facts of one repository's index: what is in it, what changed since, and bringing it up to date.

import { isAbort, request } from "./api.js";
import { announce } from "./announce.js";
import { h, refill } from "./dom.js";
import { ago, bytes, count, epochOf, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { followJob } from "./jobs.js";
import { failed } from "./notice.js";
import { repoLink } from "./state.js";

const SHOWN = 50;

/** The facts of the repository `name`; `ended` is called after a run. `draw` takes its row of the status. */
export function repoFacts(name, ended) {
  const facts = h("div", { class: "facts-panel" });
  const run = h("button", { type: "button", class: "main", onClick: start });
  const job = h("div", { class: "index-job" });
  const changes = h("div", { class: "changes" });
  let following = null;
  /** The job that has ended, which the status may still tell of. */
  let over = null;
  let drawn = "";

  /** With `named` its name stands above, for one among others. */
  function draw(repo, named) {
    run.disabled = following !== null;
    if (following === null && repo.job && repo.job.id !== over) follow(repo.job);
    const changed = (repo.stale?.length ?? 0) + (repo.removed?.length ?? 0);
    const waiting = repo.dimensions ? repo.chunks - repo.vectors : 0;
    const current = repo.indexed && repo.complete !== false && changed === 0 && waiting === 0;
    const said = repo.problem
      ? "The index cannot be used"
      : !repo.indexed
        ? "Not indexed yet"
        : repo.complete === false
          ? "Not complete: the last run was interrupted"
          : waiting
            ? `${count(waiting)} of ${count(repo.chunks)} chunks wait for their vectors and are found by words alone`
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
    const key = JSON.stringify([{ ...repo, job: null }, rows, named && repoLink(name)]);
    if (drawn === key) return;
    drawn = key;
    const focused = document.activeElement === run;
    run.hidden = current; // there is nothing to do
    refill(
      facts,
      h(
        "div",
        { class: "facts-head" },
        h(
          "div",
          {},
          named && h("h2", {}, h("a", { href: repoLink(name) }, h("bdi", {}, visible(name)))),
          h("p", { class: `state ${current ? "good" : ""}` }, icon(current ? "good" : "warning"), said),
          h("p", { class: "quiet path" }, h("bdi", {}, visible(repo.path ?? name))),
        ),
        run,
      ),
      repo.problem && h("p", { class: "bad" }, visible(repo.problem)),
      rows.length > 0 &&
        h(
          "dl",
          { class: "facts" },
          rows.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", { class: "number" }, value))),
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

  async function start() {
    run.disabled = true;
    refill(job);
    try {
      follow((await request("api/index", { body: { repo: name } })).job);
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
      ended: (error, last) => {
        following = null;
        over = last.id;
        run.disabled = false;
        refill(job, error && failed(error));
        announce(
          error ? "Indexing failed" : last.state === "cancelled" ? "Indexing was cancelled" : "The index is up to date",
        );
        ended();
      },
    });
    refill(job, following.element);
    run.disabled = true;
  }

  return { element: h("div", { class: "repo-facts" }, facts, job, changes), draw };
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
