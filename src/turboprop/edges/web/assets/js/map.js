// A map of the repository: chunks that mean alike lie near each other, coloured by folder, hits lit.

import { address, isAbort, request } from "./api.js";
import { announce } from "./announce.js";
import { debounced, h, refill } from "./dom.js";
import { count, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { mapCanvas } from "./map_canvas.js";
import { colourOf, groupsOf } from "./map_groups.js";
import { empty, failed, waiting } from "./notice.js";
import { placeNodes, placeText } from "./place.js";
import { openSource } from "./source.js";
import { repoChoice } from "./repo_choice.js";
import { chosenRepo, onChange, repoNamed, repos, setHits, state } from "./state.js";
import { isDark, onTheme } from "./theme.js";

const LISTED = 200;
const HITS = 20;

const tip = h("div", { class: "map-tip", hidden: true });
const map = mapCanvas({ hovered: showTip, chosen: open });
const query = h("input", {
  type: "search",
  placeholder: "Light up what does…",
  "aria-label": "Light up hits of a search",
  autocomplete: "off",
  autocapitalize: "off",
  spellcheck: "false",
  maxlength: 2000,
});
const form = h("form", { class: "map-search", role: "search", "aria-label": "Map" }, icon("search"), query);
const button = (label, picture, work) =>
  h("button", { type: "button", class: "icon-only", "aria-label": label, title: label, onClick: work }, icon(picture));
const buttons = h(
  "div",
  { class: "map-buttons", role: "group", "aria-label": "Zoom" },
  button("Zoom in", "more", () => map.zoom(1.5)),
  button("Zoom out", "less", () => map.zoom(1 / 1.5)),
  button("Show all", "fit", () => map.fit()),
);
const cover = h("div", { class: "map-cover" });
const told = h("p", { class: "quiet map-told", role: "status" });
const legend = h("ul", { class: "legend", "aria-label": "Folders" });
const listHeading = h("h2", { id: "map-list-heading" }, "Chunks");
const list = h("ol", { class: "map-list", "aria-labelledby": "map-list-heading" });

export const element = h(
  "section",
  { class: "view map-view", "aria-labelledby": "map-heading" },
  h("h1", { class: "unseen", id: "map-heading" }, "Map"),
  h("div", { class: "map-stage" }, map.elements, tip, form, buttons, cover),
  h("div", { class: "map-side" }, told, h("h2", {}, "Folders"), legend, listHeading, list),
);
export const title = "Map";

let shown = null;
let points = [];
let scene = null;
let lit = new Map();
let only = null;
let running = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  typed.cancel();
  search();
});
const typed = debounced(search, 180);
query.addEventListener("input", typed);
onChange("hits", light);
onChange("repo", () => element.isConnected && load());
onChange("status", () => element.isConnected && load());
onTheme(() => {
  map.paint();
  drawLegend();
});

export function show() {
  query.value = state.query;
  load();
}

async function load() {
  const name = chosenRepo();
  const repo = repoNamed(name);
  element.classList.toggle("choosing", !repo && repos().length > 0);
  if (!repo) {
    shown = null;
    if (scene !== null) draw([]);
    scene = null;
    light();
    if (repos().length > 0) refill(cover, repoChoice("Which repository?"));
    else if (state.status) refill(cover, empty("The server has no repository."));
    return;
  }
  const key = `${name} ${repo.updated} ${repo.chunks}`;
  if (shown === key) return;
  shown = key;
  if (scene === null) refill(cover, waiting("Laying out the chunks…"));
  try {
    const got = await request(address("api/map", { repo: name }));
    if (shown !== key) return;
    refill(cover, got.points.length === 0 && empty("There is nothing to show.", "The index holds no chunk."));
    draw(got.points);
  } catch (error) {
    shown = null;
    if (!isAbort(error)) refill(cover, failed(error, load));
  }
}

function draw(given) {
  points = given;
  only = null;
  scene = { points, ...groupsOf(points) };
  map.show(scene);
  drawLegend();
  light();
}

async function search() {
  running?.abort();
  const wish = query.value.trim();
  if (!wish) return setHits("", []);
  const mine = new AbortController();
  running = mine;
  try {
    const { hits } = await request("api/search", {
      body: {
        query: wish,
        repo: chosenRepo(),
        mode: "hybrid",
        limit: HITS,
        path: [],
        lang: [],
        by: "chunk",
        explain: false,
      },
      signal: mine.signal,
    });
    setHits(wish, hits);
    return announce(plural(hits.length, "hit"));
  } catch (error) {
    return isAbort(error) ? null : refill(told, h("span", { class: "bad" }, error.message));
  }
}

