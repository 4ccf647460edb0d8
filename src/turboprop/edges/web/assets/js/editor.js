// The link that opens a place in the user's editor.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { chosenRepo, onRepos, read, repoNamed, write } from "./state.js";

const EDITORS = {
  vscode: { name: "VS Code", url: (file, line) => `vscode://file${file}:${line}:1` },
  "vscode-insiders": { name: "VS Code Insiders", url: (file, line) => `vscode-insiders://file${file}:${line}:1` },
  vscodium: { name: "VSCodium", url: (file, line) => `vscodium://file${file}:${line}:1` },
  cursor: { name: "Cursor", url: (file, line) => `cursor://file${file}:${line}:1` },
  windsurf: { name: "Windsurf", url: (file, line) => `windsurf://file${file}:${line}:1` },
  zed: { name: "Zed", url: (file, line) => `zed://file${file}:${line}:1` },
  idea: { name: "IntelliJ IDEA", url: (file, line) => `idea://open?file=${file.replaceAll("&", "%26")}&line=${line}` },
  pycharm: { name: "PyCharm", url: (file, line) => `pycharm://open?file=${file.replaceAll("&", "%26")}&line=${line}` },
};
const CHOICE = "tp.editor";

export const editors = () => Object.entries(EDITORS).map(([id, { name }]) => ({ id, name }));

export function chosenEditor() {
  const stored = read(CHOICE);
  return Object.hasOwn(EDITORS, stored ?? "") ? stored : "vscode";
}

export function chooseEditor(id) {
  write(CHOICE, id);
  drawLinks();
}

/**
 * A link that opens a line of a file in the chosen editor; hidden while the repository's folder is not known.
 * Without a repository it is of the chosen one.
 */
export function editorLink(repo, path, line) {
  const link = h("a", { class: "plain button", dataset: { key: "editor" } });
  places.set(link, { repo, path, line });
  draw(link);
  return link;
}

const places = new WeakMap();
onRepos(drawLinks);

function drawLinks() {
  for (const link of document.querySelectorAll('a[data-key="editor"]')) draw(link);
}

function draw(link) {
  const { repo, path, line } = places.get(link);
  const root = repoNamed(repo ?? chosenRepo())?.path;
  link.hidden = !root;
  if (!root) return;
  const { name, url } = EDITORS[chosenEditor()];
  const whole = `${root.replaceAll("\\", "/").replace(/\/$/, "")}/${path}`;
  // Every part by itself, so that no character of a path can end the address or begin another one.
  const file = whole
    .split("/")
    .map((part, at) => (at === 0 && /^[A-Za-z]:$/.test(part) ? part : encodeURIComponent(part)))
    .join("/");
  link.href = url(file.startsWith("/") ? file : `/${file}`, Math.max(1, Math.floor(line)));
  link.replaceChildren(icon("open"), `Open in ${name}`);
}
