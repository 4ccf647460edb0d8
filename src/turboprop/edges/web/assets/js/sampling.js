// How an answer is drawn: the settings of ask and chat, kept from one visit to the next.

import { h } from "./dom.js";
import { read, write } from "./state.js";

// name: [label, lowest, highest, step, what the server takes where nothing is set, hint]
const FIELDS = {
  temperature: ["Temperature", 0, 5, 0.05, "0.7", "0 takes the likeliest token"],
  top_p: ["Top p", 0.01, 1, 0.01, "0.95", "from the likeliest that make up so much"],
  top_k: ["Top k", 0, 1000, 1, "40", "from so many likeliest, 0 from all"],
  min_p: ["Min p", 0, 1, 0.01, "0.05", "none below this share of the likeliest"],
  max_tokens: ["Tokens at most", 1, 32768, 1, "what fits", "length of the answer"],
  seed: ["Seed", 0, 2 ** 31, 1, "by chance", "the same one draws the same again"],
};

/** A form of settings; `defaults` replace what the placeholders say, `extra` are further rows. */
export function samplingForm(kept, defaults = {}, extra = []) {
  let values = {};
  try {
    values = JSON.parse(read(kept, "{}")) ?? {};
  } catch {
    // What another version kept is not worth an error.
  }
  const inputs = {};
  const rows = Object.entries(FIELDS).map(([name, [label, min, max, step, fallback, hint]]) => {
    const id = `${kept}-${name}`;
    inputs[name] = h("input", {
      type: "number",
      id,
      name,
      min,
      max,
      step,
      placeholder: defaults[name] ?? fallback,
      inputmode: "decimal",
      "aria-describedby": `${id}-hint`,
    });
    if (Number.isFinite(values[name])) inputs[name].value = values[name];
    return h(
      "div",
      { class: "setting" },
      h("label", { for: id }, label),
      inputs[name],
      h("span", { class: "quiet", id: `${id}-hint` }, hint),
    );
  });
  const element = h("form", { class: "settings", "aria-label": "Sampling" }, extra, rows);
  const options = () => {
    const given = {};
    for (const [name, input] of Object.entries(inputs)) {
      if (input.value !== "" && input.checkValidity()) given[name] = Number(input.value);
    }
    return given;
  };
  element.addEventListener("submit", (event) => event.preventDefault());
  element.addEventListener("change", () => write(kept, JSON.stringify(options())));
  return { element, options, valid: () => element.reportValidity() };
}