/** Which points the hits are. A map of a large index is a sample, so some may not be on it. */
function light() {
  const byPath = new Map();
  points.forEach((point, at) => {
    if (!byPath.has(point.path)) byPath.set(point.path, []);
    byPath.get(point.path).push(at);
  });
  lit = new Map();
  const name = chosenRepo();
  const hits = state.hits.filter((hit) => !hit.repo || hit.repo === name);
  hits.forEach((hit, rank) => {
    const at = byPath.get(hit.path)?.find((one) => points[one].start_line === hit.start_line);
    if (at !== undefined) lit.set(at, rank);
  });
  map.light(lit);
  const where = state.query ? ` for “${visible(state.query.slice(0, 60))}”` : "";
  refill(
    told,
    scene === null
      ? null
      : hits.length > 0
        ? `${plural(hits.length, "hit")}${where}, ${lit.size === hits.length ? "all" : lit.size} on the map`
        : state.query
          ? `No hit${where}`
          : `${plural(points.length, "chunk")}. What lies close means alike.`,
  );
  drawList();
}

function drawLegend() {
  if (scene === null) return;
  const dark = isDark();
  refill(
    legend,
    scene.groups.map((group, at) => {
      const dot = h("span", { class: "dot", "aria-hidden": "true" });
      dot.style.backgroundColor = colourOf(group, dark);
      return h(
        "li",
        {},
        h(
          "button",
          { type: "button", class: "plain", "aria-pressed": String(only === at), onClick: () => choose(at) },
          dot,
          h("bdi", { class: "legend-name", title: visible(group.name) }, visible(group.label)),
          h("span", { class: "number quiet" }, count(group.count)),
        ),
      );
    }),
  );
}

function choose(at) {
  only = only === at ? null : at;
  map.only(only);
  [...legend.querySelectorAll("button")].forEach((one, number) =>
    one.setAttribute("aria-pressed", String(only === number)),
  );
  drawList();
}

/** The map for those who do not see it or do not point: the hits, else the chunks of the chosen folder. */
function drawList() {
  const ranked = [...lit].sort((one, other) => one[1] - other[1]).map(([at]) => at);
  const chosen = ranked.length > 0 ? ranked : points.map((_, at) => at);
  const within = only === null ? chosen : chosen.filter((at) => scene.groupOf[at] === only);
  refill(
    listHeading,
    ranked.length > 0 ? "Hits" : "Chunks",
    " ",
    h(
      "span",
      { class: "quiet number" },
      within.length > LISTED ? `${count(LISTED)} of ${count(within.length)}` : count(within.length),
    ),
  );
  refill(
    list,
    within.slice(0, LISTED).map((at) => {
      const point = points[at];
      const cut = point.path.lastIndexOf("/") + 1;
      return h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "plain",
            "aria-label": `${placeText(point.path, point.start_line, point.end_line)}${point.symbol ? `, ${visible(point.symbol)}` : ""}`,
            title: visible(point.path),
            onClick: () => open(at),
            onFocus: () => map.ring(at),
            onPointerEnter: () => map.ring(at),
            onPointerLeave: () => map.ring(-1),
            onBlur: () => map.ring(-1),
          },
          h("span", { class: "map-name" }, placeNodes(point.path.slice(cut), point.start_line, point.end_line)),
          point.symbol ? h("bdi", { class: "quiet map-symbol" }, visible(point.symbol)) : null,
        ),
      );
    }),
  );
}

function open(at) {
  const point = points[at];
  openSource({ repo: chosenRepo(), path: point.path, start: point.start_line, end: point.end_line });
}

function showTip(at, x, y) {
  tip.hidden = at < 0;
  if (at < 0) return;
  const point = points[at];
  refill(
    tip,
    h("p", { class: "mono" }, placeNodes(point.path, point.start_line, point.end_line)),
    point.symbol ? h("p", { class: "quiet" }, visible(point.symbol)) : null,
  );
  const stage = tip.parentElement;
  const left = Math.min(x + 14, stage.clientWidth - tip.offsetWidth - 8);
  const top = y + 18 + tip.offsetHeight > stage.clientHeight ? y - tip.offsetHeight - 12 : y + 18;
  tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
}

/** For tests and for the curious: where a chunk is on the canvas. */
export const placeOf = (path) => {
  const at = points.findIndex((point) => point.path === path);
  return at < 0 ? null : map.place(at);
};
