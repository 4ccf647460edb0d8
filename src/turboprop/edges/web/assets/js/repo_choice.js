// A choice among the repositories, where one has to be said.

import { h } from "./dom.js";
import { visible } from "./format.js";
import { empty } from "./notice.js";
import { repoLink, repos } from "./state.js";

/** A title and a link for each repository, which shows the same view of it; `all` names one for all of them. */
export const repoChoice = (title, all = null) =>
  empty(
    title,
    h(
      "ul",
      { class: "examples", "aria-label": "Repositories" },
      [...(all ? [[null, all]] : []), ...repos().map(({ name }) => [name, visible(name)])].map(([name, label]) =>
        h("li", {}, h("a", { class: "button example", href: repoLink(name) }, label)),
      ),
    ),
  );
