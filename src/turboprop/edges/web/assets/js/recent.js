// The last searches of each repository, kept in this browser.

import { read, write } from "./state.js";

const MOST = 8;
const keyOf = (repo) => `tp.searches.${repo ?? ""}`;

/** The queries, the newest first. */
export function recent(repo) {
  try {
    const kept = JSON.parse(read(keyOf(repo), "[]"));
    return Array.isArray(kept) ? kept.filter((one) => typeof one === "string" && one).slice(0, MOST) : [];
  } catch {
    return [];
  }
}

/** Keep a query; what it was typed on from goes. */
export function remember(repo, query) {
  const others = recent(repo).filter((one) => one !== query && !query.startsWith(one));
  write(keyOf(repo), JSON.stringify([query.slice(0, 300), ...others].slice(0, MOST)));
}

export const forget = (repo) => write(keyOf(repo), "[]");
