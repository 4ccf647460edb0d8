// Asks for the server's key when it answers 401.

import { setKeyPrompt } from "./api.js";
import { h } from "./dom.js";
import { mark } from "./icons.js";

const input = h("input", {
  type: "password",
  id: "api-key",
  autocomplete: "off",
  required: true,
  "aria-describedby": "key-told",
});
const told = h("p", { id: "key-told" });
const form = h(
  "form",
  { method: "dialog" },
  mark(),
  h("h2", { id: "key-title" }, "This server wants a key"),
  told,
  h("label", { for: "api-key" }, "API key"),
  input,
  h(
    "div",
    { class: "buttons" },
    h("button", { type: "submit", class: "main", value: "ok" }, "Continue"),
    h("button", { type: "submit", class: "plain", value: "", formnovalidate: true }, "Not now"),
  ),
);
const dialog = h("dialog", { class: "dialog key", "aria-labelledby": "key-title" }, form);

export const keyDialog = () => dialog;

setKeyPrompt(
  (refused) =>
    new Promise((done) => {
      told.textContent = refused
        ? "That key was not accepted. Try another."
        : "It is in the link that “tp serve” printed, or was given to it with --api-key. It stays in this tab until you " +
          "close it.";
      input.value = "";
      dialog.returnValue = "";
      dialog.showModal();
      input.focus();
      dialog.addEventListener(
        "close",
        () => done((dialog.returnValue === "ok" && input.value.trim().replace(/^.*#key=/, "")) || null),
        { once: true },
      );
    }),
);
