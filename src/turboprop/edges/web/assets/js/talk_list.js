// The list of kept conversations: open, rename, export, delete.

import { announce } from "./announce.js";
import { h, refill } from "./dom.js";
import { ago, plural, visible } from "./format.js";
import { icon } from "./icons.js";
import { asMarkdown, drop, rename, talks } from "./talks.js";

/** A list of what is kept under `name`, of the repository that `repo()` says; `open(talk)` shows one. */
export function talkList(name, repo, open) {
  const element = h("section", { class: "talks", hidden: true });

  function draw() {
    const all = talks(name).filter((talk) => talk.repo === repo());
    element.hidden = all.length === 0;
    refill(
      element,
      h("h2", {}, "Conversations"),
      h("ul", { "aria-label": "Conversations" }, all.map((talk) => h("li", {}, row(talk)))),
      h("p", { class: "quiet" }, "Kept in this browser alone."),
    );
  }

  function row(talk) {
    const shown = visible(talk.title);
    const title = h("button", { type: "button", class: "plain talk-title", onClick: () => open(talk) }, h("bdi", {}, shown));
    const place = h("span", { class: "talk-place" }, title);
    const act = (label, picture, work) =>
      h(
        "button",
        { type: "button", class: "plain icon-only", "aria-label": `${label}: ${shown}`, title: label, onClick: work },
        icon(picture),
      );
    const remove = act("Delete", "close", () => {
      drop(name, talk.id);
      announce("Deleted");
      draw();
    });
    return [
      place,
      h("span", { class: "quiet" }, `${plural(talk.turns.length, "question")}, ${ago(talk.at)}`),
      h("span", { class: "talk-actions" }, act("Rename", "edit", () => edit(talk, place)), act("Export", "download", () => save(talk)), remove),
    ];
  }

  function edit(talk, place) {
    const input = h("input", { type: "text", "aria-label": "Name of the conversation", maxlength: 200 });
    input.value = talk.title;
    let done = false;
    const end = (kept) => {
      if (done) return;
      done = true;
      if (kept) rename(name, talk.id, input.value.trim());
      draw();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
    refill(place, input);
    input.select();
  }

  return { element, draw };
}

function save(talk) {
  const url = URL.createObjectURL(new Blob([asMarkdown(talk)], { type: "text/markdown" }));
  const name = talk.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "conversation";
  h("a", { href: url, download: `${name}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
