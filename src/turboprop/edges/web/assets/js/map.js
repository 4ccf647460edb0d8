// Where is what, how large, how sure: folders and files by their size, with the hits of the search in them.

import { address, isAbort, request } from "./api.js";
import { h, refill } from "./dom.js";
import { ago, bytes, count, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { boxes, childrenOf, folderAt, nearest, topLanguages, treeOf } from "./treemap.js";
import { fitIn, numbersIn, ranked, within } from "./map_hits.js";
import { empty, failed, waiting } from "./notice.js";
import { placeText } from "./place.js";
import { openSource } from "./source.js";
import { change, linkTo, route } from "./router.js";
import { repoChoice } from "./repo_choice.js";
import { searchAlso, takeForm } from "./search.js";
import { chosenRepo, onChange, repoNamed, repos, state } from "./state.js";

const LISTED = 200;
/** What colour may say. A box is never coloured so strongly that its name cannot be read. */
const STRONGEST = 46;
const COLOURS = { fit: "Fit to the query", age: "Last change", language: "Language", state: "Index" };

const form = h("div", { class: "map-form" });
const crumbs = h("div", { class: "crumbs", role: "group", "aria-label": "Folder" });
const colour = h(
  "select",
  { "aria-label": "Colour by" },
  Object.entries(COLOURS).map(([value, label]) => h("option", { value }, label)),
);
const out = h(
  "button",
  { type: "button", class: "icon-only plain", "aria-label": "To the folder above", title: "To the folder above (Backspace)" },
  icon("less"),
);
const stage = h("div", {
  class: "treemap",
  role: "group",
  "aria-label": "Folders and files by size. Arrow keys move, Enter opens, Backspace goes to the folder above.",
});
const cover = h("div", { class: "map-cover" });
const told = h("p", { class: "quiet map-told", role: "status" });
const legend = h("ul", { class: "legend", "aria-label": "Colours" });
const hitsHeading = h("h2", { id: "map-hits-heading" }, "Hits");
const hitList = h("ol", { class: "map-list numbered", "aria-labelledby": "map-hits-heading" });
const listHeading = h("h2", { id: "map-list-heading" });
const list = h("ul", { class: "map-list", "aria-labelledby": "map-list-heading" });

export const element = h(
  "section",
  { class: "view map-view", "aria-labelledby": "map-heading" },
  h("h1", { class: "unseen", id: "map-heading" }, "Map"),
  form,
  h(
    "div",
    { class: "map-bar" },
    out,
    crumbs,
    h("label", { class: "labelled" }, h("span", { "aria-hidden": "true" }, "Colour"), colour),
  ),
  h("div", { class: "map-stage" }, stage, cover),
  h("div", { class: "map-side" }, told, legend, hitsHeading, hitList, listHeading, list),
);
export const title = "Map";

let shown = null;
let root = null;
let oldest = 0;
let drawn = [];
let changed = new Set();

onChange("hits", () => element.isConnected && draw());
onChange("repo", () => element.isConnected && load());
onChange("status", () => element.isConnected && load());
colour.addEventListener("change", () => change({ colour: colour.value === "fit" ? null : colour.value }, { replace: true }) ?? draw());
out.addEventListener("click", goOut);
new ResizeObserver(() => element.isConnected && drawBoxes()).observe(stage);

export function show(params) {
  takeForm(form);
  searchAlso(params);
  colour.value = Object.hasOwn(COLOURS, params.get("colour")) ? params.get("colour") : "fit";
  load();
  draw();
}

async function load() {
  const name = chosenRepo();
  const repo = repoNamed(name);
  element.classList.toggle("choosing", !repo && repos().length > 0);
  if (!repo) {
    [shown, root] = [null, null];
    draw();
    if (repos().length > 0) refill(cover, repoChoice("Which repository?"));
    else if (state.status) refill(cover, empty("The server has no repository."));
    return;
  }
  changed = new Set(repo.stale ?? []);
  const key = `${name} ${repo.updated} ${repo.chunks} ${repo.indexed}`;
  if (shown === key) return;
  if (!repo.indexed) {
    [shown, root] = [key, null];
    draw();
    const link = h("a", { class: "button", href: linkTo("index") }, "Index it");
    refill(cover, empty(`${visible(name)} is not indexed yet.`, h("p", {}, link)));
    return;
  }
  shown = key;
  if (root === null) refill(cover, waiting("Reading the list of files…"));
  try {
    const { files } = await request(address("api/map", { repo: name }));
    if (shown !== key) return;
    root = treeOf(files);
    oldest = files.reduce((first, file) => Math.min(first, file.changed ?? Infinity), Date.now() / 1000);
    refill(cover, files.length === 0 && empty("There is nothing to show.", "The index holds no file."));
    draw();
  } catch (error) {
    shown = null;
    if (!isAbort(error)) refill(cover, failed(error, load));
  }
}

/** The folder of the address; all, where it names none that is there. */
const current = () => (root && folderAt(root, route().params.get("folder") ?? "")) || root;

function draw() {
  drawCrumbs();
  drawBoxes();
  drawSide();
}

function drawCrumbs() {
  const folder = current();
  const parts = folder?.path ? folder.path.split("/") : [];
  const to = (path) => linkTo("map", { ...Object.fromEntries(route().params), folder: path, source: null });
  out.hidden = parts.length === 0;
  refill(
    crumbs,
    folder && [
      parts.length > 0
        ? h("a", { href: to(null) }, h("bdi", {}, visible(chosenRepo())))
        : h("span", { "aria-current": "true" }, h("bdi", {}, visible(chosenRepo()))),
      parts.map((part, at) => [
        h("span", { class: "quiet", "aria-hidden": "true" }, " / "),
        at === parts.length - 1
          ? h("span", { "aria-current": "true" }, h("bdi", {}, visible(part)))
          : h("a", { href: to(parts.slice(0, at + 1).join("/")) }, h("bdi", {}, visible(part))),
      ]),
      h("span", { class: "quiet" }, ` · ${plural(folder.files, "file")}, ${bytes(folder.bytes)}`),
    ],
  );
}

function drawBoxes() {
  const folder = current();
  const held = stage.contains(document.activeElement) ? document.activeElement.dataset.path : null;
  if (!folder) {
    drawn = [];
    return refill(stage);
  }
  const hits = ranked();
  const languages = colour.value === "language" ? topLanguages(root) : [];
  const wanted = route().params.get("lang");
  drawn = boxes(folder, { x: 0, y: 0, w: stage.clientWidth, h: stage.clientHeight });
  refill(
    stage,
    drawn.map((box) => {
      const element = boxOf(box, hits, languages, wanted);
      element.style.left = `${box.x.toFixed(1)}px`;
      element.style.top = `${box.y.toFixed(1)}px`;
      element.style.width = `${Math.max(0, box.w - 1).toFixed(1)}px`;
      element.style.height = `${Math.max(0, box.h - 1).toFixed(1)}px`;
      box.element = element;
      return element;
    }),
  );
  // One stop for the Tab key: the arrows go on from there.
  const first = drawn.find((box) => held && box.element.dataset.path === held) ?? drawn[0];
  if (first) first.element.tabIndex = 0;
  if (held && first) first.element.focus({ preventScroll: true });
  return undefined;
}

function boxOf(box, hits, languages, wanted) {
  const { node } = box;
  if (!node) {
    const numbers = box.more.flatMap((one) => numbersIn(hits, one.path));
    return h(
      "button",
      {
        type: "button",
        class: "box more",
        tabindex: "-1",
        dataset: { path: `${box.of.path}/` },
        title: `${plural(box.more.length, "smaller one", "smaller ones")} in ${visible(box.of.path || chosenRepo())}`,
        onClick: () => (box.of.path === current().path ? list.querySelector("a, button")?.focus() : goTo(box.of.path)),
      },
      badge(numbers, box),
      box.w > 52 && box.h > 16 ? h("span", { class: "box-name" }, `${count(box.more.length)} more`) : h("span", { class: "unseen" }, `${count(box.more.length)} more`),
    );
  }
  const numbers = numbersIn(hits, node.path);
  const found = numbers.length > 0 ? `, ${numbers.length === 1 ? "hit" : "hits"} ${numbers.slice(0, 20).join(", ")}` : "";
  const facts = node.file ? `${bytes(node.bytes)}${ageOf(node.file)}` : `${plural(node.files, "file")}, ${bytes(node.bytes)}`;
  // A name of two letters and a dot tells nothing; the list has them all.
  const held = box.open ? 0 : numbers.length;
  const roomy = box.h > 15 && box.w > (held > 0 ? 80 : 46);
  const element = h(
    "button",
    {
      type: "button",
      class: `box ${node.file ? "file" : "folder"}${box.open ? " open" : ""}${numbers.length > 0 ? " found" : ""}`,
      tabindex: "-1",
      dataset: { path: node.path },
      title: `${visible(node.path)}\n${facts}${found}`,
      onClick: () => (node.file ? openFile(node.path, hits) : goTo(node.path)),
    },
    badge(box.open ? [] : numbers, box),
    roomy ? h("span", { class: "box-name" }, h("bdi", {}, visible(node.name))) : null,
    h("span", { class: "unseen" }, ` ${node.file ? "File" : "Folder"} ${visible(node.path)}, ${facts}${found}`),
  );
  if (node.file) {
    paint(element, node.file, hits, languages);
    if (wanted && node.file.language !== wanted) element.classList.add("dim");
  }
  return element;
}

const ageOf = (file) => (file.changed ? `, changed ${ago(file.changed)}` : "");

function badge(numbers, box) {
  const first = String(numbers[0] ?? "");
  // A number that were cut would be another one.
  if (numbers.length === 0 || box.w < 20 + 7 * first.length || box.h < 17) return null;
  const most = Math.max(1, Math.floor((box.w - 20) / 20));
  const said = numbers.slice(0, most).join(" ");
  return h("span", { class: "box-hits" }, said);
}

/** The colour of a file, as a share of a colour of the page in that of the box. */
function paint(element, file, hits, languages) {
  const by = colour.value;
  let [name, share] = ["--accent", 0];
  if (by === "fit") share = fitIn(hits.get(file.path));
  else if (by === "age") [name, share] = ["--map-new", newness(file)];
  else if (by === "state") [name, share] = ["--map-changed", changed.has(file.path) ? 1 : 0];
  else {
    const at = languages.indexOf(file.language);
    if (at >= 0) [name, share] = [`--map-${at}`, 1];
  }
  element.dataset.share = share.toFixed(2);
  if (share > 0)
    element.style.backgroundColor = `color-mix(in oklab, var(${name}) ${(share * STRONGEST).toFixed(0)}%, var(--sheet))`;
}

/** 1 for what changed just now, 0 for the oldest, by the logarithm of the days between. */
function newness(file) {
  if (!file.changed) return 0;
  const days = (seconds) => Math.log1p(Math.max(0, seconds) / 86400);
  const now = Date.now() / 1000;
  return Math.max(0.04, 1 - days(now - file.changed) / (days(now - oldest) || 1));
}

function drawSide() {
  const folder = current();
  const where = state.query ? ` for “${visible(state.query.slice(0, 60))}”` : "";
  const hits = ranked();
  const found = [...hits.values()].flat().sort((one, other) => one.rank - other.rank);
  const here = folder ? found.filter(({ hit }) => within(hit.path, folder.path)) : [];
  refill(
    told,
    folder === null
      ? null
      : state.trouble
        ? h("span", { class: "bad" }, state.trouble)
        : found.length > 0
        ? `${plural(found.length, "hit")}${where}${here.length < found.length ? `, ${here.length} in this folder` : ""}`
        : (route().params.get("q") ?? "").trim() !== state.query
          ? "Searching…"
          : state.query
            ? `No hit${where}`
            : "Areas are bytes of code. Search to see where the hits are.",
  );
  hitsHeading.hidden = hitList.hidden = here.length === 0;
  refill(
    hitList,
    here.map(({ rank, hit }) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "plain",
            title: visible(hit.path),
            onClick: () => openSource({ repo: chosenRepo(), path: hit.path, start: hit.start_line, end: hit.end_line }),
          },
          h("span", { class: "box-hits" }, String(rank)),
          h("bdi", { class: "map-name" }, placeText(hit.path.slice(hit.path.lastIndexOf("/") + 1), hit.start_line, hit.end_line)),
          h("span", { class: "unseen" }, ` ${visible(hit.path)}${hit.sure && hit.sure !== "strong" ? `, ${hit.sure}` : ""}`),
        ),
      ),
    ),
  );
  const all = folder ? childrenOf(folder) : [];
  refill(
    listHeading,
    folder && [
      folder.path ? h("bdi", {}, visible(folder.path.split("/").pop())) : "Contents",
      " ",
      h("span", { class: "quiet number" }, all.length > LISTED ? `${LISTED} of ${count(all.length)}` : count(all.length)),
    ],
  );
  refill(list, all.slice(0, LISTED).map((node) => h("li", {}, row(node, hits))));
  drawLegend();
}

