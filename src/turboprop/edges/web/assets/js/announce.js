// What a screen reader hears of changes elsewhere on the page.

import { h } from "./dom.js";

const polite = h("p", { class: "unseen", role: "status", "aria-live": "polite", id: "said" });

export const region = () => polite;

let timer = 0;

/** Say it once things have settled; a later message takes the place of one not yet said. */
export function announce(message) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    polite.textContent = message;
  }, 250);
}
