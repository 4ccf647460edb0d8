// A conversation: its turns, where the next one is written, and the one answer that may be under way.

import { isAbort } from "./api.js";
import { announce } from "./announce.js";
import { composer } from "./composer.js";
import { h, refill } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A view of a conversation. `answer(text, signal)` adds a turn through `begin` and resolves when it has ended;
 * `start` is shown before the first turn.
 */
export function conversation({ name, heading, lead, label, placeholder, model, settings, start, answer }) {
  const turns = h("div", { class: "turns" });
  const fresh = h("button", { type: "button", class: "plain", hidden: true, onClick: clear }, icon("more"), "New");
  const caption = h("h1", {}, heading);
  const first = h("div", { class: "first" }, h("p", { class: "lead" }, lead), h("div", {}, start));
  let running = null;
  const box = composer({ label, placeholder, settings, send, stop });
  const element = h(
    "section",
    { class: `view conversation ${name}`, "aria-label": heading },
    h("div", { class: "thread" }, caption, first, turns),
    h("div", { class: "composer-dock" }, h("div", { class: "dock-row" }, model, fresh), box.element),
  );

  async function send(text) {
    if (running) return;
    first.hidden = true;
    caption.className = "unseen";
    fresh.hidden = false;
    const mine = new AbortController();
    running = mine;
    box.busy(true);
    announce("Asked");
    try {
      await answer(text, mine.signal, begin);
    } finally {
      if (running === mine) running = null;
      box.busy(false);
      follow(false);
    }
  }

  function begin(turn) {
    turns.append(turn.element);
    turn.element.scrollIntoView({ block: "start" });
  }

  /** Keep the end in sight, unless the reader has scrolled away from it. */
  function follow() {
    const root = document.scrollingElement;
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 160) root.scrollTop = root.scrollHeight;
  }

  function stop() {
    if (!running) return false;
    running.abort();
    return true;
  }

  function clear() {
    stop();
    refill(turns);
    first.hidden = false;
    caption.className = "";
    fresh.hidden = true;
    onClear.forEach((work) => work());
    box.focus();
  }

  const onClear = [];
  return { element, stop, send, follow, focus: box.focus, put: box.put, onClear: (work) => onClear.push(work) };
}

/** Run one answer: what it yields goes to `event`, how it ends to the turn. */
export async function follow(turn, events, event, scroll, done) {
  try {
    for await (const one of events) {
      event(one);
      scroll();
    }
    turn.end(done());
    return true;
  } catch (error) {
    turn.end(isAbort(error) ? { stopped: true } : { failure: error });
    return false;
  }
}
