// Models: what is loaded, installed and to be had, and the memory that they take.

import { isAbort, request } from "./api.js";
import { announce } from "./announce.js";
import { h, refill } from "./dom.js";
import { bytes, count, visible } from "./format.js";
import { icon } from "./icons.js";
import { followJob } from "./jobs.js";
import { meter } from "./meter.js";
import { empty, failed, waiting } from "./notice.js";
import { onChange, state } from "./state.js";

const GROUPS = [
  ["loaded", "Loaded"],
  ["downloading", "Downloading"],
  ["installed", "Installed"],
  ["remote", "To download"],
];

const memory = h("div", { class: "memory-panel" });
const filter = h("input", {
  type: "search",
  placeholder: "Filter by name",
  "aria-label": "Filter models by name",
  autocomplete: "off",
  spellcheck: "false",
});
const kinds = h(
  "fieldset",
  { class: "segments" },
  h("legend", { class: "unseen" }, "Kind of model"),
  [
    ["", "All"],
    ["embedding", "Search"],
    ["language", "Language"],
  ].map(([value, label]) =>
    h("label", {}, h("input", { type: "radio", name: "kind", value, checked: value === "" }), h("span", {}, label)),
  ),
);
const tools = h("form", { class: "model-tools", "aria-label": "Filter models" }, kinds, filter);
const list = h("div", { class: "models" });

export const element = h(
  "section",
  { class: "view models-view", "aria-labelledby": "models-heading" },
  h("h1", { id: "models-heading" }, "Models"),
  h(
    "p",
    { class: "lead" },
    "Search models turn code into vectors, language models write answers. They run on this machine.",
  ),
  memory,
  tools,
  list,
);
export const title = "Models";

let models = null;
/** Which models are loaded, as the server said it when the list was made. */
let known = "";
const loaded = () => JSON.stringify(state.status?.models.map((model) => [model.name, model.state]));
const jobs = new Map();
const errors = new Map();
/** The model whose removal waits for a second click: the list may be drawn anew between the two. */
let doomed = null;
tools.addEventListener("input", draw);
tools.addEventListener("submit", (event) => event.preventDefault());
onChange("status", () => {
  if (!element.isConnected) return;
  drawMemory();
  if (loaded() !== known) load();
});

export function show() {
  drawMemory();
  load();
}

async function load() {
  if (models === null) refill(list, waiting("Looking at the models…"));
  known = loaded();
  try {
    ({ models } = await request("api/models"));
    await attach();
    draw();
  } catch (error) {
    if (!isAbort(error)) refill(list, failed(error, load));
  }
}

/** Follow downloads that were begun before this page was open: asking again gives the job that is under way. */
async function attach() {
  const unknown = models.filter((model) => model.state === "downloading" && !jobs.has(model.name));
  for (const model of unknown) {
    const { job } = await request("api/models/download", { body: { model: model.name } });
    follow(model, job);
  }
}

function drawMemory() {
  const used = state.status?.memory;
  if (!used) return refill(memory);
  const held = used.used ?? 0;
  return refill(
    memory,
    h(
      "div",
      { class: "memory-row" },
      h(
        "span",
        {},
        h("strong", { class: "number" }, bytes(held)),
        used.budget ? ` of ${bytes(used.budget)} held by models` : " held by models",
      ),
      h("span", { class: "quiet number" }, used.process_rss ? `the server takes ${bytes(used.process_rss)}` : ""),
    ),
    used.budget ? meter(held, used.budget, "Memory held by models") : null,
  );
}

function draw() {
  if (models === null) return;
  const kind = tools.elements.kind.value;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = models.filter(
    (model) => (!kind || model.kind === kind) && words.every((word) => model.name.toLowerCase().includes(word)),
  );
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  refill(
    list,
    chosen.length === 0 && empty("No model fits the filter."),
    GROUPS.map(([of, label]) => {
      const here = chosen.filter((model) => model.state === of);
      if (here.length === 0) return null;
      return h(
        "section",
        { class: "model-group", "aria-label": label },
        h("h2", {}, label, " ", h("span", { class: "quiet" }, count(here.length))),
        h("ul", {}, here.map(row)),
      );
    }),
  );
  if (!focused || document.activeElement !== document.body) return;
  const again =
    list.querySelector(`[aria-label="${CSS.escape(focused.getAttribute("aria-label"))}"]`) ??
    list.querySelector(`[data-model="${CSS.escape(focused.dataset.model)}"]`);
  again?.focus();
}

