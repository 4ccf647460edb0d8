// What the whole page shares: the server's status, the chosen repository, the last search.

import { isAbort, request } from "./api.js";

const changed = new EventTarget();
const REPO = "tp.repo";
const POLL = 4000;

export const state = {
  /** The last answer of /api/status, null before the first. */
  status: null,
  /** Why the last one failed, null where it did not. */
  failure: null,
  /** The hits of the last search, for the map to light. */
  hits: [],
  query: "",
};

export function onChange(kind, work) {
  changed.addEventListener(kind, work);
}

function tell(kind) {
  changed.dispatchEvent(new Event(kind));
}

/** Run `work` when the repositories change and when a view comes onto the page, which may have missed a change. */
export function onRepos(work) {
  onChange("repo", work);
  onChange("view", work);
}

/** Say that another view is on the page now. */
export const tellView = () => tell("view");

export const repos = () => state.status?.repos ?? [];

/** The name of the chosen repository; null means all of them. */
export function chosenRepo() {
  const names = repos().map((repo) => repo.name);
  if (names.length === 1) return names[0];
  const stored = read(REPO);
  return names.includes(stored) ? stored : null;
}

/** The repository that a view of one repository shows. */
export const oneRepo = () => chosenRepo() ?? repos()[0]?.name ?? null;

export const repoNamed = (name) => repos().find((repo) => repo.name === name) ?? null;

export function chooseRepo(name) {
  write(REPO, name ?? "");
  tell("repo");
}

export function setHits(query, hits) {
  state.query = query;
  state.hits = hits;
  tell("hits");
}

/** A choice of the user that outlives the page. */
export function read(name, fallback = null) {
  try {
    return localStorage.getItem(name) ?? fallback;
  } catch {
    return fallback;
  }
}

export function write(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden; the choice holds until the page closes.
  }
}

/** Ask for the status now; in the `background` nobody is asked for a key again. */
export async function refresh({ background = false } = {}) {
  try {
    const before = JSON.stringify(repos().map((repo) => repo.name));
    state.status = await request("api/status", { background });
    state.failure = null;
    if (JSON.stringify(repos().map((repo) => repo.name)) !== before) tell("repo");
  } catch (error) {
    if (isAbort(error)) return;
    state.failure = error;
  }
  tell("status");
}

/** Keep the status fresh while the page is looked at. */
export async function poll() {
  for (;;) {
    if (!document.hidden) await refresh({ background: true });
    await new Promise((done) => setTimeout(done, POLL));
  }
}
