// What the whole page shares: what the server has, the chosen repository, the last search.

import { address, isAbort, request, stream } from "./api.js";
import { go, linkTo, route } from "./router.js";

const changed = new EventTarget();
const REPO = "tp.repo";
/** Milliseconds until a server that does not answer is asked again, and one whose stream ended. */
const AGAIN = 4000;
const SOON = 500;

export const state = {
  /** What the server said last, null before the first word. */
  status: null,
  /** Why it does not answer, null where it does. */
  failure: null,
  /** The hits of the last search, for the map to light. */
  hits: [],
  query: "",
  /** Why the last search failed, "" where it did not. */
  trouble: "",
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

export const repoNamed = (name) => repos().find((repo) => repo.name === name) ?? null;

/** The name of the chosen repository: the one of the address, else the only one; null means all of them. */
export const chosenRepo = () => route().params.get("repo") || (repos().length === 1 ? repos()[0].name : null);

/** What is shown, of another repository or with null of all; what is of one repository alone is left out. */
const inRepo = (repo) => ({
  ...Object.fromEntries(route().params),
  repo,
  source: null,
  of: null,
  like: null,
  file: null,
  folder: null,
});

export const repoLink = (repo) => linkTo(route().view, inRepo(repo));

export const chooseRepo = (repo) => go(route().view, inRepo(repo));

/** Whether the address says nothing: then, and only then, the last choice counts. */
let bare = /^#?\/?$/.test(location.hash);
let last = chosenRepo();
addEventListener("hashchange", tellRepo);

function tellRepo() {
  const now = chosenRepo();
  if (now === last) return;
  last = now;
  if (repos().length > 1) write(REPO, now ?? "");
  tell("repo");
}

export function setHits(query, hits, trouble = "") {
  state.trouble = trouble;
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

function take(status) {
  const names = () => JSON.stringify(repos().map((repo) => repo.name));
  const before = names();
  state.status = status;
  state.failure = null;
  if (bare && chosenRepo() === null && repoNamed(read(REPO))) go(route().view, inRepo(read(REPO)), { replace: true });
  bare = false;
  if (names() !== before) {
    last = chosenRepo();
    tell("repo");
  }
  tell("status");
}

/** Have the server look at the files of a repository; nobody is asked for a key for it. */
export async function look(repo) {
  const seen = await request(address("api/status", { repo }), { background: true });
  const rows = repos().map((row) => seen.repos.find((other) => other.name === row.name) ?? row);
  take({ ...seen, repos: rows });
}

let wanted = false;
let next = () => {};

/** Ask the server again now, because the user wants it. */
export function retry() {
  wanted = true;
  next();
}

const pause = (wait) =>
  new Promise((done) => {
    next = done;
    if (!document.hidden) setTimeout(done, wait);
  });

/** Follow what the server has for as long as the page is looked at. */
export async function follow() {
  let watch = new AbortController();
  document.addEventListener("visibilitychange", () => (document.hidden ? watch.abort() : next()));
  for (;;) {
    let heard = false;
    const background = !wanted;
    wanted = false;
    watch = new AbortController();
    if (document.hidden) watch.abort();
    try {
      for await (const { data } of stream("api/events", { background, signal: watch.signal })) {
        heard = true;
        take(data);
      }
    } catch (error) {
      // A stream that broke off is begun anew; only where that fails is there something to say.
      if (!heard && !isAbort(error)) {
        state.failure = error;
        tell("status");
      }
    }
    await pause(heard ? SOON : AGAIN);
  }
}
