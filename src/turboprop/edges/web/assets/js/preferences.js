// What the user chooses once: the editor that links open, and the theme.

import { h } from "./dom.js";
import { chooseEditor, chosenEditor, editors } from "./editor.js";
import { icon } from "./icons.js";
import { chooseTheme, chosenTheme, THEMES } from "./theme.js";

const editor = h(
  "select",
  { id: "editor-choice" },
  editors().map(({ id, name }) => h("option", { value: id }, name)),
);
const themes = h(
  "fieldset",
  { class: "segments" },
  h("legend", { class: "unseen" }, "Theme"),
  Object.entries(THEMES).map(([value, label]) =>
    h("label", {}, h("input", { type: "radio", name: "theme", value }), h("span", {}, label)),
  ),
);
const form = h(
  "form",
  { method: "dialog", class: "preferences" },
  h(
    "div",
    { class: "setting" },
    h("label", { for: "editor-choice" }, "Editor"),
    editor,
    h("span", { class: "quiet" }, "which “Open in” starts"),
  ),
  h("div", { class: "setting" }, h("span", { class: "strong", "aria-hidden": "true" }, "Theme"), themes),
);
const dialog = h(
  "dialog",
  { class: "dialog", "aria-labelledby": "preferences-title" },
  h(
    "header",
    {},
    h("h2", { id: "preferences-title" }, "Preferences"),
    h(
      "button",
      {
        type: "button",
        class: "plain icon-only",
        "aria-label": "Close the preferences",
        onClick: () => dialog.close(),
      },
      icon("close"),
    ),
  ),
  form,
);

editor.addEventListener("change", () => chooseEditor(editor.value));
themes.addEventListener("change", () => chooseTheme(form.elements.theme.value));

export const preferencesDialog = () => dialog;

export function showPreferences() {
  editor.value = chosenEditor();
  form.elements.theme.value = chosenTheme();
  dialog.showModal();
}
