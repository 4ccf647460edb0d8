// Numbers, sizes and times as people read them.

const NUMBER = new Intl.NumberFormat("en");

export const count = (value) => NUMBER.format(value);

/** "1 file", "2 files". */
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Bytes in decimal units, as disks and models are sold. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  for (const [unit, size, digits] of [
    ["GB", 1e9, 1],
    ["MB", 1e6, 0],
    ["kB", 1e3, 0],
  ]) {
    if (value >= size) return `${(value / size).toFixed(value / size < 10 ? Math.max(digits, 1) : digits)} ${unit}`;
  }
  return `${value} B`;
}

/** Seconds, as short as they allow. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** How long ago a time (seconds since the epoch) was. */
export function ago(epoch) {
  const past = Date.now() / 1000 - epoch;
  if (!Number.isFinite(past)) return "–";
  if (past < 60) return "just now";
  if (past < 3600) return `${plural(Math.floor(past / 60), "minute")} ago`;
  if (past < 86400) return `${plural(Math.floor(past / 3600), "hour")} ago`;
  return `${plural(Math.floor(past / 86400), "day")} ago`;
}

/** Times come as seconds since the epoch or in ISO 8601. */
export const epochOf = (time) => (typeof time === "string" ? Date.parse(time) / 1000 : time);

// What hides or acts where it is shown, as `turboprop/printable.py` has it and explains it; a test compares the two.
const NEVER =
  "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f" +
  "\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufe03-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb" +
  "\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}";
const SOMETIMES = "\\u180b-\\u180d\\u180f\\u200c\\u200d\\ufe00-\\ufe02\\ufe0e\\ufe0f\\u{e0100}-\\u{e01ef}";
const JOINING =
  "\\u0620-\\u08ff\\u0900-\\u0dff\\u0f00-\\u109f\\u1780-\\u17b3\\u17b6-\\u17ff\\u1807\\u180a\\u1820-\\u18af\\u1a20-\\u1cff" +
  "\\ua800-\\ua8ff\\ua980-\\ua9ff\\ufb50-\\ufdff\\ufe70-\\ufefc\\u{10a00}-\\u{10aff}\\u{11000}-\\u{117ff}";
const EMOJI =
  "\\u00a9\\u00ae\\u203c\\u2049\\u2122\\u2139\\u2190-\\u21ff\\u2300-\\u23ff\\u2460-\\u24ff\\u25a0-\\u27bf\\u2900-\\u297f" +
  "\\u2b00-\\u2bff\\u3030\\u303d\\u3297\\u3299\\u{1f000}-\\u{1faff}";
const HAN = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
const ALWAYS_HIDDEN = new RegExp(`[${NEVER}]`, "gu");
const HIDDEN = new RegExp(`[${NEVER}${SOMETIMES}]`, "gu");
const KEPT = new RegExp(
  [
    `(?<=[${JOINING}])\\u200c(?=[${JOINING}])`,
    `(?<=[${JOINING}])\\u200d(?![${NEVER}${SOMETIMES}])`,
    `(?<=[${EMOJI}\\ufe0f])\\u200d(?=[${EMOJI}])`,
    `(?<=[${EMOJI}])[\\ufe0e\\ufe0f]`,
    "(?<=[0-9#*])\\ufe0f(?=\\u20e3)",
    `(?<=[${HAN}])[\\ufe00-\\ufe02\\u{e0100}-\\u{e01ef}]`,
    "(?<=[\\u1820-\\u18aa])[\\u180b-\\u180d\\u180f]",
  ].join("|"),
  "uy",
);

function isKept(text, at) {
  KEPT.lastIndex = at;
  return KEPT.test(text);
}

function number(char) {
  const code = char.codePointAt(0);
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

/** A text of several lines with characters made visible that would hide or reorder what stands around them. */
export const visibleText = (text) =>
  String(text).replace(HIDDEN, (char, at, whole) => (isKept(whole, at) ? char : number(char)));

/** The same for a path or a name, which stand on one line. */
export const visible = (text) => visibleText(text).replaceAll("\n", "\\x0a").replaceAll("\t", "\\x09");

/** The same for a part of a text, which cannot tell what a joiner stands between: joiners and selectors are kept. */
export const visiblePart = (text) => text.replace(ALWAYS_HIDDEN, number);

/** The places of hidden characters in a text, in order, as [index, character]. */
export const hiddenIn = (text) =>
  [...text.matchAll(HIDDEN)].filter((found) => !isKept(text, found.index)).map((found) => [found.index, found[0]]);
