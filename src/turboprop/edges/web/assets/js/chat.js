// Talk with the language model alone; the repository is not read.

import { ApiError, stream } from "./api.js";
import { conversation, follow } from "./conversation.js";
import { h } from "./dom.js";
import { modelChoice } from "./language_models.js";
import { linkTo } from "./router.js";
import { samplingForm } from "./sampling.js";
import { read, write } from "./state.js";
import { cost, turn } from "./turn.js";

const SYSTEM = "tp.chat.system";
const model = modelChoice("tp.chat.model");
const system = h("textarea", { id: "chat-system", rows: 2, maxlength: 8000 });
system.value = read(SYSTEM, "");
system.addEventListener("change", () => write(SYSTEM, system.value));
const sampling = samplingForm("tp.chat.sampling", {}, [
  h("div", { class: "setting wide" }, h("label", { for: "chat-system" }, "System prompt"), system),
]);
const toAsk = h("a", {}, "ask the code");

const view = conversation({
  name: "chat",
  heading: "Chat",
  lead: "The language model alone, without the repository.",
  label: "Message",
  placeholder: "Write a message…",
  model: model.element,
  settings: sampling.element,
  start: h("p", { class: "quiet" }, "For questions about the code, ", toAsk, "."),
  answer,
  replay,
  repo: () => null,
});

export const { element, stop } = view;
export const title = "Chat";

export function show() {
  toAsk.href = linkTo("ask");
  view.draw();
  model.refresh();
  if (matchMedia("(hover: hover)").matches) view.focus();
}

function replay(kept) {
  const shown = turn(kept.question);
  shown.end({ final: kept.answer, told: kept.told, silent: true });
  return shown;
}

async function answer(text, signal, begin, earlier) {
  const shown = turn(text);
  begin(shown);
  shown.say("Waiting for the model…");
  if (model.known() === null) await model.refresh();
  const name = model.first();
  if (name === null) {
    shown.end({ failure: new ApiError("No language model is installed. Download one under Models.") });
    return null;
  }
  const messages = earlier.flatMap((one) => [
    { role: "user", content: one.question },
    { role: "assistant", content: one.answer },
  ]);
  const before = [...messages, { role: "user", content: text }];
  const said = system.value.trim() ? [{ role: "system", content: system.value.trim() }, ...before] : before;
  let usage = null;
  let reason = "";
  const began = performance.now();
  let first = 0;
  let told = [];
  const events = stream("v1/chat/completions", {
    body: { model: name, messages: said, stream: true, stream_options: { include_usage: true }, ...sampling.options() },
    signal,
  });
  await follow(
    shown,
    events,
    ({ data }) => {
      usage = data.usage ?? usage;
      const choice = data.choices?.[0];
      reason = choice?.finish_reason ?? reason;
      if (choice?.delta?.reasoning_content) shown.think(choice.delta.reasoning_content);
      if (choice?.delta?.content) {
        first ||= performance.now();
        shown.add(choice.delta.content);
      }
    },
    view.follow,
    () => {
      const seconds = (performance.now() - (first || began)) / 1000;
      const speed =
        first && usage
          ? { tokens_per_second: usage.completion_tokens / seconds, total_seconds: (performance.now() - began) / 1000 }
          : null;
      told = [...cost(usage, speed), reason === "length" ? "cut at the most tokens" : null].filter(Boolean);
      return { told };
    },
  );
  // A stopped answer stays part of what was said.
  return shown.text ? { question: text, answer: shown.text, told } : null;
}
