// The states that are not content: waiting, nothing there, something wrong.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** Nothing to show, and what could be done about it. */
export const empty = (title, ...advice) =>
  h(
    "div",
    { class: "notice" },
    h("p", { class: "notice-title" }, title),
    advice.map((one) => (typeof one === "string" ? h("p", {}, one) : one)),
  );

/** Whether the same request may do better later: what the client did wrong stays wrong. */
const mayPass = ({ status = 0 }) => status < 400 || status >= 500 || [401, 408, 409, 429].includes(status);

/** Something failed; `retry` is called by the button. */
export const failed = (error, retry) =>
  h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", { class: "notice-title" }, icon("warning"), error.message),
    retry &&
      mayPass(error) &&
      h("p", {}, h("button", { type: "button", class: "plain", onClick: retry }, icon("refresh"), "Try again")),
  );

/** Something takes a while. */
export const waiting = (what) =>
  h("p", { class: "notice waiting", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), what);

/** A bar that fills; `total` 0 means that the end is not known. */
export function progressBar(label) {
  const bar = h("progress", { "aria-label": label, max: 1 });
  return {
    element: bar,
    set(done, total) {
      if (total > 0) bar.value = Math.min(1, done / total);
      else bar.removeAttribute("value");
    },
  };
}

/** A button that copies a text and says so. */
export function copyButton(text, label) {
  const button = h(
    "button",
    { type: "button", class: "plain icon-only", "aria-label": label, title: label },
    icon("copy"),
  );
  button.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = false;
    }
    button.replaceChildren(icon(done ? "good" : "warning"));
    button.setAttribute("aria-label", done ? "Copied" : "Copying was not allowed");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, 1500);
  });
  return button;
}
