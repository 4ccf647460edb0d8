// One turn of a conversation: what was asked, and an answer that grows.

import { announce } from "./announce.js";
import { fill, freshId, h, refill } from "./dom.js";
import { count, duration, visible, visibleText } from "./format.js";
import { icon } from "./icons.js";
import { blocks } from "./markdown.js";
import { copyButton } from "./notice.js";
import { placeNodes, placeText } from "./place.js";
import { openSource } from "./source.js";

/** Pieces come faster than a screen shows them. */
const FRAME = 50;

/**
 * The elements of a turn, and what fills them. `cites` says whether it is about code, `repo` where citations lead; null is
 * the only repository.
 */
export function turn(question, { cites = false, repo = null } = {}) {
  const state = h("p", { class: "turn-state" });
  const sources = h("div", { class: "turn-sources" });
  const thoughts = h("details", { class: "reasoning", hidden: true }, h("summary", {}, "Reasoning"));
  const thought = h("div", { class: "reasoning-text" });
  thoughts.append(thought);
  const answer = h("div", { class: "answer prose", "aria-busy": "true" });
  const foot = h("footer", { class: "turn-foot" });
  const actions = h("div", { class: "turn-actions" });
  const element = h(
    "article",
    { class: "turn", "aria-label": `Question: ${question.slice(0, 100)}` },
    h("h2", { class: "question" }, visibleText(question)),
    sources,
    thoughts,
    state,
    answer,
    foot,
    actions,
  );
  let text = "";
  let drawn = [];
  let timer = 0;

  let given = [];

  /** Only what the server said was read becomes a citation, whatever the answer writes. */
  const cite = (name, start, end) => {
    const path = cites ? readPath(given, name, start, end) : null;
    return path === null
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "citation",
            "aria-label": `Source ${placeText(path, start, end)}, number ${numberOf(given, path, start)}`,
            title: placeText(path, start, end),
            onClick: () => openSource({ repo, path, start, end }),
          },
          // On a phone the number of the source stands for its name, which would break every line.
          h("span", { class: "citation-number" }, String(numberOf(given, path, start))),
          h("span", { class: "citation-place" }, placeNodes(path.slice(path.lastIndexOf("/") + 1), start, end)),
        );
  };

  function draw() {
    timer = 0;
    const fresh = blocks(text, cite);
    let same = 0;
    while (same < drawn.length && same < fresh.length && drawn[same].raw === fresh[same].raw) same += 1;
    while (answer.childNodes.length > same) answer.lastChild.remove();
    fill(
      answer,
      fresh.slice(same).map((block) => block.node()),
    );
    drawn = fresh;
  }

  return {
    element,
    question,
    /** Buttons under the answer, when it has ended. */
    offer: (buttons) => refill(actions, buttons),
    get text() {
      return text;
    },
    say(message) {
      refill(state, message && [h("span", { class: "spinner", "aria-hidden": "true" }), message]);
    },
    /** How much of the prompt the model has read. */
    reading(done, total) {
      const said = `Reading ${count(done)} of ${count(total)} tokens…`;
      const bar = state.querySelector("progress");
      if (bar) {
        bar.value = done;
        bar.nextSibling.replaceWith(said);
      } else refill(state, h("progress", { max: total, value: done, "aria-label": "Prompt read" }), said);
    },
    add(piece) {
      if (!text) refill(state);
      text += piece;
      timer ||= setTimeout(draw, FRAME);
    },
    think(piece) {
      thoughts.hidden = false;
      thought.append(visibleText(piece));
    },
    sources(found, weak) {
      given = found;
      refill(sources, sourceList(found, repo, weak));
    },
    /** The last word: what remains to be said of how it ended. */
    end({ final = null, told = [], failure = null, stopped = false, silent = false }) {
      clearTimeout(timer);
      if (final !== null) text = final;
      draw();
      refill(state);
      answer.removeAttribute("aria-busy");
      if (failure) fill(state, h("span", { class: "bad", role: "alert" }, icon("warning"), failure.message));
      const said = [stopped ? "Stopped" : null, ...told].filter(Boolean);
      refill(
        foot,
        text ? copyButton(visibleText(text), "Copy the answer") : null,
        said.map((one) => h("span", {}, one)),
      );
      if (!silent) announce(failure ? "The answer failed" : stopped ? "Stopped" : "The answer is complete");
    },
  };
}

/** The path of the source that has every line from `start` to `end` under this name, or null. */
function readPath(sources, name, start, end) {
  const parts = sources.filter((source) => source.path === name || visible(source.path) === name);
  let next = start;
  for (const part of parts.sort((one, two) => one.start_line - two.start_line))
    if (part.start_line <= next && part.end_line >= next) next = part.end_line + 1;
  return start >= 1 && end >= start && next > end ? parts[0].path : null;
}

/** Which of the sources has a line, counted from 1. */
const numberOf = (sources, path, line) =>
  1 + sources.findIndex((source) => source.path === path && source.start_line <= line && line <= source.end_line);

function sourceList(found, repo, weak) {
  if (found.length === 0) return null;
  const id = freshId("sources");
  const list = h(
    "ol",
    { id, class: "source-list", hidden: !weak },
    found.map((source) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "place",
            onClick: () =>
              openSource({
                repo: source.repo ?? repo,
                path: source.path,
                start: source.start_line,
                end: source.end_line,
              }),
          },
          placeNodes(source.path, source.start_line, source.end_line),
        ),
      ),
    ),
  );
  const files = new Set(found.map((source) => source.path)).size;
  const label = weak
    ? `${found.length} places that are nearest`
    : `Read ${found.length === 1 ? "1 place" : `${found.length} places`} in ${files === 1 ? "1 file" : `${files} files`}`;
  const button = h(
    "button",
    { type: "button", class: "plain", "aria-expanded": String(weak), "aria-controls": id },
    icon("down"),
    label,
  );
  button.addEventListener("click", () => {
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
  });
  return [button, list];
}

/** What an answer cost, in words. */
export function cost(usage, timings) {
  const told = [];
  const tokens = usage?.completion_tokens ?? usage?.generated_tokens;
  if (Number.isFinite(tokens)) told.push(`${count(tokens)} tokens`);
  const speed = timings?.tokens_per_second;
  if (speed > 0) told.push(`${speed.toFixed(speed < 10 ? 1 : 0)} tokens/s`);
  if (timings?.total_seconds > 0) told.push(duration(timings.total_seconds));
  return told;
}
