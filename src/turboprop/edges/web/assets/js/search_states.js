// What stands in the place of hits: before a search, without any, and where nothing can be searched.

import { h } from "./dom.js";
import { plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { empty } from "./notice.js";
import { linkTo } from "./router.js";
import { repos } from "./state.js";

const EXAMPLES = ["where is the configuration read", "retry a request that failed", "parse a date"];
const KEYS = [
  ["/", "search"],
  ["↓ ↑", "through the hits"],
  ["Enter", "open the source"],
  ["?", "all shortcuts"],
];

/** Before the first search; `repo` is the chosen one, null for all. */
export const beginning = (repo) =>
  h(
    "div",
    { class: "start" },
    h("p", { class: "start-line" }, holdings(repo)),
    h(
      "ul",
      { class: "examples", "aria-label": "Examples" },
      EXAMPLES.map((example) =>
        h("li", {}, h("a", { class: "button example", href: linkTo("search", { q: example }) }, example)),
      ),
    ),
    h(
      "dl",
      { class: "keys" },
      KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]),
    ),
  );

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
    `Nothing found for “${visible(wish.query.slice(0, 80))}”`,
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
