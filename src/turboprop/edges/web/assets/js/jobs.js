// Work that the server does in the background: its progress, its end, and calling it off.

import { isAbort, request, stream } from "./api.js";
import { h, refill } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { progressBar } from "./notice.js";

/**
 * Follow a job at `base` (`api/index`, `api/models/jobs`). `unit` is "bytes" or a noun, which the message of a job
 * may replace by "vectors". `ended` is told the error or null.
 */
export function followJob({ base, job, label, unit, ended }) {
  const bar = progressBar(label);
  const told = h("span", { class: "job-told number" }, "Starting…");
  const cancel = h("button", { type: "button", class: "plain" }, "Cancel");
  const element = h("div", { class: "job" }, bar.element, h("div", { class: "job-row" }, told, cancel));
  const watch = new AbortController();
  bar.set(0, 0);

  const amount = (value) => (unit === "bytes" ? bytes(value) : count(Math.round(value)));
  function draw({ done = 0, total = 0, rate = 0, eta = null, message = "" }) {
    const noun = unit === "bytes" ? "" : ` ${message === "vectors" ? message : unit}`;
    bar.set(done, total);
    const said = [
      total > 0
        ? `${amount(done)} of ${amount(total)}${noun}`
        : done > 0
          ? amount(done)
          : "Starting…",
    ];
    if (rate > 0) said.push(`${amount(rate)}${noun}/s`);
    if (Number.isFinite(eta) && eta !== null) said.push(`${duration(Math.max(1, Math.round(eta)))} left`);
    refill(told, said.join(" · "));
  }

  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    refill(told, "Cancelling…");
    try {
      await request(`${base}/${encodeURIComponent(job.id)}`, { method: "DELETE" });
    } catch (error) {
      refill(told, error.message);
      cancel.disabled = false;
    }
  });

  (async () => {
    try {
      let last = job;
      for await (const { event, data } of stream(`${base}/${encodeURIComponent(job.id)}/events`, {
        signal: watch.signal,
      })) {
        last = data.job ?? data;
        if (event === "progress") draw(last);
      }
      ended(null, last);
    } catch (error) {
      if (!isAbort(error)) ended(error, job);
    }
  })();
  return { element, leave: () => watch.abort() };
}
