// The address says what is shown, so that back, reload and a copied link work: #/view?name=value

const DEFAULT = "search";
let render = () => {};
let known = new Set([DEFAULT]);

/** What the address says: {view, params}. */
export function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: known.has(path) ? path : DEFAULT, params: new URLSearchParams(query) };
}

/** The address of a view, of the same repository where none is given; parameters without a value are left out. */
export function linkTo(view, params = {}) {
  const given = new URLSearchParams();
  const all = "repo" in params ? params : { ...params, repo: route().params.get("repo") };
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined && value !== null && value !== "") given.set(name, value);
  }
  const query = given.toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Show a view. With `replace` the place before is not one to go back to, and nothing is drawn again; the event
 * `addressreplaced` says so to links that go along. */
export function go(view, params = {}, { replace = false } = {}) {
  const target = linkTo(view, params);
  if (replace) {
    history.replaceState(history.state, "", target);
    dispatchEvent(new Event("addressreplaced"));
  } else if (target !== location.hash) location.hash = target;
  else render(route());
}

/** Change some parameters of what is shown; null takes one away. */
export function change(changes, options) {
  const { view, params } = route();
  go(view, { ...Object.fromEntries(params), ...changes }, options);
}

export function start(views, draw) {
  known = new Set(views);
  render = draw;
  addEventListener("hashchange", () => render(route()));
  render(route());
}
