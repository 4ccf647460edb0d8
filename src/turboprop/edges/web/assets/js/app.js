// Where the page begins: the views, the shortcuts, and what the address says.

import { region } from "./announce.js";
import * as ask from "./ask.js";
import * as chat from "./chat.js";
import { h } from "./dom.js";
import { frame, markCurrent } from "./frame.js";
import { pressOnHit } from "./hits.js";
import * as index from "./index_view.js";
import { keyDialog } from "./key_prompt.js";
import { keysDialog, listen, showKeys } from "./keys.js";
import * as map from "./map.js";
import * as models from "./models.js";
import { preferencesDialog, showPreferences } from "./preferences.js";
import { go, start } from "./router.js";
import * as search from "./search.js";
import { closeSource, drawSource, sourcePanel } from "./source.js";
import { follow, tellView } from "./state.js";
import { nextTheme } from "./theme.js";

const VIEWS = [
  { name: "search", title: "Search", icon: "search", view: search },
  { name: "ask", title: "Ask", icon: "ask", view: ask },
  { name: "chat", title: "Chat", icon: "chat", view: chat },
  { name: "map", title: "Map", icon: "map", view: map },
  { name: "index", title: "Index", icon: "index", view: index },
  { name: "models", title: "Models", icon: "models", view: models },
];

const main = h("main", { id: "main", tabindex: "-1" });
document.body.replaceChildren(
  ...frame(VIEWS, main, sourcePanel()),
  region(),
  keysDialog(),
  preferencesDialog(),
  keyDialog(),
);

let current = null;

function draw({ view, params }) {
  const chosen = VIEWS.find(({ name }) => name === view);
  if (current !== chosen) {
    current?.view.hide?.();
    main.replaceChildren(chosen.view.element);
    tellView();
    markCurrent(view);
    document.title = `${chosen.title} · TurboProp`;
    if (current !== null) main.focus({ preventScroll: true });
    current = chosen;
    scrollTo(0, 0);
  }
  drawSource(params);
  chosen.view.show(params);
}

const goSearch = () => {
  if (current.name !== "search") go("search");
  setTimeout(search.focusQuery);
};
const onSearch = (work) => () => (current.name === "search" ? work() : false);

listen(
  {
    "/": goSearch,
    "?": showKeys,
    ",": showPreferences,
    t: nextTheme,
    j: onSearch(() => search.move(1)),
    k: onSearch(() => search.move(-1)),
    ArrowDown: onSearch(() => document.activeElement?.closest(".hits") && search.move(1)),
    ArrowUp: onSearch(() => document.activeElement?.closest(".hits") && (search.move(-1) || search.focusQuery())),
    o: () => pressOnHit("editor"),
    l: () => pressOnHit("similar"),
    e: () => pressOnHit("why"),
    Escape: () => current.view.stop?.() || closeSource(),
  },
  Object.fromEntries(
    [
      ["s", "search"],
      ["a", "ask"],
      ["c", "chat"],
      ["m", "map"],
      ["i", "index"],
      ["d", "models"],
    ].map(([key, view]) => [key, () => go(view)]),
  ),
);

start(
  VIEWS.map(({ name }) => name),
  draw,
);
follow();
