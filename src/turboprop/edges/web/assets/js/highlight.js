// Source text to coloured pieces. One pass, each character looked at a bounded number of times, so that a
// hostile file costs no more than a long one.

import { ruleOf } from "./languages.js";

/** Longer texts are shown plain: colours would hold up the page. */
const MOST_CHARS = 300_000;
const WORD = /[\p{L}_$][\p{L}\p{N}_$]*/uy;
const NUMBER = /0[xXbBoO][0-9a-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?/y;
const DIRECTIVE = /#[a-z]+|@[\p{L}_][\p{L}\p{N}_.]*/uy;
const DEFINES = new Set([
  "def",
  "class",
  "function",
  "fn",
  "func",
  "fun",
  "struct",
  "enum",
  "trait",
  "interface",
  "type",
  "impl",
  "module",
  "defmodule",
  "defp",
  "namespace",
  "object",
  "record",
  "protocol",
  "message",
  "service",
]);

/** The pieces of a text as [kind, text]; kind is "" for what has no colour. Their texts joined are the text. */
export function pieces(text, language) {
  const rule = ruleOf(language);
  if (rule === null || text.length > MOST_CHARS) return [["", text]];
  if (rule.headings) return markdownPieces(text);
  const found = [];
  let plain = 0;
  let at = 0;
  let defining = false;
  const put = (kind, end) => {
    if (at > plain) found.push(["", text.slice(plain, at)]);
    found.push([kind, text.slice(at, end)]);
    at = plain = end;
  };
  while (at < text.length) {
    const char = text[at];
    const comment = commentEnd(text, at, rule);
    if (comment > at) {
      put("comment", comment);
      continue;
    }
    const string = stringEnd(text, at, rule);
    if (string > at) {
      put(rule.keys && isKey(text, string) ? "name" : "string", string);
      continue;
    }
    if (char === "#" || char === "@") {
      DIRECTIVE.lastIndex = at;
      const match = DIRECTIVE.exec(text);
      if (match && (rule.words.has(match[0]) || (char === "@" && rule.decorators))) {
        put("keyword", at + match[0].length);
        continue;
      }
    }
    if (rule.tags && char === "<") {
      const match = /^<\/?[a-zA-Z][\w:-]{0,80}/.exec(text.slice(at, at + 90));
      if (match) {
        put("keyword", at + match[0].length);
        continue;
      }
    }
    if (char >= "0" && char <= "9") {
      NUMBER.lastIndex = at;
      put("number", at + NUMBER.exec(text)[0].length);
      continue;
    }
    WORD.lastIndex = at;
    const word = WORD.exec(text)?.[0];
    if (word === undefined) {
      if (char !== " ") defining = false;
      at += 1;
      continue;
    }
    const end = at + word.length;
    if (rule.words.has(rule.anyCase ? word.toLowerCase() : word)) {
      defining = DEFINES.has(word);
      put("keyword", end);
    } else if (defining) {
      defining = false;
      put("defined", end);
    } else if (rule.keys && isKey(text, end)) put("name", end);
    else if (text[end] === "(") put("call", end);
    else at = end;
  }
  if (at > plain) found.push(["", text.slice(plain, at)]);
  return found;
}

function commentEnd(text, at, rule) {
  for (const [open, close] of rule.block) {
    if (text.startsWith(open, at)) {
      const end = text.indexOf(close, at + open.length);
      return end < 0 ? text.length : end + close.length;
    }
  }
  for (const open of rule.line) {
    if (!text.startsWith(open, at)) continue;
    if (rule.hashAfterSpace && at > 0 && !/\s/.test(text[at - 1])) continue;
    const end = text.indexOf("\n", at);
    return end < 0 ? text.length : end;
  }
  return at;
}

function stringEnd(text, at, rule) {
  for (const quote of rule.strings) {
    if (!text.startsWith(quote, at)) continue;
    const many = quote.length > 1 || quote === "`";
    const escapes = rule.raw !== quote;
    for (let end = at + quote.length; end < text.length; end += 1) {
      if (escapes && text[end] === "\\") end += 1;
      else if (!many && text[end] === "\n") return end;
      else if (text.startsWith(quote, end)) return end + quote.length;
    }
    return text.length;
  }
  return at;
}

/** Whether a name is a key: a colon or an equals sign follows on its line. */
function isKey(text, end) {
  let next = end;
  while (next < end + 20 && text[next] === " ") next += 1;
  return text[next] === ":" || text[next] === "=";
}

function markdownPieces(text) {
  const found = [];
  let fenced = false;
  for (const line of text.split(/(?<=\n)/)) {
    const fence = /^\s{0,3}(```|~~~)/.test(line);
    if (fence) fenced = !fenced;
    if (fence) found.push(["comment", line]);
    else if (fenced) found.push(["string", line]);
    else if (/^#{1,6}\s/.test(line)) found.push(["keyword", line]);
    else found.push(["", line]);
  }
  return found;
}

/** The pieces of each line. */
export function lines(text, language) {
  const all = [[]];
  for (const [kind, piece] of pieces(text, language)) {
    const [first, ...others] = piece.split("\n");
    if (first) all.at(-1).push([kind, first]);
    for (const other of others) all.push(other ? [[kind, other]] : []);
  }
  return all;
}
