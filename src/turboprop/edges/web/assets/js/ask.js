// Questions about the repository: sources first, then an answer whose citations open them.

import { ApiError, stream } from "./api.js";
import { conversation, follow } from "./conversation.js";
import { h, refill } from "./dom.js";
import { plural, visible } from "./format.js";
import { modelChoice } from "./language_models.js";
import { samplingForm } from "./sampling.js";
import { repoChoice } from "./repo_choice.js";
import { chosenRepo, onChange, repos } from "./state.js";
import { cost, turn } from "./turn.js";

const EXAMPLES = [
  "How is the work divided between the modules?",
  "Where are errors handled, and how?",
  "What happens when the program starts?",
];

const CUT = "The connection ended before the answer was whole.";

const model = modelChoice("tp.ask.model");
const sampling = samplingForm("tp.ask.sampling", { temperature: "0.2", max_tokens: "700" });

const start = h("div", {});

const view = conversation({
  name: "ask",
  heading: "Ask the code",
  lead: "Answers rest on lines of the repository and cite them.",
  label: "Question about the code",
  placeholder: "Ask about the code…",
  model: model.element,
  settings: sampling.element,
  start,
  answer,
  replay,
  repo: chosenRepo,
});

export const { element, stop } = view;
export const title = "Ask";

let of = chosenRepo();
onChange("repo", () => {
  const now = chosenRepo();
  // A conversation is about one repository; the first status only says which.
  if (of !== null && now !== of) view.clear();
  of = now;
  drawStart();
  view.draw();
});

/** A question is of one repository. */
function drawStart() {
  refill(
    start,
    repos().length > 1 && chosenRepo() === null
      ? repoChoice("Which repository is the question about?")
      : h(
          "ul",
          { class: "examples", "aria-label": "Examples" },
          EXAMPLES.map((example) =>
            h("li", {}, h("button", { type: "button", class: "example", onClick: () => view.send(example) }, example)),
          ),
        ),
  );
}

export function show(params) {
  drawStart();
  view.draw();
  model.refresh();
  if (params.has("q")) view.put(params.get("q"));
  if (matchMedia("(hover: hover)").matches && !params.has("source")) view.focus();
}

/** A turn that was kept, as it was. */
function replay(kept) {
  const shown = turn(kept.question, { cites: true, repo: kept.repo });
  if (kept.sources) shown.sources(kept.sources, kept.weak);
  shown.end({ final: kept.answer, told: kept.told, stopped: kept.stopped, silent: true });
  return shown;
}

async function answer(question, signal, begin, before) {
  const repo = chosenRepo();
  const shown = turn(question, { cites: true, repo });
  begin(shown);
  shown.say(repos().length > 1 && repo ? `Looking for sources in ${visible(repo)}…` : "Looking for sources…");
  let end = null;
  let found = { sources: [], weak: false };
  const history = before.filter((one) => !one.stopped).map((one) => ({ question: one.question, answer: one.answer }));
  const events = stream("api/ask", {
    body: { question, repo, model: model.value(), history, options: sampling.options() },
    signal,
  });
  const done = await follow(
    shown,
    events,
    ({ event, data }) => {
      if (event === "sources") {
        found = { sources: data.sources.map(({ text, ...source }) => source), weak: data.weak };
        shown.sources(data.sources, data.weak);
        // How far it is, a model behind an address does not tell.
        shown.say(data.weak ? "" : `Reading ${plural(data.prompt_tokens, "token")}…`);
      } else if (event === "progress") shown.reading(data.prompt_tokens_done, data.prompt_tokens);
      else if (event === "reasoning") {
        shown.say("Thinking…");
        shown.think(data.text);
      } else if (event === "text") shown.add(data.text);
      else if (event === "done") end = data;
    },
    view.follow,
    () => (end === null ? { failure: new ApiError(CUT) } : { final: end.answer, told: told(end) }),
  );
  if (!shown.text) return null;
  const said = end === null ? [] : told(end).map((one) => (typeof one === "string" ? one : one.textContent));
  return { question, answer: shown.text, repo, ...found, told: said, stopped: !done || end === null };
}

function told(end) {
  const said = cost(end.usage, end.timings);
  if (end.finish_reason === "length") said.push("cut at the most tokens");
  if (end.model) said.push(`answered by ${visible(end.model)}`);
  for (const doubt of end.doubts ?? []) said.push(visible(doubt));
  if (end.removed?.length)
    said.push(
      h(
        "span",
        { title: end.removed.map(visible).join("\n") },
        `${plural(end.removed.length, "invented citation")} removed`,
      ),
    );
  return said;
}
