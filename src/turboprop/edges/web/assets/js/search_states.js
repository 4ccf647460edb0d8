// What stands in the place of hits: before a search, without any, and where nothing can be searched.

import { address, request } from "./api.js";
import { fill, h, refill } from "./dom.js";
import { ago, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { empty } from "./notice.js";
import { placeParam } from "./place.js";
import { forget, recent } from "./recent.js";
import { linkTo } from "./router.js";
import { repos } from "./state.js";

const KEYS = [
  ["/", "search"],
  ["↓ ↑", "through the hits"],
  ["Enter", "open the source"],
  ["?", "all shortcuts"],
];

/** Before the first search; `repo` is the chosen one, null for all. */
export function beginning(repo) {
  const examples = h("section", { hidden: true });
  const changed = h("section", { hidden: true });
  if (repo?.indexed) fillStart(repo.name, examples, changed);
  return h(
    "div",
    { class: "start" },
    h("p", { class: "start-line" }, holdings(repo)),
    h("div", { class: "start-columns" }, searched(repo?.name ?? null), examples, changed),
    h(
      "dl",
      { class: "keys" },
      KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]),
    ),
  );
}

/** What the code itself suggests to ask, and which files changed last. */
async function fillStart(repo, examples, changed) {
  let found;
  try {
    found = await request(address("api/start", { repo }), { background: true });
  } catch {
    return; // the search works without
  }
  examples.hidden = found.examples.length === 0;
  refill(
    examples,
    h("h2", {}, "Try, from this code"),
    h(
      "ul",
      { class: "start-list", "aria-label": "Examples" },
      found.examples.map((query) => h("li", {}, h("a", { href: linkTo("search", { q: query }) }, visible(query)))),
    ),
  );
  changed.hidden = found.changed.length === 0;
  refill(
    changed,
    h("h2", {}, "Changed lately"),
    h(
      "ul",
      { class: "start-list", "aria-label": "Changed lately" },
      found.changed.map((file) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: linkTo("search", { source: placeParam(file.path, 1, 1) }), title: visible(file.path) },
            h("bdi", {}, visible(file.path.slice(file.path.lastIndexOf("/") + 1))),
          ),
          h("span", { class: "quiet" }, ` ${ago(file.changed)}`),
        ),
      ),
    ),
  );
}

function searched(repo) {
  const queries = recent(repo);
  if (queries.length === 0) return null;
  const section = h("section", {});
  const clear = h(
    "button",
    {
      type: "button",
      class: "plain",
      onClick: () => {
        forget(repo);
        section.remove();
      },
    },
    "Forget them",
  );
  return fill(
    section,
    h("h2", {}, "Recent searches"),
    h(
      "ul",
      { class: "start-list", "aria-label": "Recent searches" },
      queries.map((query) => h("li", {}, h("a", { href: linkTo("search", { q: query }) }, visible(query)))),
    ),
    clear,
  );
}

function holdings(repo) {
  if (repo) {
    const held = `${plural(repo.files ?? 0, "file")}, ${plural(repo.chunks ?? 0, "chunk")}`;
    return [h("bdi", { class: "strong" }, visible(repo.name)), ` · ${held}, by meaning and by words`];
  }
  return repos().length > 1
    ? `${plural(repos().length, "repository", "repositories")}, by meaning and by words.`
    : "Search the code by meaning and by words.";
}

/** Nothing was found; `widened` is called to take the filters away, null where there are none. */
export function nothing(wish, widened, nearest = []) {
  if (wish.like) return empty("Nothing is like this place.", "Only indexed code is compared.");
  const other =
    wish.body.mode === "lexical"
      ? "Search by meaning too: change “Words” to “Both”."
      : "Say it in other words, or name what you look for.";
  const clear =
    widened && h("button", { type: "button", class: "plain", onClick: widened }, icon("close"), "Clear filters");
  const meant = nearest.map((word) => h("a", { class: "button example", href: linkTo("search", { q: word }) }, visible(word)));
  return empty(
    `Nothing in the code carries “${visible(wish.query.slice(0, 80))}”`,
    widened ? "The filters leave nothing over." : other,
    meant.length > 0 && h("p", { class: "examples", "aria-label": "Did you mean" }, "Did you mean ", meant),
    clear && h("p", {}, clear),
  );
}

export const notIndexed = (repo) =>
  empty(
    `${visible(repo.name)} is not indexed yet.`,
    h("p", {}, h("a", { href: linkTo("index") }, "Index it"), " to search in it."),
  );

/** Beside the hits of others: repositories that have no index yet, each with a link to where it is made. */
export const leftOut = (names) => [
  "Not searched, because not indexed yet: ",
  names.map((repo, at) => [at > 0 && ", ", h("a", { href: linkTo("index", { repo }) }, h("bdi", {}, visible(repo)))]),
];

export const noRepository = () =>
  empty("The server has no repository yet.", h("p", {}, "Start it with one: ", h("code", {}, "tp serve --repo PATH")));
