// What stands around every view: name, places to go, repository, state of the server.

import { h, refill } from "./dom.js";
import { bytes, visible } from "./format.js";
import { icon, mark } from "./icons.js";
import { showKeys } from "./keys.js";
import { meter } from "./meter.js";
import { showPreferences } from "./preferences.js";
import { linkTo, route } from "./router.js";
import { repoChoice } from "./repo_choice.js";
import { chooseRepo, chosenRepo, onChange, repoNamed, repos, retry, state } from "./state.js";
import { themeButton } from "./theme.js";

const links = new Map();
const repo = h("select", { "aria-label": "Repository" });
const single = h("p", { class: "one-repo" });
const picker = h("div", { class: "repo-picker" }, repo, single);
const memory = h("a", { class: "memory" });
const brand = h("a", { class: "brand", "aria-label": "TurboProp, search" }, mark(), h("span", {}, "TurboProp"));
const banner = h("div", { class: "banner", role: "alert", hidden: true });
const unknown = h("div", { class: "view unknown" });
const stage = h("div", { class: "stage" });
repo.addEventListener("change", () => chooseRepo(repo.value || null));

/** The page around `main`; `views` are {name, title, icon}. */
export function frame(views, main, aside) {
  stage.append(banner, unknown, main);
  const items = views.map(({ name, title, icon: picture }) => {
    const link = h("a", {}, icon(picture), h("span", {}, title));
    links.set(name, link);
    return h("li", {}, link);
  });
  onChange("status", draw);
  onChange("repo", draw);
  draw();
  return [
    h(
      "a",
      {
        class: "skip",
        href: "#main",
        onClick: (event) => {
          event.preventDefault();
          main.focus();
        },
      },
      "Skip to the content",
    ),
    h(
      "header",
      { class: "rail" },
      brand,
      picker,
      h("nav", { "aria-label": "Main" }, h("ul", {}, items)),
      h(
        "div",
        { class: "rail-foot" },
        memory,
        h(
          "div",
          { class: "rail-buttons" },
          themeButton(),
          h(
            "button",
            {
              type: "button",
              class: "plain icon-only",
              "aria-label": "Preferences",
              title: "Preferences (,)",
              onClick: showPreferences,
            },
            icon("tune"),
          ),
          h(
            "button",
            {
              type: "button",
              class: "plain icon-only",
              "aria-label": "Keyboard shortcuts",
              title: "Shortcuts (?)",
              onClick: showKeys,
            },
            icon("help"),
          ),
        ),
      ),
    ),
    stage,
    aside,
  ];
}

/** What is searched for goes along between the views that show hits. */
addEventListener("hashchange", aim);
addEventListener("addressreplaced", aim);

function aim() {
  const { params } = route();
  const searched = Object.fromEntries(["q", "mode", "lang", "path", "n", "by"].map((name) => [name, params.get(name)]));
  if (["search", "map"].includes(route().view)) kept = searched;
  for (const [view, link] of links) link.href = linkTo(view, ["search", "map"].includes(view) ? kept : {});
}
let kept = {};

export function markCurrent(name) {
  for (const [view, link] of links) {
    if (view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function draw() {
  const all = repos();
  const chosen = chosenRepo();
  const key = JSON.stringify([all.map((one) => one.name), chosen]);
  if (picker.dataset.key !== key) {
    picker.dataset.key = key;
    for (const [view, link] of [["search", brand], ["models", memory]]) link.href = linkTo(view);
    aim();
    const strange = all.length > 0 && chosen !== null && repoNamed(chosen) === null;
    stage.classList.toggle("without-repo", strange);
    refill(unknown, strange && repoChoice(`There is no repository “${visible(chosen)}” here.`, "All repositories"));
    repo.hidden = all.length < 2;
    single.hidden = all.length >= 2;
    refill(
      repo,
      h("option", { value: "" }, "All repositories"),
      all.map((one) => h("option", { value: one.name }, visible(one.name))),
    );
    repo.value = strange ? "" : (chosen ?? "");
    refill(single, all.length === 1 ? h("bdi", { title: visible(all[0].path ?? "") }, visible(all[0].name)) : null);
  }
  const { failure } = state;
  banner.hidden = failure === null;
  if (failure === null) banner.replaceChildren();
  else if (banner.textContent === "" || banner.dataset.said !== failure.message) {
    banner.dataset.said = failure.message;
    refill(
      banner,
      icon("warning"),
      h("span", {}, failure.message),
      h("button", { type: "button", class: "plain", onClick: retry }, icon("refresh"), "Try again"),
    );
  }
  drawMemory();
}

function drawMemory() {
  const used = state.status?.memory;
  memory.hidden = !used;
  if (!used) return;
  const held = used.used ?? used.process_rss;
  const loaded = (state.status.models ?? []).length;
  const key = `${bytes(held)} ${bytes(used.budget)} ${loaded}`;
  if (memory.dataset.key === key) return;
  memory.dataset.key = key;
  refill(
    memory,
    h(
      "span",
      { class: "memory-row" },
      h("span", {}, "Memory"),
      h("span", { class: "number" }, used.budget ? `${bytes(held)} of ${bytes(used.budget)}` : bytes(held)),
    ),
    used.budget ? meter(held, used.budget, "Memory in use") : null,
    h(
      "span",
      { class: "quiet" },
      loaded === 0 ? "No model loaded" : loaded === 1 ? "1 model loaded" : `${loaded} models loaded`,
    ),
  );
}
