"""From a prompt or a conversation to token ids.

What people and repositories write never turns into control tokens. A conversation is rendered twice: as it
is, with every special token's text inside the messages replaced by a mark, and with each message replaced by
one mark as a whole. Where both have the same special tokens in the same order, all of them are the template's
own, and the first is tokenized as the model's own tools would; where they differ, a message had a part in one,
and the second is filled with the messages as plain text. That is looked at in the texts and again in the ids, since a
normaliser can make a token's text out of another one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelFormatError, UsageError
from turboprop.generate.events import Message
from turboprop.generate.sandbox import ChatTemplate
from turboprop.generate.tools import written_out
from turboprop.models.gguf.metadata import GGUFMetadata
from turboprop.models.json_file import read_json
from turboprop.models.tokenizer.load import clean_text, encode_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.models.checkpoint.view import Checkpoint

Prompt = str | Sequence[Message | Mapping[str, Any]] | Sequence[int]
ROLES = ("system", "user", "assistant", "tool")
PLAIN = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}User: {{ message.content }}\n"
    "{% else %}Assistant: {{ message.content }}\n{% endif %}{% endfor %}Assistant:"
)
"""For models without a template: they continue a text, so a conversation is written as one."""
PLAIN_STOP = "\nUser:"
# Tokens that end a turn, under the names that published models give them.
_ENDS = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
    "<|eot|>",
    "<|end▁of▁sentence|>",
    "<|endofturn|>",
    "<|fim_pad|>",
    "<fim_pad>",
    "<|file_sep|>",
    "<|repo_name|>",
]
# Before a text, before what follows it, and before what is between them, at Qwen, StarCoder, Code Llama and DeepSeek.
_INFILL = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"),
)
# Before a repository's name, and before each file's, where a model was trained on several files at once.
_INFILL_REPO = ("<|repo_name|>", "<|fim_repo|>", "<fim-repo>", "<repo_name>", "<reponame>")
_INFILL_FILE = ("<|file_sep|>", "<file_sep>", "<fim-sep>")
_SNIPPET = "\n\n--- snippet ---\n\n"
"""Between files of other models, as llama.cpp writes it."""
_CONTROL_FORM = re.compile(
    r"<[|\uff5c].+[|\uff5c]>|\[/?[A-Z_]{2,}\]|<</?SYS>>|</?s>|</?(think|tool_\w+|start_of_\w+|end_of_\w+|bos|eos|pad)>"
)
_LONGEST_JINJA = 1 << 20


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """`thinking`: the prompt ends inside the model's reasoning. `stops` are the template's own stop texts."""

    ids: tuple[int, ...]
    thinking: bool = False
    stops: tuple[str, ...] = ()


class PromptMaker:
    """Prompts of one model."""

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
        self._name = checkpoint.name
        self._tokenizer = tokenizer
        self._lock = Lock()
        added = tokenizer.get_added_tokens_decoder()
        self._specials = {token.content for token in added.values() if token.content}
        ordered = sorted(self._specials, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)) if ordered else r"(?!)")
        plain = tokenizer.encode("a", add_special_tokens=False).ids
        whole = tokenizer.encode("a").ids
        self._begin = whole[: next((n for n in range(len(whole)) if whole[n : n + len(plain)] == plain), 0)]
        self._names = _token_texts(checkpoint, tokenizer)
        self._source = _template_source(checkpoint)
        self._template: ChatTemplate | None = None
        self.stop_ids = _stop_ids(checkpoint, tokenizer)
        controls = {
            number: token.content
            for number, token in added.items()
            if token.special or _acts(token.content, self._source or "")
        }
        unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
        self._controls = (frozenset(controls) | self.stop_ids | frozenset(self._begin)) - {unknown}
        texts = sorted(filter(None, controls.values()), key=len, reverse=True)
        self._control_texts = re.compile("|".join(map(re.escape, texts)) if texts else r"(?!)")

    @property
    def has_template(self) -> bool:
        """Whether the model brought a chat template; without one a conversation is written as a plain text."""
        return self._source is not None

    @property
    def source(self) -> str:
        """The template."""
        return self._source or PLAIN

    @property
    def has_tools(self) -> bool:
        """Whether the template writes tools down; for any other they are written into the messages."""
        return self._source is not None and re.search(r"\btools\b", self._source) is not None

    def tokenize(
        self,
        prompt: Prompt,
        reasoning: bool | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        control_tokens: bool = False,
    ) -> TokenizedPrompt:
        """Ids of a text to continue, of a conversation, or the ids given.

        A conversation that ends with an assistant's message is answered by what continues that message. `reasoning`
        reaches the template as `enable_thinking`, `tools` (JSON objects) under its name. `control_tokens`: those that
        a text spells are meant. Raises `UsageError` for a conversation that is none, or that the template refuses.
        """
        if isinstance(prompt, str):
            if not control_tokens:
                return TokenizedPrompt((*self._begin, *self._plain(clean_text(prompt))))
            ids = self._encode(clean_text(prompt), specials=True)
            begin = () if ids[: len(self._begin)] == self._begin else self._begin
            return TokenizedPrompt((*begin, *ids))
        if not prompt:
            raise UsageError("the prompt is empty: give a text or at least one message")
        if all(isinstance(part, int) and not isinstance(part, bool) for part in prompt):
            ids = [int(str(part)) for part in prompt]
            if not 0 <= min(ids) <= max(ids) < 1 << 31 or self._tokenizer.id_to_token(max(ids)) is None:
                raise UsageError(f"the prompt has an id that {self._name} has no token for: {min(ids)} to {max(ids)}")
            return TokenizedPrompt(tuple(ids))
        checked = [_checked(part, number) for number, part in enumerate(prompt)]
        for message in checked:  # a template that writes calls whole would tell the model numbers that mean nothing
            if isinstance(calls := message.get("tool_calls"), list):
                message["tool_calls"] = [_without_id(call) for call in calls]
        if not self.has_tools:
            checked, tools = written_out(checked, tools), ()
        begun = ""
        if len(checked) > 1 and checked[-1]["role"] == "assistant" and "tool_calls" not in checked[-1]:
            begun = checked.pop()["content"]
        made = self._conversation(checked, reasoning, tools)
        if begun:  # an answer that was begun has no thoughts before it
            made = replace(made, ids=(*made.ids, *self._plain(begun)), thinking=False)
        return made

    def infill(
        self,
        before: str,
        after: str,
        *,
        files: Sequence[tuple[str, str]] = (),
        begun: str = "",
        room: int | None = None,
    ) -> list[int]:
        """Ids of a prompt for what stands between two texts, of which `begun` is there already.

        `files` are others, name and text, the one that matters most last. With `room`, in tokens, the prompt is cut to
        it: of the files what comes first, of `before` its beginning, and of `after` its end, which keeps a quarter.
        Raises `UsageError` where the model has no tokens for filling in.
        """
        marks = next((found for names in _INFILL if (found := self._marks(names))), None)
        if marks is None:
            raise UsageError(f"{self._name} has no tokens for filling in between two texts; leave what follows away")
        first, then, end = marks
        head, tail, middle = (self._plain(clean_text(text)) for text in (before, after, begun))
        others = self._files(files)
        if room is not None:
            room = max(room - len(self._begin) - 3 - len(middle), 0)
            tail = tail[: max(room // 4, room - len(head))]
            head = _last(head, room - len(tail))
            others = _last(others, room - len(tail) - len(head))
        return [*self._begin, *others, first, *head, then, *tail, end, *middle]

    def _marks(self, names: Sequence[str]) -> list[int]:
        """The tokens of these names, or none where one is missing."""
        found = [number for name in names if (number := self._tokenizer.token_to_id(name)) is not None]
        return found if len(found) == len(names) else []

    def _files(self, files: Sequence[tuple[str, str]]) -> list[int]:
        """Other files, as the model was shown several."""
        if not files:
            return []
        repo = next((found for name in _INFILL_REPO if (found := self._marks((name,)))), [])
        mark = next((found for name in _INFILL_FILE if (found := self._marks((name,)))), [])
        ids = [*repo, *self._plain("repository\n")] if repo and mark else []
        for name, text in files:
            ids += [*mark, *self._plain(clean_text(f"{name}\n"))] if mark else self._plain(_SNIPPET)
            ids += self._plain(clean_text(text))
        return [*ids, *mark, *self._plain("file\n")] if mark else ids

    def render(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        reasoning: bool | None,
        tools: Sequence[Mapping[str, Any]],
    ) -> str:
        """A conversation as the model's template writes it. Control tokens that messages spell stand there as well."""
        checked = [_checked(part, number) for number, part in enumerate(messages)]
        if not self.has_tools:
            checked, tools = written_out(checked, tools), ()
        names = self._template_names(reasoning)
        return self._compiled().render(checked, **{**names, "tools": list(tools) or None})

    def _compiled(self) -> ChatTemplate:
        if self._template is None:  # a stranger's program: compiled when it is first needed, not while loading
            self._template = ChatTemplate(self._source or PLAIN, self._name)
        return self._template

    def _template_names(self, reasoning: bool | None) -> dict[str, Any]:
        names: dict[str, Any] = {**self._names, "add_generation_prompt": True, "tools": None}
        return names if reasoning is None else {**names, "enable_thinking": reasoning}

    def _conversation(
        self, messages: list[dict[str, Any]], reasoning: bool | None, tools: Sequence[Mapping[str, Any]]
    ) -> TokenizedPrompt:
        template, names = self._compiled(), self._template_names(reasoning)
        nonce = str(secrets.randbelow(10**16)).zfill(16)
        marked: list[str] = []

        def mark(match: re.Match[str]) -> str:
            marked.append(match[0])
            return f"\ue000{nonce}{len(marked) - 1}\ue001"

        pattern = re.compile(f"\ue000{nonce}(\\d+)\ue001")

        def unspecial(value: Any) -> Any:
            """The same value without the texts of control tokens; a schema has no use for them. A character takes the
            place of each: with nothing there, `<|im_<|im_end|>end|>` would become one."""
            if isinstance(value, str):
                return self._pattern.sub("\ufffd", value)
            if isinstance(value, Mapping):
                return {unspecial(key): unspecial(each) for key, each in value.items()}
            return [unspecial(each) for each in value] if isinstance(value, list | tuple) else value

        if tools:
            names["tools"] = unspecial(tools)
        messages = [{key: each[key] if key == "content" else unspecial(each[key]) for key in each} for each in messages]
        neutral = [{**each, "content": self._pattern.sub(mark, each["content"])} for each in messages]
        rendered = template.render(neutral, **names)
        whole = [{**each, "content": f"\ue000{nonce}{number}\ue001"} for number, each in enumerate(messages)]
        control = template.render(whole, **names)
        texts = marked
        whole_texts = [each["content"] for each in messages]
        if self._pattern.findall(pattern.sub("", rendered)) != self._pattern.findall(pattern.sub("", control)):
            rendered, texts = control, whole_texts
        ids = self._filled(pattern.split(rendered), texts)
        if rendered != control and self._acting(ids) != self._acting(self._filled(pattern.split(control), [])):
            rendered, ids = control, self._filled(pattern.split(control), whole_texts)
        if self._begin and ids[: len(self._begin)] != self._begin:
            ids = [*self._begin, *ids]
        tail = rendered.rstrip()
        stops = () if self.has_template else (PLAIN_STOP,)
        return TokenizedPrompt(tuple(ids), tail.endswith("<think>"), stops)

    def _filled(self, parts: Sequence[str], texts: Sequence[str]) -> list[int]:
        """Ids of the template's own parts, and between them of the texts that they number."""
        ids: list[int] = []
        for number, part in enumerate(parts):
            if number % 2 == 0:
                ids += self._encode(part, specials=True)
            elif int(part) < len(texts):
                ids += self._plain(texts[int(part)])
        return ids

    def _acting(self, ids: Sequence[int]) -> list[int]:
        return [number for number in ids if number in self._controls]

    def _plain(self, text: str) -> list[int]:
        """Ids of a text without any of a control token, whatever it spells."""
        ids = self._encode(text, specials=False)
        if not self._acting(ids):
            return ids
        # Tokens that are no special ones (`<think>`) are found in any text: cut inside, none is whole.
        ids, begin = [], 0
        for found in self._control_texts.finditer(text):
            ids += self._encode(text[begin : found.start() + 1], specials=False)
            begin = found.start() + 1
        ids += self._encode(text[begin:], specials=False)
        return [number for number in ids if number not in self._controls]

    def _encode(self, text: str, *, specials: bool) -> list[int]:
        if not text:
            return []
        with self._lock:  # the switch belongs to the tokenizer, not to the call
            self._tokenizer.encode_special_tokens = not specials
            try:
                return encode_texts(self._tokenizer, [text], add_special_tokens=False)[0]
            finally:
                self._tokenizer.encode_special_tokens = False


