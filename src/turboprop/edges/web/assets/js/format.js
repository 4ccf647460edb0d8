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

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A path or a name with characters made visible that would hide or reorder what stands around them. */
export const visible = (text) =>
  String(text).replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Cut a text at places of hidden characters: [text, hidden character, text, ...]. */
export function splitHidden(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(HIDDEN)) {
    parts.push(text.slice(end, match.index), match[0]);
    end = match.index + 1;
  }
  return [...parts, text.slice(end)];
}
