// Where the hits of the search are: in which files, with which numbers, and how well they fit.

import { fitOf } from "./hits.js";
import { chosenRepo, state } from "./state.js";

/** The numbers of the hits by path, and the best of each: 1 is the first hit of the list of the search. */
export function ranked() {
  const name = chosenRepo();
  const found = new Map();
  state.hits.forEach((hit, at) => {
    if (hit.repo && hit.repo !== name) return;
    if (!found.has(hit.path)) found.set(hit.path, []);
    found.get(hit.path).push({ rank: at + 1, hit });
  });
  return found;
}

export const within = (path, folder) => folder === "" || path === folder || path.startsWith(`${folder}/`);

/** The numbers of the hits in a file or below a folder. */
export function numbersIn(hits, path) {
  const found = [];
  for (const [file, some] of hits) if (within(file, path)) found.push(...some.map(({ rank }) => rank));
  return found.sort((one, other) => one - other);
}

/** How well the best hit of a file fits, as the bars of the search show it. */
export function fitIn(found = []) {
  const best = Math.max(...state.hits.map((hit) => hit.score), 0);
  return Math.max(0, ...found.map(({ hit }) => fitOf(hit, best)));
}