def _last(ids: list[int], count: int) -> list[int]:
    """The last so many."""
    return ids[max(len(ids) - count, 0) :]


def _acts(text: str, template: str) -> bool:
    """Whether an added token that is no special one acts: the template writes it, or its form says so."""
    return bool(text.strip()) and (text.strip() in template or _CONTROL_FORM.fullmatch(text.strip()) is not None)


def checked_texts(prompt: Prompt) -> str | list[dict[str, Any]]:
    """A text to continue or a conversation, for an engine that tokenizes by itself. Raises `UsageError`."""
    if isinstance(prompt, str):
        return clean_text(prompt)
    if not prompt:
        raise UsageError("the prompt is empty: give a text or at least one message")
    if all(isinstance(part, int) for part in prompt):
        raise UsageError("a model behind an address takes texts and conversations, and no token ids")
    checked = [_checked(part, number) for number, part in enumerate(prompt)]
    for number, (part, message) in enumerate(zip(prompt, checked, strict=True), 1):
        if isinstance(part, Mapping) and "tool_call_id" in part:
            message["tool_call_id"] = part["tool_call_id"]
        calls = message.get("tool_calls", ())
        if not isinstance(calls, list | tuple) or not all(map(_is_call, calls)):
            raise UsageError(f"message {number} has a tool call without a function that has a name and arguments")
    return checked


