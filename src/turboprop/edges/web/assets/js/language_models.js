// Which language model answers: a choice among those that are here.

import { isAbort, request } from "./api.js";
import { h, refill } from "./dom.js";
import { visible } from "./format.js";
import { read, write } from "./state.js";

/** A selection; `value()` is null where the server is to choose. */
export function modelChoice(kept) {
  const select = h(
    "select",
    { class: "model-choice", "aria-label": "Language model" },
    h("option", { value: "" }, "Model: the server's choice"),
  );
  select.addEventListener("change", () => write(kept, select.value));
  let known = null;
  return {
    element: select,
    value: () => select.value || null,
    /** The first model that is here, for endpoints that must be told one. */
    first: () => select.value || known?.[0] || null,
    known: () => known,
    async refresh() {
      try {
        const { models } = await request("api/models");
        const here = models.filter(
          (model) => model.kind === "language" && model.state !== "remote" && model.state !== "downloading",
        );
        here.sort((one, other) => (other.state === "loaded") - (one.state === "loaded"));
        known = here.map((model) => model.name);
        const wanted = select.value || read(kept, "");
        refill(
          select,
          h("option", { value: "" }, "Model: the server's choice"),
          here.map((model) =>
            h("option", { value: model.name }, `${visible(model.name)}${model.state === "loaded" ? " (loaded)" : ""}`),
          ),
        );
        select.value = known.includes(wanted) ? wanted : "";
      } catch (error) {
        if (isAbort(error)) return;
        known = null;
      }
    },
  };
}
