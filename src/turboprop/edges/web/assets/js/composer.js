// Where a question is written: it grows with its text, Enter sends, a stop button while an answer comes.

import { freshId, h } from "./dom.js";
import { icon } from "./icons.js";

/** A text field with its buttons; `send(text)` is called with what was written, `stop()` while it is busy. */
export function composer({ label, placeholder, send, stop, settings }) {
  const input = h("textarea", { rows: 1, "aria-label": label, placeholder, maxlength: 20000, enterkeyhint: "send" });
  const submit = h(
    "button",
    { type: "submit", class: "main icon-only send", "aria-label": "Send", title: "Send (Enter)" },
    icon("send"),
  );
  const halt = h("button", { type: "button", class: "stop", hidden: true, onClick: stop }, icon("stop"), "Stop");
  const id = freshId("settings");
  const drawer = h("div", { class: "settings-drawer", id, hidden: true }, settings);
  const tune = h(
    "button",
    {
      type: "button",
      class: "plain icon-only",
      "aria-label": "Sampling settings",
      title: "Sampling settings",
      "aria-expanded": "false",
      "aria-controls": id,
    },
    icon("tune"),
  );
  tune.addEventListener("click", () => {
    drawer.hidden = !drawer.hidden;
    tune.setAttribute("aria-expanded", String(!drawer.hidden));
  });
  const grow = () => {
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight + 2, 240)}px`;
  };
  const form = h("form", { class: "composer" }, drawer, h("div", { class: "composer-row" }, tune, input, halt, submit));
  input.addEventListener("input", grow);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text || !halt.hidden) return;
    input.value = "";
    grow();
    send(text);
  });
  return {
    element: form,
    focus: () => input.focus(),
    put(text) {
      input.value = text;
      grow();
    },
    busy(is) {
      // The focus must not fall off a button that goes away.
      const held = document.activeElement === halt || document.activeElement === submit;
      halt.hidden = !is;
      submit.hidden = is;
      if (held) input.focus();
    },
  };
}
