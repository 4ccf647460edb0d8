// The form of the search: its fields, what they say, and how the address fills them.

import { h, refill } from "./dom.js";
import { icon } from "./icons.js";
import { chosenRepo, repoNamed, repos } from "./state.js";

const MODES = [
  ["hybrid", "Both", "By meaning and by words"],
  ["semantic", "Meaning", "By meaning alone"],
  ["lexical", "Words", "By words alone; loads no model"],
];
const LIMITS = [10, 20, 50, 100];
/** Offered where the server does not say which languages it indexed. */
const LANGUAGES = [
  "bash",
  "c",
  "cpp",
  "csharp",
  "css",
  "go",
  "html",
  "java",
  "javascript",
  "json",
  "kotlin",
  "markdown",
  "php",
  "python",
  "ruby",
  "rust",
  "sql",
  "swift",
  "toml",
  "typescript",
  "yaml",
];
const NAMES = {
  c: "C",
  cpp: "C++",
  csharp: "C#",
  css: "CSS",
  go: "Go",
  html: "HTML",
  json: "JSON",
  php: "PHP",
  sql: "SQL",
  toml: "TOML",
  yaml: "YAML",
  javascript: "JavaScript",
  typescript: "TypeScript",
};
export const input = h("input", {
  type: "search",
  id: "query",
  class: "query",
  name: "q",
  placeholder: "What does the code do? Or a name, a path, an error message",
  "aria-label": "Search the code",
  autocomplete: "off",
  autocapitalize: "off",
  spellcheck: "false",
  enterkeyhint: "search",
  maxlength: 8000,
});
const modes = h(
  "fieldset",
  { class: "segments" },
  h("legend", { class: "unseen" }, "Search by"),
  MODES.map(([value, label, title]) =>
    h(
      "label",
      { title },
      h("input", { type: "radio", name: "mode", value, checked: value === "hybrid" }),
      h("span", {}, label),
    ),
  ),
);
const language = h("select", { name: "lang", "aria-label": "Language" });
export const path = h("input", {
  type: "text",
  name: "path",
  placeholder: "src/**, !tests/**",
  "aria-label": "Paths, as patterns with commas between them",
  autocomplete: "off",
  autocapitalize: "off",
  spellcheck: "false",
});
const limit = h(
  "select",
  { name: "n", "aria-label": "Hits at most" },
  LIMITS.map((value) => h("option", { value }, `${value} hits`)),
);
const byFile = h("input", { type: "checkbox", name: "by" });
export const clear = h("button", { type: "button", class: "plain", hidden: true }, icon("close"), "Clear filters");
export const form = h(
  "form",
  { role: "search", class: "search-form", "aria-label": "Code" },
  h("div", { class: "query-field" }, icon("search"), input, h("kbd", { "aria-hidden": "true" }, "/")),
  // Without it Enter sends nothing from a form that has two fields for text.
  h("button", { type: "submit", hidden: true }, "Search"),
  h(
    "div",
    { class: "filters" },
    modes,
    labelled("Language", language),
    labelled("Paths", path),
    limit,
    h("label", { class: "check" }, byFile, "One per file"),
    clear,
  ),
);
function labelled(name, control) {
  return h("label", { class: "labelled" }, h("span", { "aria-hidden": "true" }, name), control);
}

/** Offer the languages of the chosen repository. */
export function drawLanguages(wanted = language.value) {
  const repo = repoNamed(chosenRepo());
  const told = (repo ? [repo] : repos()).flatMap((one) => Object.entries(one.languages ?? {}));
  const counts = new Map();
  for (const [name, files] of told) if (name) counts.set(name, (counts.get(name) ?? 0) + files);
  const names = counts.size > 0 ? [...counts.keys()] : [...LANGUAGES];
  if (wanted && !names.includes(wanted)) names.push(wanted);
  const key = names.join(" ");
  if (language.dataset.names !== key) {
    language.dataset.names = key;
    const label = (name) =>
      `${NAMES[name] ?? name[0].toUpperCase() + name.slice(1)}${counts.has(name) ? ` (${counts.get(name)})` : ""}`;
    refill(
      language,
      h("option", { value: "" }, "Any language"),
      names.map((name) => h("option", { value: name }, label(name))),
    );
  }
  language.value = wanted;
}

const chosenMode = () => form.elements.mode.value;

/** Patterns with commas between them; a comma within braces belongs to its pattern. */
const globs = () =>
  path.value
    .split(/,(?![^{]*\})/)
    .map((glob) => glob.trim())
    .filter(Boolean);

/** What is asked, as the server takes it. */
export const wanted = () => ({
  query: input.value.trim(),
  mode: chosenMode(),
  limit: Number(limit.value),
  path: globs(),
  lang: language.value ? [language.value] : [],
  by: byFile.checked ? "file" : "chunk",
});

/** What is asked, as the address has it. */
export const asParams = () => ({
  q: input.value.trim() ? input.value : null,
  mode: chosenMode() === "hybrid" ? null : chosenMode(),
  lang: language.value,
  path: path.value.trim(),
  n: limit.value === "20" ? null : limit.value,
  by: byFile.checked ? "file" : null,
});

/** Fill the form from the address. */
export function fromParams(params) {
  if ((params.get("q") ?? "") !== input.value.trim()) input.value = params.get("q") ?? "";
  form.elements.mode.value = MODES.some(([mode]) => mode === params.get("mode")) ? params.get("mode") : "hybrid";
  drawLanguages(params.get("lang") ?? "");
  path.value = params.get("path") ?? "";
  limit.value = LIMITS.includes(Number(params.get("n"))) ? params.get("n") : "20";
  byFile.checked = params.get("by") === "file";
}

/** Whether anything beside the query narrows the search. */
export const isNarrowed = () =>
  chosenMode() !== "hybrid" || language.value !== "" || path.value.trim() !== "" || byFile.checked;

export function widen() {
  form.elements.mode.value = "hybrid";
  language.value = path.value = "";
  byFile.checked = false;
}
