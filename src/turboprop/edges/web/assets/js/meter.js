// A small bar for a share. The browsers' own <meter> cannot be drawn alike in all of them.

import { h } from "./dom.js";

/** A bar of `value` in `most`, under a name. */
export function meter(value, most, label) {
  const share = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
  const filled = h("span", {});
  filled.style.width = `${(share * 100).toFixed(1)}%`;
  return h(
    "span",
    {
      class: "meter",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": "0",
      "aria-valuemax": String(most),
      "aria-valuenow": String(Math.min(most, Math.max(0, value))),
    },
    filled,
  );
}