function row(node, hits) {
  const numbers = numbersIn(hits, node.path);
  const facts = [
    numbers.length > 0 && h("span", { class: "box-hits" }, h("span", { class: "unseen" }, "hits "), numbers.slice(0, 6).join(" ")),
    h("bdi", { class: "map-name" }, `${visible(node.name)}${node.file ? "" : "/"}`),
    h("span", { class: "quiet number" }, bytes(node.bytes)),
  ];
  return h(
    "button",
    {
      type: "button",
      class: "plain",
      title: visible(node.path),
      onClick: () => (node.file ? openFile(node.path, hits) : goTo(node.path)),
    },
    facts,
  );
}

function drawLegend() {
  const swatch = (name, share, label) => {
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.backgroundColor = `color-mix(in oklab, var(${name}) ${share * STRONGEST}%, var(--sheet))`;
    return h("li", {}, dot, label);
  };
  const entries = {
    fit: () => [swatch("--accent", 1, "fits best"), swatch("--accent", 0.3, "fits less"), swatch("--accent", 0, "no hit")],
    age: () => [
      swatch("--map-new", 1, "today"),
      swatch("--map-new", 0.5, "in between"),
      swatch("--map-new", 0, root ? `${ago(oldest)}, or in no commit of few files` : "longer ago"),
    ],
    state: () => [swatch("--map-changed", 1, "changed since it was indexed"), swatch("--map-changed", 0, "as indexed")],
    language: () => [...topLanguages(root).map((name, at) => swatch(`--map-${at}`, 1, name)), swatch("--accent", 0, "other")],
  };
  refill(legend, entries[colour.value]());
}

const goTo = (folder) => change({ folder: folder || null, source: null });

function goOut() {
  const folder = current();
  if (!folder?.path) return false;
  goTo(folder.path.split("/").slice(0, -1).join("/"));
  return true;
}

/** A file at its best hit, else at its beginning. */
function openFile(path, hits) {
  const best = hits.get(path)?.[0]?.hit;
  openSource({ repo: chosenRepo(), path, start: best?.start_line ?? 1, end: best?.end_line ?? 1 });
}

stage.addEventListener("keydown", (event) => {
  if (event.key === "Backspace") {
    if (goOut()) event.preventDefault();
    return;
  }
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const from = drawn.find((box) => box.element === document.activeElement);
  if (!step || !from) return;
  event.preventDefault();
  event.stopPropagation();
  const next = nearest(drawn, from, step);
  if (!next) return;
  from.element.tabIndex = -1;
  next.element.tabIndex = 0;
  next.element.focus({ preventScroll: true });
});
