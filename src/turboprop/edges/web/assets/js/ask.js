// Questions about the repository: sources first, then an answer whose citations open them.

import { ApiError, stream } from "./api.js";
import { conversation, follow } from "./conversation.js";
import { h, refill } from "./dom.js";
import { count, plural, visible } from "./format.js";
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
let history = [];

const start = h("div", {});

const view = conversation({
  name: "ask",
  heading: "Ask the code",
  lead: "Answers rest on lines of the repository and cite them. Nothing leaves this machine.",
  label: "Question about the code",
  placeholder: "Ask about the code…",
  model: model.element,
  settings: sampling.element,
  start,
  answer,
});
view.onClear(() => {
  history = [];
});

export const { element, stop } = view;
export const title = "Ask";

onChange("repo", drawStart);

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
  model.refresh();
  if (params.has("q")) view.put(params.get("q"));
  if (matchMedia("(hover: hover)").matches && !params.has("source")) view.focus();
}

async function answer(question, signal, begin) {
  const repo = chosenRepo();
  const shown = turn(question, { cites: true, repo });
  begin(shown);
  shown.say(repos().length > 1 && repo ? `Looking for sources in ${visible(repo)}…` : "Looking for sources…");
  let end = null;
  const events = stream("api/ask", {
    body: { question, repo, model: model.value(), history, options: sampling.options() },
    signal,
  });
  const done = await follow(
    shown,
    events,
    ({ event, data }) => {
      if (event === "sources") {
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
  if (done && end !== null) history = [...history, { question, answer: shown.text }];
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
