// Conversations that are kept in this browser: the questions, the answers and which lines they rest on.

import { read, write } from "./state.js";

/** The newest so many are kept; a browser gives a page some 5 MB. */
const MOST = 40;
const LONGEST = 1_000_000;

/** What is kept under a name: {id, title, repo, at, turns: [{question, answer, ...}]}, the newest first. */
export function talks(name) {
  try {
    const kept = JSON.parse(read(name, "[]"));
    return Array.isArray(kept) ? kept.filter((talk) => talk?.id && Array.isArray(talk.turns)) : [];
  } catch {
    return [];
  }
}

/** Put a conversation first, in the place of the one with its id; the oldest give way. */
export function keep(name, talk) {
  let all = [talk, ...talks(name).filter((other) => other.id !== talk.id)].slice(0, MOST);
  while (all.length > 1 && JSON.stringify(all).length > LONGEST) all = all.slice(0, -1);
  write(name, JSON.stringify(all));
}

export function rename(name, id, title) {
  const all = talks(name);
  const talk = all.find((one) => one.id === id);
  if (!talk || !title) return;
  talk.title = title;
  write(name, JSON.stringify(all));
}

export const drop = (name, id) => write(name, JSON.stringify(talks(name).filter((one) => one.id !== id)));

/** A conversation as a Markdown document. */
export function asMarkdown({ title, repo, turns }) {
  const sources = (turn) =>
    (turn.sources ?? []).map((source) => `- ${source.path}:${source.start_line}-${source.end_line}`).join("\n");
  const parts = turns.map((turn) =>
    [`## ${turn.question}`, turn.answer, sources(turn) && `Sources:\n\n${sources(turn)}`].filter(Boolean).join("\n\n"),
  );
  return [`# ${title}`, repo && `Repository: ${repo}`, ...parts].filter(Boolean).join("\n\n") + "\n";
}
