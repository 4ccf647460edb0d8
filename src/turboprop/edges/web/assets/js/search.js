// The search: what is asked as one types, and what comes of it.

import { announce } from "./announce.js";
import { address, isAbort, request } from "./api.js";
import { markWords } from "./code.js";
import { debounced, h, refill } from "./dom.js";
import { duration, plural, visible } from "./format.js";
import { drawHits, moveFocus } from "./hits.js";
import { icon } from "./icons.js";
import { failed } from "./notice.js";
import { remember } from "./recent.js";
import { change, linkTo, route } from "./router.js";
import * as fields from "./search_form.js";
import { beginning, leftOut, noRepository, notIndexed, nothing } from "./search_states.js";
import { chosenRepo, onChange, repoNamed, repos, setHits, state } from "./state.js";

/** Pauses in typing are longer than this, hands at the keyboard faster. */
const PAUSE = 140;
/** A wait that is shorter than this is not shown. */
const SLOW = 150;
const KEPT = 2500;

const { form, input } = fields;
const summary = h("p", { class: "summary" });
const missing = h("p", { class: "left-out", hidden: true });
const unsure = h(
  "p",
  { class: "unsure", hidden: true },
  icon("warning"),
  h("span", {}, "No place in the code carries this query for sure. These are the nearest."),
);
const list = h("ol", { class: "hits", "aria-label": "Hits" });
const rest = h("div", { class: "rest" });
const formPlace = h("div", { class: "form-place" }, form);
const results = h("div", { class: "results" }, summary, missing, unsure, list, rest);

export const element = h(
  "section",
  { class: "view search", "aria-labelledby": "search-heading" },
  h("h1", { class: "unseen", id: "search-heading" }, "Search"),
  formPlace,
  results,
);
export const title = "Search";
export const focusQuery = () => {
  input.focus();
  input.select();
};
export const move = (step) => moveFocus(list, step);

/** The request under way, and what the page shows now: of which request, or which state. */
let running = null;
let drawn = null;
let keeping = 0;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  typed.cancel();
  fromForm(false);
  if (drawn?.hits?.length && input.value.trim()) remember(chosenRepo(), input.value.trim());
  if (drawn?.hits?.length) moveFocus(list, 1);
});
const typed = debounced(() => fromForm(true), PAUSE);
form.addEventListener("input", (event) => {
  if (event.target === input || event.target === fields.path) typed();
  else fromForm(true);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && moveFocus(list, 1)) event.preventDefault();
  if (event.key === "Escape" && input.value) {
    event.preventDefault();
    event.stopPropagation();
    input.value = "";
    fromForm(true);
  }
});
fields.clear.addEventListener("click", widen);
for (const kind of ["repo", "status"]) {
  onChange(kind, () => {
    fields.drawLanguages();
    if (form.isConnected) run();
  });
}

/** The address follows the form; the search follows the address. */
function fromForm(replace) {
  const of = route().params.has("source") ? route().params.get("of") : null;
  change({ ...fields.asParams(), like: null, of }, { replace });
  run();
}

function widen() {
  fields.widen();
  fromForm(true);
  input.focus();
}

/** The form stands in the view that is shown: one search for the page. */
export function takeForm(place) {
  if (form.parentElement !== place) place.append(form);
}

/** Search for what the address asks, wherever its hits are shown. */
export function searchAlso(params) {
  fields.fromParams(params);
  run();
}

export function show(params) {
  takeForm(formPlace);
  searchAlso(params);
  // On a phone the keyboard would cover half of the page.
  const empty = !input.value && !params.has("like") && !params.has("source");
  if (empty && matchMedia("(hover: hover)").matches) input.focus();
}

/** What the address asks for: a path, a body and what it is about; null where nothing is asked. */
function asked() {
  const { params } = route();
  const wish = fields.wanted();
  const like = /^(.+):(\d+)$/s.exec(params.get("like") ?? "");
  if (like) {
    const place = { path: like[1], line: like[2] };
    const query = { repo: params.get("of") ?? chosenRepo(), ...place, limit: wish.limit };
    return { like: place, path: address("api/similar", query) };
  }
  if (!wish.query) return null;
  // Of the only repository the name is not needed, so that a search need not wait for it.
  const repo = params.get("repo");
  return { query: wish.query, path: "api/search", body: { ...wish, repo, explain: true } };
}

