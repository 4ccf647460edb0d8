// Dark, light, or as the system has it.

import { announce } from "./announce.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { read, write } from "./state.js";

const KEY = "tp.theme";
export const THEMES = { auto: "System", light: "Light", dark: "Dark" };
const ORDER = Object.keys(THEMES);
const SAID = { auto: "as the system", light: "light", dark: "dark" };

export const chosenTheme = () => (ORDER.includes(read(KEY)) ? read(KEY) : "auto");

const button = h("button", { type: "button", class: "plain icon-only theme", onClick: nextTheme });

/** The switch; each press goes on to the next theme. */
export function themeButton() {
  draw();
  return button;
}

export function nextTheme() {
  chooseTheme(ORDER[(ORDER.indexOf(chosenTheme()) + 1) % ORDER.length]);
}

export function chooseTheme(next) {
  write(KEY, next);
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  draw();
  announce(`Theme: ${SAID[next]}`);
}

function draw() {
  button.replaceChildren(icon(chosenTheme()));
  button.setAttribute("aria-label", `Theme: ${SAID[chosenTheme()]}`);
  button.title = `Theme: ${SAID[chosenTheme()]} (t)`;
}
