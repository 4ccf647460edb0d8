// Shortcuts, and the dialog that lists them.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const LISTED = [
  ["/", "Search"],
  ["g then s, a, c, m, i, d", "Go to search, ask, chat, map, index, models"],
  ["↓ ↑ or j k", "Next and previous hit"],
  ["Enter", "Open the source of the hit"],
  ["o", "Open the hit in the editor"],
  ["l", "Code like the hit"],
  ["e", "Explain the hit's score"],
  ["Esc", "Close the source, stop an answer"],
  ["arrows, Enter, Backspace", "On the map: to the next box, open it, to the folder above"],
  [", and t", "Preferences; dark, light, as the system"],
  ["?", "This list"],
];

let waiting = 0;

const dialog = h(
  "dialog",
  { class: "dialog", "aria-labelledby": "keys-title" },
  h(
    "header",
    {},
    h("h2", { id: "keys-title" }, "Keyboard shortcuts"),
    h(
      "button",
      { type: "button", class: "plain icon-only", "aria-label": "Close the list", onClick: () => dialog.close() },
      icon("close"),
    ),
  ),
  h(
    "dl",
    { class: "shortcuts" },
    LISTED.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]),
  ),
);

export const keysDialog = () => dialog;
export const showKeys = () => dialog.showModal();

const writes = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
    (target.tagName === "INPUT" && !/^(checkbox|radio|button|range)$/.test(target.type)));

/** `actions` are functions by key, `places` by the second key after g; true from an action means that it was done. */
export function listen(actions, places) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const { key } = event;
    if (writes(event.target) && key !== "Escape") return;
    const second = Date.now() < waiting;
    waiting = 0;
    if (second && Object.hasOwn(places, key)) {
      event.preventDefault();
      places[key]();
    } else if (key === "g") waiting = Date.now() + 1500;
    else if (Object.hasOwn(actions, key) && actions[key](event) !== false) event.preventDefault();
  });
}