def _without_id(call: Any) -> Any:
    return {key: call[key] for key in call if key != "id"} if isinstance(call, Mapping) else call


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return isinstance(function, Mapping) and isinstance(function.get("name"), str) and "arguments" in function


def _checked(message: Any, number: int) -> dict[str, Any]:
    if isinstance(message, Message):
        message = {"role": message.role, "content": message.content}
    if not isinstance(message, Mapping) or set(message) - {"tool_calls", "tool_call_id"} != {"role", "content"}:
        raise UsageError(f"message {number + 1} must have role and content, and nothing else")
    if message["role"] not in ROLES:
        raise UsageError(f"message {number + 1} has the role {message['role']!r}; there are {', '.join(ROLES)}")
    if not isinstance(message["content"], str):
        raise UsageError(f"the content of message {number + 1} is no text")
    checked: dict[str, Any] = {"role": message["role"], "content": clean_text(message["content"])}
    if "tool_calls" in message:
        if message["role"] != "assistant":
            raise UsageError(f"message {number + 1} has tool calls, which are an assistant's")
        checked["tool_calls"] = message["tool_calls"]
    return checked


def _template_source(checkpoint: Checkpoint) -> str | None:
    if checkpoint.origin == "gguf":
        source = checkpoint.config.get("tokenizer.chat_template")
        return source if isinstance(source, str) and source.strip() else None
    folder = checkpoint.tokenizer_path
    path = folder / "chat_template.jinja"
    if path.is_file():
        if path.stat().st_size > _LONGEST_JINJA:
            raise ModelFormatError(f"{path} has {path.stat().st_size} bytes: it is no chat template")
        return path.read_text("utf-8", errors="replace")
    stated = _object(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(stated, list):  # several, by name
        named = {each.get("name"): each.get("template") for each in stated if isinstance(each, dict)}
        stated = named.get("default")
    return stated if isinstance(stated, str) and stated.strip() else None


def _token_texts(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, str]:
    """What templates call `bos_token` and the like."""
    if isinstance(checkpoint.config, GGUFMetadata):
        found = {}
        for name, key in (("bos", "bos_token_id"), ("eos", "eos_token_id"), ("pad", "padding_token_id")):
            number = checkpoint.config.get(f"tokenizer.ggml.{key}")
            text = tokenizer.id_to_token(number) if isinstance(number, int) and 0 <= number < 1 << 31 else None
            found[f"{name}_token"] = text or ""
        return found
    stated = _object(checkpoint.tokenizer_path / "tokenizer_config.json")
    found = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        entry = stated.get(name)
        entry = entry.get("content") if isinstance(entry, dict) else entry
        found[name] = entry if isinstance(entry, str) else ""
    return found


def _stop_ids(checkpoint: Checkpoint, tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that end an answer: those that the model states, and special tokens with the name of an end."""
    stated: list[object] = []
    if checkpoint.origin == "gguf":
        stated = [checkpoint.config.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    else:
        for source in (checkpoint.config, _object(Path(checkpoint.tokenizer_path) / "generation_config.json")):
            entry = source.get("eos_token_id")
            stated += entry if isinstance(entry, list) else [entry]
    ids = {each for each in stated if isinstance(each, int) and not isinstance(each, bool) and each >= 0}
    special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids |= {special[name] for name in _ENDS if name in special}
    return frozenset(each for each in ids if each < tokenizer.get_vocab_size())


def _object(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}
