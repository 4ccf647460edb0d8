// A place in a repository as it is written everywhere: folder/file:lines.

import { h } from "./dom.js";
import { visible } from "./format.js";

export const lineRange = (start, end) => (end > start ? `${start}–${end}` : `${start}`);

/** The path and lines as nodes, the file's name standing out. */
export function placeNodes(path, start, end) {
  const cut = path.lastIndexOf("/") + 1;
  return [
    h(
      "bdi",
      { class: "path" },
      // A long path breaks between folders before it breaks within a name.
      path
        .slice(0, cut)
        .split(/(?<=\/)/)
        .map((folder) => [h("span", { class: "folder" }, visible(folder)), h("wbr")]),
      h("span", { class: "file" }, visible(path.slice(cut))),
    ),
    start ? h("span", { class: "lines" }, `:${lineRange(start, end)}`) : null,
  ];
}

/** The same as a text, for names and messages. */
export const placeText = (path, start, end) => `${visible(path)}${start ? `:${lineRange(start, end)}` : ""}`;

/** How an address names a place, and back; null where it names none. */
export const placeParam = (path, start, end) => `${path}:${start}-${end}`;

export function parsePlace(text) {
  const match = /^(.+):(\d{1,9})(?:-(\d{1,9}))?$/s.exec(text ?? "");
  if (!match) return null;
  const start = Number(match[2]);
  return { path: match[1], start, end: Math.max(start, Number(match[3] ?? start)) };
}
