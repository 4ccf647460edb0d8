// A block of code: numbered lines, colours, hidden characters made visible.

import { h } from "./dom.js";
import { hiddenIn } from "./format.js";
import { lines } from "./highlight.js";

/** Characters of one line that are shown; generated files have lines of megabytes. */
const LONGEST_LINE = 2_000;
/** Words of questions that mark nothing. */
const COMMON = new Set(
  "all and any are can does for from get has have how into its not out that the then this used was what when where which who why with".split(
    " ",
  ),
);

/**
 * The lines of `text` as an element. `start` is the number of its first (0: no numbers), `from` that of the first
 * shown (a docstring that began above keeps its colour), `most` how many are shown, `lit` which numbers stand out.
 */
export function codeBlock(
  text,
  language,
  { start = 0, from = start, most = Infinity, lit = () => false, label = "Code" } = {},
) {
  const rows = lines(withoutEnd(text), language).slice(from - start, from - start + most);
  const width = String(from + rows.length).length;
  const code = h(
    "code",
    {},
    rows.map((row, at) => line(row, from ? from + at : 0, lit(from + at))),
  );
  return h("pre", { class: "code", dataset: { digits: width }, "aria-label": label, tabindex: "0" }, code);
}

/** A text without the line ends at its own end. A pattern would look at every run of them. */
export function withoutEnd(text) {
  let end = text.length;
  while (end > 0 && text[end - 1] === "\n") end -= 1;
  return text.slice(0, end);
}

function line(row, number, lit) {
  const props = { class: lit ? "line lit" : "line" };
  if (number) props.dataset = { n: String(number) };
  let room = LONGEST_LINE;
  const shown = [];
  // Of the whole line: what a joiner stands between may be of two colours.
  const whole = row.map(([, text]) => text).join("");
  const hidden = hiddenIn(whole.slice(0, LONGEST_LINE));
  let begin = 0;
  for (const [kind, text] of row) {
    if (room <= 0) break;
    const end = begin + Math.min(text.length, room);
    const nodes = visibleNodes(whole, begin, end, hidden);
    begin = end;
    room -= text.length;
    shown.push(kind ? h("span", { class: `t-${kind}` }, nodes) : nodes);
  }
  if (room < 0) shown.push(h("span", { class: "cut" }, "… line cut"));
  return h("span", props, shown, "\n");
}

/** The characters of a line from `begin` to `end`; those of `hidden` by their numbers. */
function visibleNodes(whole, begin, end, hidden) {
  const nodes = [];
  let at = begin;
  for (const [place, char] of hidden) {
    if (place >= end) break;
    if (place + char.length <= begin) continue;
    if (place >= begin) {
      const code = `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
      nodes.push(whole.slice(at, place), h("span", { class: "hidden-char", title: `Hidden character ${code}` }, code));
    }
    at = Math.min(end, place + char.length);
  }
  nodes.push(whole.slice(at, end));
  return nodes;
}

/** Whether a word or a part of a name (`get_name`, `getName`) begins here. */
const beginsWord = (text, at) =>
  !/\p{L}/u.test(text[at - 1] ?? "") || (/\p{Ll}/u.test(text[at - 1]) && /\p{Lu}/u.test(text[at]));

/** Mark the places of words in the code below an element, without touching its nodes. */
export function markWords(root, query) {
  if (typeof Highlight === "undefined" || !CSS.highlights) return;
  const found = query.toLowerCase().match(/[\p{L}\p{N}_]{3,}/gu) ?? [];
  const wanted = [...new Set(found)].filter((word) => !COMMON.has(word)).slice(0, 12);
  const ranges = [];
  if (wanted.length > 0) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node && ranges.length < 2_000; node = walker.nextNode()) {
      if (!node.parentElement.closest(".code")) continue;
      const text = node.data.toLowerCase();
      // Some letters change their length with their case, and places would shift.
      if (text.length !== node.data.length) continue;
      for (const word of wanted) {
        for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
          if (!beginsWord(node.data, at)) continue;
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + word.length);
          ranges.push(range);
        }
      }
    }
  }
  CSS.highlights.set("query", new Highlight(...ranges));
}