function row(model) {
  const facts = [
    model.kind === "embedding" ? "search" : model.kind,
    bytes(model.size_bytes ?? Number.NaN),
    model.dimensions ? `${count(model.dimensions)} dimensions` : null,
    model.context ? `${count(model.context)} tokens` : null,
    model.licence,
  ].filter((one) => one && one !== "–");
  const cut = model.name.lastIndexOf("/") + 1;
  return h(
    "li",
    { class: "model", dataset: { name: model.name } },
    h(
      "div",
      { class: "model-main" },
      h(
        "p",
        { class: "model-name" },
        h(
          "bdi",
          {},
          h("span", { class: "quiet" }, visible(model.name.slice(0, cut))),
          h("span", { class: "strong" }, visible(model.name.slice(cut))),
        ),
      ),
      h("p", { class: "model-facts quiet" }, visible(facts.join(" · "))),
      model.state === "loaded" && h("p", { class: "model-facts" }, running(model.name)),
      model.good_for && h("p", { class: "model-good" }, visible(model.good_for)),
      model.fits_memory === false && h("p", { class: "warn" }, icon("warning"), "Takes more memory than there is"),
      errors.has(model.name) && trouble(model, errors.get(model.name)),
      jobs.get(model.name)?.element,
    ),
    h("div", { class: "model-actions" }, actions(model)),
  );
}

/** What went wrong, in a sentence, with what to press; what a terminal would do about it is folded away. */
function trouble(model, message) {
  const [begin, ...rest] = message.split("\n");
  const host = /https?:\/\/([^\s/]+)\S* cannot be reached/.exec(begin)?.[1];
  const plain = begin.replace(/ \(\[Errno[^)]*\)/, "").replace(/ Ways to get it:$/, "");
  const said = host
    ? `${host} cannot be reached from this machine. Look at the network, then try again.`
    : plain.charAt(0).toUpperCase() + plain.slice(1);
  const again = h("button", { type: "button", "aria-label": `Try again: ${model.name}` }, icon("refresh"), "Try again");
  again.addEventListener("click", () => act(again, model, "Download", () => download(model)));
  return h(
    "div",
    { class: "trouble" },
    h("p", { class: "bad", role: "alert" }, visible(said)),
    model.state === "remote" && again,
    rest.length > 0 &&
      h("details", {}, h("summary", {}, "Without a network"), h("pre", { tabindex: "0" }, visible(rest.join("\n")))),
  );
}

/** Where a loaded model runs and what it holds. */
function running(name) {
  const one = state.status?.models?.find((other) => other.name === name);
  if (!one?.engine) return null;
  const held = one.size_bytes ? ` · holds ${bytes(one.size_bytes)}` : "";
  return `Runs in ${visible(one.engine)} on ${visible(one.device ?? "cpu")}${one.weights ? `, ${visible(one.weights)}` : ""}${held}`;
}

function actions(model) {
  const button = (label, work, props = {}) => {
    const made = h(
      "button",
      { type: "button", "aria-label": `${label} ${model.name}`, dataset: { model: model.name }, ...props },
      props.picture && icon(props.picture),
      label,
    );
    made.removeAttribute("picture");
    made.addEventListener("click", () => act(made, model, label, work));
    return made;
  };
  const remove = () => {
    if (doomed === model.name) {
      const path = model.name.split("/").map(encodeURIComponent).join("/");
      const sure = button("Remove for good", () => request(`api/models/${path}`, { method: "DELETE" }), {
        class: "danger",
      });
      // Drawing the list anew takes the focus, too: only a button that is still there was left by the user.
      sure.addEventListener("blur", () =>
        setTimeout(() => {
          if (doomed === model.name && sure.isConnected && !sure.disabled) ask(null);
        }),
      );
      return sure;
    }
    const props = { type: "button", class: "plain", "aria-label": `Remove ${model.name}` };
    const made = h("button", { ...props, dataset: { model: model.name } }, "Remove");
    made.addEventListener("click", () => {
      ask(model.name);
      list.querySelector("button.danger")?.focus();
    });
    return made;
  };
  switch (model.state) {
    case "loaded":
      return [button("Unload", () => request("api/models/unload", { body: { model: model.name } }))];
    case "installed":
      return [button("Load", () => request("api/models/load", { body: { model: model.name } })), remove()];
    case "remote":
      return [
        button("Download", () => download(model)),
      ];
    default:
      return [];
  }
}

async function download(model) {
  const { job } = await request("api/models/download", { body: { model: model.name } });
  follow(model, job);
}

function ask(name) {
  doomed = name;
  draw();
}

async function act(button, model, label, work) {
  button.disabled = true;
  refill(button, h("span", { class: "spinner", "aria-hidden": "true" }), `${label}…`);
  errors.delete(model.name);
  doomed = null;
  try {
    await work();
    announce(`${label}: done`);
  } catch (error) {
    if (!isAbort(error)) errors.set(model.name, error.message);
  }
  await load();
}

function follow(model, job) {
  jobs.set(
    model.name,
    followJob({
      base: "api/models/jobs",
      job,
      label: `Download of ${model.name}`,
      unit: "bytes",
      ended: async (error, last) => {
        jobs.delete(model.name);
        if (error) errors.set(model.name, error.message);
        announce(
          error
            ? "The download failed"
            : last.state === "cancelled"
              ? "The download was cancelled"
              : "The download is complete",
        );
        await load();
      },
    }),
  );
}
