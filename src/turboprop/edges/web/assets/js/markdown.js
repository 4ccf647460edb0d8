// Markdown to elements: what answers use of it. HTML in it stays text, images are not loaded.

import { codeBlock } from "./code.js";
import { h } from "./dom.js";
import { visible, visibleText } from "./format.js";

const DEEPEST = 6;
/** Characters of an address that are shown. */
const LONGEST_ADDRESS = 120;
const BULLET = /^(\s{0,12})([-*+]|\d{1,9}[.)])\s+(.*)$/;
const CITED = /^\s*`?([^:`\]]+?)`?\s*:\s*L?(\d{1,9})(?:\s*[-–]\s*L?(\d{1,9}))?\s*$/;

/**
 * The blocks of a text: {raw, node()}. A block whose `raw` has not changed need not be drawn again while an answer
 * grows. `cite(path, start, end)` makes the element of a citation, or null where it is none.
 */
export function blocks(text, cite = () => null) {
  return parse(text.replaceAll("\r\n", "\n").split("\n"), cite, 0);
}

function parse(rows, cite, depth) {
  const found = [];
  let at = 0;
  const put = (end, node) => {
    found.push({ raw: rows.slice(at, end).join("\n"), node });
    at = end;
  };
  while (at < rows.length) {
    const row = rows[at];
    const fence = /^\s{0,3}(`{3,}|~{3,})\s*([^\s`]*)/.exec(row);
    const heading = /^(#{1,6})\s+(.*)$/.exec(row);
    if (row.trim() === "") at += 1;
    else if (fence) {
      const end = fenceEnd(rows, at, fence[1]);
      const body = rows.slice(at + 1, end.closed ? end.at - 1 : end.at).join("\n");
      put(end.at, () => codeBlock(body, fence[2], { label: `Code${fence[2] ? `, ${visible(fence[2])}` : ""}` }));
    } else if (heading) {
      // The page has headings of its own above these.
      const level = Math.min(6, heading[1].length + 2);
      put(at + 1, () => h(`h${level}`, {}, inline(heading[2], cite)));
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(row)) put(at + 1, () => h("hr"));
    else if (/^\s{0,3}>/.test(row) && depth < DEEPEST) {
      let end = at;
      while (end < rows.length && /^\s{0,3}>/.test(rows[end])) end += 1;
      const inner = rows.slice(at, end).map((one) => one.replace(/^\s{0,3}> ?/, ""));
      put(end, () =>
        h(
          "blockquote",
          {},
          parse(inner, cite, depth + 1).map((block) => block.node()),
        ),
      );
    } else if (BULLET.test(row) && depth < DEEPEST) {
      const end = listEnd(rows, at);
      const inner = rows.slice(at, end);
      put(end, () => list(inner, cite, depth));
    } else if (
      row.includes("|") &&
      /^[\s|:-]*-[\s|:-]*$/.test(rows[at + 1] ?? "") &&
      (rows[at + 1] ?? "").includes("|")
    ) {
      let end = at + 2;
      while (end < rows.length && rows[end].includes("|")) end += 1;
      const inner = rows.slice(at, end);
      put(end, () => table(inner, cite));
    } else {
      let end = at + 1;
      while (end < rows.length && !begins(rows[end], depth)) end += 1;
      const inner = rows.slice(at, end).join("\n");
      put(end, () => h("p", {}, inline(inner, cite)));
    }
  }
  return found;
}

const begins = (row, depth) =>
  row.trim() === "" || /^\s{0,3}(#{1,6}\s|>|`{3}|~{3})/.test(row) || (depth < DEEPEST && BULLET.test(row));

function fenceEnd(rows, at, fence) {
  for (let end = at + 1; end < rows.length; end += 1) {
    const row = rows[end].trim();
    if (row.startsWith(fence) && row === row[0].repeat(row.length)) return { at: end + 1, closed: true };
  }
  return { at: rows.length, closed: false };
}

function listEnd(rows, at) {
  let end = at + 1;
  while (end < rows.length) {
    const row = rows[end];
    const goesOn = BULLET.test(row) || /^\s{2,}\S/.test(row) || (row.trim() !== "" && !begins(row, 0));
    const gap = row.trim() === "" && (BULLET.test(rows[end + 1] ?? "") || /^\s{2,}\S/.test(rows[end + 1] ?? ""));
    if (!goesOn && !gap) break;
    end += 1;
  }
  return end;
}

function list(rows, cite, depth) {
  const [, indent, sign] = BULLET.exec(rows[0]);
  const items = [];
  for (const row of rows) {
    const match = BULLET.exec(row);
    if (match && match[1].length <= indent.length + 1) items.push([match[3]]);
    else items.at(-1).push(row.replace(/^\s{1,4}/, ""));
  }
  const ordered = /\d/.test(sign);
  const nodes = items.map((item) => {
    const inner = parse(item, cite, depth + 1).map((block) => block.node());
    // An item of one paragraph stands close to its neighbours.
    return h("li", {}, inner[0]?.tagName === "P" ? [[...inner[0].childNodes], inner.slice(1)] : inner);
  });
  return h(ordered ? "ol" : "ul", ordered ? { start: Number.parseInt(sign, 10) } : {}, nodes);
}

function table(rows, cite) {
  const cells = (row) =>
    row
      .trim()
      .replace(/^\||\|$/g, "")
      .split("|")
      .map((cell) => inline(cell.trim(), cite));
  return h(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          cells(rows[0]).map((cell) => h("th", { scope: "col" }, cell)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.slice(2).map((row) =>
          h(
            "tr",
            {},
            cells(row).map((cell) => h("td", {}, cell)),
          ),
        ),
      ),
    ),
  );
}