/** Show what is asked for now, unless it is shown or on its way. */
function run() {
  fields.clear.hidden = !fields.isNarrowed();
  const wish = asked();
  const repo = repoNamed(chosenRepo());
  if (state.status && repos().length === 0) return drawState("none", noRepository);
  if (repo && !repo.indexed && !repo.problem) return drawState(`unindexed ${repo.name}`, () => notIndexed(repo));
  if (wish === null) {
    const facts = JSON.stringify([repo?.name, repo?.files, repo?.chunks, repos().length]);
    return drawState(`beginning ${facts}`, () => beginning(repo));
  }
  if (drawn?.missing?.some((name) => repoNamed(name)?.indexed)) drawn = null;
  const key = JSON.stringify(wish);
  if (running?.key === key || (running === null && drawn?.key === key)) return null;
  return search(wish, key);
}

async function search(wish, key) {
  running?.stop.abort();
  const mine = { key, stop: new AbortController() };
  running = mine;
  const slow = setTimeout(() => {
    results.setAttribute("aria-busy", "true");
    if (!drawn?.hits) refill(summary, "Searching…");
  }, SLOW);
  try {
    const began = performance.now();
    const answer = await request(wish.path, { body: wish.body, signal: mine.stop.signal });
    drawHitsOf(wish, key, answer, (performance.now() - began) / 1000);
  } catch (error) {
    if (isAbort(error) || running !== mine) return;
    running = null;
    drawState(key, () =>
      failed(error, () => {
        drawn = null;
        run();
      }),
    );
    setHits(wish.query ?? "", [], error.message);
  } finally {
    clearTimeout(slow);
    if (running === mine) running = null;
    if (running === null) results.removeAttribute("aria-busy");
  }
}

/** Show something in the place of hits, once. */
function drawState(key, node) {
  running?.stop.abort();
  running = null;
  if (drawn?.key === key) return;
  drawn = { key };
  markWords(list, "");
  refill(list);
  refill(summary);
  missing.hidden = unsure.hidden = true;
  clearTimeout(keeping);
  refill(rest, node());
  setHits("", []);
}

function drawHitsOf(wish, key, { hits, seconds, sure, nearest, not_indexed: without = [], vectors = {} }, measured) {
  drawn = { key, hits, missing: without };
  drawHits(list, hits, wish.query ?? "");
  setHits(wish.query ?? "", hits);
  const said = told(wish, hits.length, duration(seconds ?? measured));
  const partly = Object.entries(vectors).filter(([, share]) => share > 0);
  unsure.hidden = sure !== "weak" || hits.length === 0;
  clearTimeout(keeping);
  // A query that is looked at so long was meant.
  if (wish.query && hits.length > 0) keeping = setTimeout(() => remember(chosenRepo(), wish.query), KEPT);
  refill(
    summary,
    said,
    partly.map(([name, share], at) => [(said || at > 0) && " · ", h("bdi", {}, visible(name)), `: vectors of ${Math.floor(share * 100)}%, words of all`]),
  );
  missing.hidden = without.length === 0;
  refill(missing, without.length > 0 && leftOut(without));
  refill(rest, hits.length === 0 && nothing(wish, fields.isNarrowed() ? widen : null, nearest));
  announce(hits.length > 0 ? plural(hits.length, "hit") : "No hits");
}

function told(wish, found, took) {
  if (wish.like) {
    const back = { ...Object.fromEntries(route().params), like: null, of: null, source: null };
    const place = h("bdi", { class: "mono" }, `${visible(wish.like.path)}:${wish.like.line}`);
    const link = h("a", { href: linkTo("search", back) }, input.value.trim() ? "Back to the search" : "New search");
    return [`${plural(found, "chunk")} like `, place, ` · ${took} · `, link];
  }
  if (found === 0) return null;
  const map = h("a", { href: linkTo("map", fields.asParams()) }, "See them on the map");
  const ask = h("a", { href: linkTo("ask", { q: wish.query }) }, "Ask about this");
  return [`${plural(found, "hit")} · ${took} · `, map, " · ", ask];
}
