// A list of hits: each with its place, its code and what can be done with it.

import { codeBlock, markWords, withoutEnd } from "./code.js";
import { fill, freshId, h, refill } from "./dom.js";
import { editorLink } from "./editor.js";
import { plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { meter } from "./meter.js";
import { placeNodes, placeText } from "./place.js";
import { change } from "./router.js";
import { explanation } from "./score.js";
import { openSource } from "./source.js";
import { onRepos, repos } from "./state.js";

const COPIES = 3;
const LINES = 10;
const NAMES = 3;

/** Put hits into a list; `query` marks its words in them. */
export function drawHits(list, hits, query = "") {
  const best = Math.max(...hits.map((hit) => hit.score), 0);
  refill(
    list,
    hits.map((hit, at) => h("li", {}, card(hit, at, best, query))),
  );
  markWords(list, query);
}

/** What a bar may show at most: only a hit that is sure fills it, and one that nothing carries has none. */
const FULL = { strong: 1, weak: 0.4, nothing: 0 };

/** How well a hit fits, 0 to 1, beside the best score. */
export const fitOf = (hit, best) => (best > 0 ? (FULL[hit.sure ?? "strong"] ?? 1) * Math.min(1, hit.score / best) : 0);

function card(hit, at, best, query) {
  const place = placeText(hit.path, hit.start_line, hit.end_line);
  const open = () => openSource({ repo: hit.repo, path: hit.path, start: hit.start_line, end: hit.end_line });
  const code = h("div", { class: "hit-code" });
  const all = withoutEnd(hit.text).split("\n").length;
  const parts = h("div", { class: "hit-parts", id: freshId("parts"), hidden: true });
  const article = h("article", { class: "hit", "aria-label": `${at + 1}: ${place}` });
  const draw = (most) => {
    // The lines that match, not the first ones.
    const from = most < all ? hit.shown[0] : hit.start_line;
    const above = from - hit.start_line;
    refill(
      code,
      above > 0 && h("p", { class: "cut" }, `… ${plural(above, "line")} above`),
      codeBlock(hit.text, hit.language, { start: hit.start_line, from, most, label: `Code of ${place}` }),
      all > most &&
        h(
          "button",
          {
            type: "button",
            class: "plain wide",
            onClick: () => {
              draw(Infinity);
              markWords(article.closest("ol"), query);
            },
          },
          `Show all ${plural(all, "line")}`,
        ),
    );
  };
  draw(all > LINES + 2 ? LINES : Infinity);
  const why = h(
    "button",
    { type: "button", class: "plain", "aria-expanded": "false", "aria-controls": parts.id, dataset: { key: "why" } },
    icon("help"),
    "Why this score",
  );
  why.addEventListener("click", () => {
    parts.hidden = !parts.hidden;
    why.setAttribute("aria-expanded", String(!parts.hidden));
    if (!parts.hidden) refill(parts, explanation(hit.parts));
  });
  fill(
    article,
    h(
      "header",
      {},
      h("span", { class: "rank number", "aria-hidden": "true" }, String(at + 1)),
      h(
        "button",
        { type: "button", class: "place", dataset: { key: "open" }, onClick: open, title: "Open the source" },
        repoName(hit.repo),
        placeNodes(hit.path, hit.start_line, hit.end_line),
      ),
      hit.symbol ? h("bdi", { class: "symbol", title: visible(hit.symbol) }, names(hit.symbol)) : null,
      h(
        "span",
        { class: "score" },
        meter(fitOf(hit, best), 1, "How well it fits"),
        h("span", { class: "number" }, h("span", { class: "unseen" }, "Score "), hit.score.toFixed(2)),
        hit.sure && hit.sure !== "strong" && h("span", { class: "unit sure" }, hit.sure),
      ),
    ),
    hit.why ? h("p", { class: "hit-why" }, visible(hit.why)) : null,
    hit.copies?.length ? h("p", { class: "hit-copies" }, copies(hit)) : null,
    code,
    h(
      "footer",
      {},
      editorLink(hit.repo, hit.path, hit.start_line),
      h(
        "button",
        {
          type: "button",
          class: "plain",
          dataset: { key: "similar" },
          onClick: () => change({ like: `${hit.path}:${hit.start_line}`, of: hit.repo, source: null }),
        },
        icon("similar"),
        "Similar code",
      ),
      hit.parts?.length ? why : null,
    ),
    parts,
  );
  return article;
}

/** The name of a hit's repository; hidden while no other is known, as before the first status. */
const repoName = (name) => h("span", { class: "repo", hidden: repos().length < 2 }, visible(name));
onRepos(() => {
  for (const name of document.querySelectorAll(".hit .repo")) name.hidden = repos().length < 2;
});

/** The first names that a chunk defines; of many small ones a line would be full. */
function names(symbol) {
  const all = symbol.split(", ");
  return visible(all.length <= NAMES ? symbol : `${all.slice(0, NAMES).join(", ")} and ${all.length - NAMES} more`);
}

/** Move the focus to the next or the previous hit; says whether there was one. */
export function moveFocus(list, step) {
  const places = [...list.querySelectorAll(".place")];
  if (places.length === 0) return false;
  const current = document.activeElement?.closest?.(".hit")?.querySelector(".place");
  const at = places.indexOf(current);
  const next = at < 0 ? (step > 0 ? 0 : -1) : at + step;
  if (next < 0 || next >= places.length) return false;
  places[next].focus({ preventScroll: true });
  places[next].closest(".hit").scrollIntoView({ block: "nearest" });
  return true;
}

/** Press what a hit offers under a name, on the hit that has the focus. */
export function pressOnHit(key) {
  const target = document.activeElement?.closest?.(".hit")?.querySelector(`[data-key="${key}"]`);
  target?.click();
  return Boolean(target);
}

// Other versions of what a hit shows, and its implementations for other platforms.
function copies(hit) {
  const shown = hit.copies.slice(0, COPIES);
  const left = hit.copies.length - shown.length;
  return [
    "Also ",
    ...shown.flatMap((copy, at) => [
      at ? ", " : "",
      h(
        "button",
        {
          type: "button",
          class: "place",
          onClick: () => openSource({ repo: hit.repo, path: copy.path, start: copy.start_line, end: copy.end_line }),
        },
        placeText(copy.path, copy.start_line, copy.end_line),
      ),
      ` (${copy.kind})`,
    ]),
    left ? ` and ${left} more` : "",
  ];
}