/** Code, emphasis, links and citations of one text, as nodes. */
function inline(text, cite, depth = 0) {
  const nodes = [];
  let plain = "";
  let at = 0;
  const put = (node, end) => {
    if (plain) nodes.push(visibleText(plain));
    plain = "";
    nodes.push(node);
    at = end;
  };
  // A sign that found no partner once finds none later either; without this, a row of them costs its square.
  const lonely = new Set();
  const closing = (sign, from) => {
    if (lonely.has(sign)) return -1;
    const end = text.indexOf(sign, from);
    if (end < 0) lonely.add(sign);
    return end;
  };
  while (at < text.length) {
    const char = text[at];
    if (char === "\\" && /[\\`*_[\]#|<>]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    if (char === "`") {
      const sign = /^`{1,3}/.exec(text.slice(at, at + 3))[0];
      const end = closing(sign, at + sign.length);
      if (end > 0) {
        put(h("code", {}, visibleText(text.slice(at + sign.length, end))), end + sign.length);
        continue;
      }
    }
    if ((char === "*" || char === "_") && depth < DEEPEST) {
      const sign = text[at + 1] === char ? char + char : char;
      const opens = /\S/.test(text[at + sign.length] ?? "") && (char === "*" || !/\w/.test(text[at - 1] ?? ""));
      const end = opens ? closing(sign, at + sign.length) : -1;
      const closes =
        end > at + sign.length &&
        /\S/.test(text[end - 1]) &&
        (char === "*" || !/\w/.test(text[end + sign.length] ?? ""));
      if (closes) {
        const inner = text.slice(at + sign.length, end);
        put(h(sign.length === 2 ? "strong" : "em", {}, inline(inner, cite, depth + 1)), end + sign.length);
        continue;
      }
    }
    if (char === "[") {
      const end = closing("]", at + 1);
      if (end > 0 && end - at < 500) {
        const inner = text.slice(at + 1, end);
        const link = text[end + 1] === "(" ? /^\(([^()\s]{1,2000})\)/.exec(text.slice(end + 1, end + 2003)) : null;
        const node = link ? anchor(inner, link[1]) : citations(inner, cite);
        if (node) {
          put(node, end + 1 + (link ? link[0].length : 0));
          continue;
        }
      }
    }
    plain += char;
    at += 1;
  }
  if (plain) nodes.push(visibleText(plain));
  return nodes;
}

/** Only the web's own addresses become links, and show where they lead: a label may lie, an address carry text away. */
function anchor(label, target) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return null;
  const shown = visibleText(label);
  const address = url.href.length > LONGEST_ADDRESS ? `${url.href.slice(0, LONGEST_ADDRESS)}…` : url.href;
  return h(
    "a",
    { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer" },
    shown,
    shown === url.href || shown === target ? null : ` (${address})`,
  );
}

function citations(inner, cite) {
  const found = inner.split(/[,;]/).map((part) => CITED.exec(part));
  if (!found.every(Boolean)) return null;
  const nodes = found.map((one) => cite(one[1], Number(one[2]), Number(one[3] ?? one[2])));
  return nodes.every(Boolean) ? h("span", { class: "citations" }, nodes) : null;
}
