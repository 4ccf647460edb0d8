// The panel that shows a file around a place.

import { address, isAbort, request } from "./api.js";
import { codeBlock } from "./code.js";
import { h, refill } from "./dom.js";
import { editorLink } from "./editor.js";
import { visible } from "./format.js";
import { icon } from "./icons.js";
import { copyButton, failed, waiting } from "./notice.js";
import { parsePlace, placeNodes, placeParam, placeText } from "./place.js";
import { change, go } from "./router.js";
import { chosenRepo } from "./state.js";

/** Lines around a hit at first, and how many more a button brings. */
const AROUND = 25;
const MORE = 100;
/** Up to this line a file is read from its beginning. */
const WHOLE = 3_000;

const title = h("h2", { class: "source-title", id: "source-title", tabindex: "-1" });
const tools = h("div", { class: "source-tools" });
const body = h("div", { class: "source-body" });
const panel = h(
  "aside",
  { class: "source", "aria-labelledby": "source-title", hidden: true },
  h("header", {}, title, tools),
  body,
);

let shown = "";
let before = null;
let running = null;

export const sourcePanel = () => panel;

/** Show the source of a place beside what is on the page. */
export function openSource({ repo, path, start, end }) {
  before = document.activeElement;
  change({ source: placeParam(path, start, end), of: repo });
}

export function closeSource() {
  if (panel.hidden) return false;
  change({ source: null, of: null });
  return true;
}

/** Follow the address. */
export function drawSource(params) {
  const place = parsePlace(params.get("source"));
  const key = place ? `${params.get("of")} ${params.get("source")}` : "";
  if (key === shown) return;
  shown = key;
  running?.abort();
  document.body.classList.toggle("with-source", Boolean(place));
  panel.hidden = !place;
  if (!place) {
    if (before?.isConnected) before.focus();
    before = null;
    return;
  }
  load({ ...place, repo: params.get("of") ?? chosenRepo() });
}

async function load(place) {
  refill(title, placeNodes(place.path, place.start, place.end));
  drawTools(place);
  const wait = setTimeout(() => refill(body, waiting("Reading the file…")), 150);
  body.replaceChildren();
  title.focus({ preventScroll: true });
  running = new AbortController();
  const { signal } = running;
  try {
    const got = await read(place, place.start - AROUND, place.end + AROUND, signal);
    clearTimeout(wait);
    draw(place, got, Math.max(1, place.start - AROUND), signal);
    const target = body.querySelector(".lit") ?? body.querySelector(".line");
    if (target) body.scrollTop = Math.max(0, target.offsetTop - body.clientHeight / 4);
  } catch (error) {
    clearTimeout(wait);
    if (!isAbort(error))
      refill(
        body,
        failed(error, () => load(place)),
      );
  }
}

/** Lines from the file's beginning where that is near: what a line's colours are is decided above it. */
const read = ({ repo, path }, first, last, signal) =>
  request(address("api/source", { repo, path, start: last <= WHOLE ? 1 : Math.max(1, first), end: last }), { signal });

function drawTools({ repo, path, start, end }) {
  refill(
    tools,
    editorLink(repo, path, start),
    h(
      "button",
      {
        type: "button",
        class: "plain",
        onClick: () => go("search", { like: `${path}:${start}`, of: repo, source: placeParam(path, start, end) }),
      },
      icon("similar"),
      "Similar code",
    ),
    copyButton(`${visible(path)}:${start}`, "Copy the place"),
    h(
      "button",
      {
        type: "button",
        class: "plain icon-only",
        "aria-label": "Close the source",
        title: "Close (Esc)",
        onClick: closeSource,
      },
      icon("close"),
    ),
  );
}

function draw(place, got, from, signal) {
  const lit = (number) => number >= place.start && number <= place.end;
  const code = codeBlock(got.text, got.language, {
    start: got.start_line,
    from,
    lit,
    label: `Source of ${placeText(place.path)}`,
  });
  const above =
    from > 1 &&
    more("Earlier lines", async () => {
      const first = Math.max(1, from - MORE);
      return [first < got.start_line ? await read(place, first, got.end_line, signal) : got, first];
    });
  const below =
    got.end_line < got.total_lines &&
    more("Later lines", async () => [await read(place, from, got.end_line + MORE, signal), from]);
  refill(body, above, code, below);

  function more(label, grown) {
    const button = h("button", { type: "button", class: "plain wide" }, label);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const [next, first] = await grown();
        const height = body.scrollHeight;
        const top = body.scrollTop;
        draw(place, next, Math.max(first, next.start_line), signal);
        body.scrollTop = first < from ? top + body.scrollHeight - height : top;
        body.querySelector("pre").focus({ preventScroll: true });
      } catch (error) {
        if (!isAbort(error)) button.replaceWith(failed(error, () => load(place)));
      }
    });
    return button;
  }
}
