// A conversation: its turns, where the next one is written, and the one answer that may be under way.

import { isAbort } from "./api.js";
import { announce } from "./announce.js";
import { composer } from "./composer.js";
import { fill, h, refill } from "./dom.js";
import { icon } from "./icons.js";
import { talkList } from "./talk_list.js";
import { keep, talks } from "./talks.js";

/**
 * A view of a conversation. `answer(text, signal, begin, before)` adds a turn through `begin` and resolves to what is kept
 * of it, {question, answer, ...}; `before` are those of the turns before it. `replay(kept)` makes a turn of one again,
 * `repo()` says whose the conversation is, null for none; `start` is shown before the first turn.
 */
export function conversation({ name, heading, lead, label, placeholder, model, settings, start, answer, replay, repo }) {
  const kept = `tp.${name}.talks`;
  const turns = h("div", { class: "turns" });
  const fresh = h("button", { type: "button", class: "plain", hidden: true, onClick: clear }, icon("more"), "New");
  const editing = h("p", { class: "editing", hidden: true });
  const caption = h("h1", {}, heading);
  const list = talkList(kept, repo, open);
  const first = h("div", { class: "first" }, h("p", { class: "lead" }, lead), h("div", {}, start), list.element);
  /** The turns as {turn, kept}; `kept` is null for one that failed. */
  let shown = [];
  let talk = null;
  let running = null;
  let from = null;
  const box = composer({ label, placeholder, settings, send, stop });
  const element = h(
    "section",
    { class: `view conversation ${name}`, "aria-label": heading },
    h("div", { class: "thread" }, caption, first, turns),
    h("div", { class: "composer-dock" }, editing, h("div", { class: "dock-row" }, model, fresh), box.element),
  );

  async function send(text) {
    if (running) return;
    if (from !== null) cut(from);
    edit(null);
    begun(true);
    const mine = new AbortController();
    running = mine;
    box.busy(true);
    announce("Asked");
    const before = shown.map((one) => one.kept).filter(Boolean);
    const row = { turn: null, kept: null };
    const begin = (turn) => {
      row.turn = turn;
      shown.push(row);
      turns.append(turn.element);
      turn.element.scrollIntoView({ block: "start" });
    };
    try {
      row.kept = await answer(text, mine.signal, begin, before);
    } finally {
      if (running === mine) running = null;
      box.busy(running !== null);
      if (shown.includes(row)) {
        offer();
        save();
      }
      follow();
    }
  }

  /** What can be done with a turn: the last can be answered again, every question be changed. */
  function offer() {
    shown.forEach(({ turn }, at) => {
      const again = () => {
        if (running) return;
        cut(at);
        send(turn.question);
      };
      const act = (text, picture, work) =>
        h("button", { type: "button", class: "plain", onClick: work }, icon(picture), text);
      turn.offer([
        at === shown.length - 1 && act("Answer again", "refresh", again),
        act("Edit the question", "edit", () => edit(at)),
      ]);
    });
  }

  /** Write a question anew: when it is sent, it takes the place of turn `at` and of all after it. Null ends that. */
  function edit(at) {
    if (running) return;
    from = at;
    editing.hidden = at === null;
    refill(
      editing,
      at !== null && [
        `Sending replaces question ${at + 1}${at < shown.length - 1 ? " and what follows it" : ""}. `,
        h(
          "button",
          {
            type: "button",
            class: "plain",
            onClick: () => {
              edit(null);
              box.put("");
            },
          },
          "Keep it",
        ),
      ],
    );
    if (at !== null) {
      box.put(shown[at].turn.question);
      box.focus();
    }
  }

  function cut(at) {
    for (const { turn } of shown.splice(at)) turn.element.remove();
  }

  function save() {
    const all = shown.map((one) => one.kept).filter(Boolean);
    if (all.length === 0) return;
    // Its name may have been changed meanwhile.
    const known = talks(kept).find((one) => one.id === talk);
    talk ??= `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
    keep(kept, { id: talk, title: known?.title ?? all[0].question.slice(0, 120), repo: repo(), at: Date.now() / 1000, turns: all });
  }

  function open(one) {
    clear();
    talk = one.id;
    shown = one.turns.map((each) => ({ kept: each, turn: replay(each) }));
    fill(
      turns,
      shown.map(({ turn }) => turn.element),
    );
    offer();
    begun(true);
    box.focus();
  }

  function begun(is) {
    first.hidden = is;
    caption.className = is ? "unseen" : "";
    fresh.hidden = !is;
    if (!is) list.draw();
  }

  /** Keep the end in sight, unless the reader has scrolled away from it. */
  function follow() {
    const root = document.scrollingElement;
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 160) root.scrollTop = root.scrollHeight;
  }

  function stop() {
    if (from !== null) {
      edit(null);
      box.put("");
      return true;
    }
    if (!running) return false;
    running.abort();
    return true;
  }

  function clear() {
    running?.abort();
    running = null;
    edit(null);
    [shown, talk] = [[], null];
    refill(turns);
    begun(false);
    box.busy(false);
    box.focus();
  }

  /** The list may have changed in another tab; another repository has another one. */
  const draw = () => list.draw();
  return { element, stop, send, follow, clear, draw, focus: box.focus, put: box.put };
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
