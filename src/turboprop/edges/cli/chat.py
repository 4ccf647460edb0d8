"""`tp chat`: a conversation in the terminal."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli.generate import event_object, stats_line
from turboprop.edges.cli.sampling import load_language_model, loading_options, made_options, sampling_options
from turboprop.errors import TurboPropError, UsageError
from turboprop.printable import echo, echo_json, printable, printable_message

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.markdown import Markdown
    from rich.segment import Segment

    from turboprop.generate.events import DoneEvent
    from turboprop.generate.model import LanguageModel
    from turboprop.generate.options import GenerationOptions

HELP = """\
/model [NAME]        show the model, or load another
/system [TEXT]       show what the model is told first, or change it; `/system -` takes it away
/set [NAME VALUE]    show the options, or set one: /set temperature 0.2, /set seed default
/save FILE           write the conversation to a file
/load FILE           go on with a conversation from a file
/clear               begin anew
/?, /help            this list
/bye, /exit          leave (or Ctrl-D)
A line that ends in \\ goes on; \"\"\" on a line of its own begins and ends a longer text.
Ctrl-C stops an answer."""
_COMMANDS = ("model", "system", "set", "save", "load", "clear", "help", "bye", "exit", "quit")
_HISTORY_LINES = 1000
_SETTABLE = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("seed", "max_tokens", "stop", "reasoning"),
)
_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_LARGEST_FILE = 1 << 24


@click.command()
@click.option("--system", metavar="TEXT", help="What the model is told before the conversation.")
@loading_options
@sampling_options
@click.option("--load", "load_file", metavar="FILE", help="Go on with a conversation that `/save` wrote.")
@click.option("--json", "--jsonl", "as_jsonl", is_flag=True, help="Print each event as a JSON object on a line.")
def chat(
    system: str | None,
    model: str | None,
    context: int | None,
    engine: str | None,
    weights: Any,
    memory: int | None,
    gpu_layers: Any,
    draft: str | None,
    load_file: str | None,
    as_jsonl: bool,
    **sampling: Any,
) -> None:
    """Talk with a language model that runs here.

    Without a terminal each line of standard input is one turn. `/help` lists what else can be done.
    """
    wishes = made_options(sampling)

    def load(name: str | None) -> LanguageModel:
        return load_language_model(name, context, engine, weights, memory, gpu_layers, draft)

    session = ChatSession(load(model), load, wishes, system, as_jsonl)
    try:
        if load_file:
            session.command(f"/load {load_file}")
        session.run()
    finally:
        session.close()


class ChatSession:
    """The conversation and what the commands change."""

    def __init__(
        self,
        model: LanguageModel,
        load: Callable[[str], LanguageModel],
        options: GenerationOptions,
        system: str | None,
        as_jsonl: bool = False,
    ) -> None:
        self._model = model
        self._load_model = load
        self.options = options
        self.system = system
        self.messages: list[dict[str, str]] = []
        self._as_jsonl = as_jsonl
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()

    def close(self) -> None:
        self._model.close()

    def run(self) -> None:
        """Turns until the input ends."""
        if self._terminal:
            _open_history()
            echo(f"{self._model.name} ({self._model.engine}, {self._model.weights}); /help, Ctrl-D to leave")
        while (text := self._read()) is not None:
            if not text.strip():
                continue
            try:
                if text.startswith("/"):
                    if not self.command(text):
                        break
                else:
                    self.say(text)
            except TurboPropError as error:
                echo(f"tp: {printable_message(str(error))}", err=True)

    def say(self, text: str) -> None:
        """One turn; what an interrupted answer had so far stays in the conversation."""
        from turboprop.generate.repetition import RepetitionGuard

        told = [{"role": "system", "content": self.system}] if self.system else []
        asked = [*self.messages, {"role": "user", "content": text}]
        answer, done, guard, repeated = "", None, RepetitionGuard(), False
        with (
            self._model.stream([*told, *asked], self.options) as stream,
            _Screen(self._terminal) as screen,
            _interrupts(stream.cancel),
        ):
            for event in stream:
                if self._as_jsonl:
                    echo_json(event_object(event))
                kind = type(event).__name__
                if kind == "TextEvent":
                    answer += event.text  # type: ignore[union-attr]
                    if not repeated and guard.push(event.text):  # type: ignore[union-attr]
                        repeated = True
                        stream.cancel()
                if kind == "DoneEvent":
                    done = event
                elif not self._as_jsonl:
                    screen.show(event.text, reasoning=kind == "ReasoningEvent")  # type: ignore[union-attr]
        self.messages = [*asked, {"role": "assistant", "content": answer}]
        if self._terminal and done is not None and not self._as_jsonl:
            self._tell(done, repeated)  # type: ignore[arg-type]

    def _tell(self, done: DoneEvent, repeated: bool) -> None:
        stopped = " (stopped)" if done.finish_reason == "cancelled" else ""
        stopped = " (stopped: it repeated itself)" if repeated else stopped
        echo(stats_line(done) + stopped, dim=True)

    def command(self, line: str) -> bool:
        """Do what a line with a slash says; False ends the chat. Raises `UsageError`."""
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        match name.strip():
            case "exit" | "quit" | "bye":
                return False
            case "help" | "?":
                echo(HELP)
            case "clear":
                self.messages = []
            case "model" | "show":
                self._change_model(rest)
            case "system":
                if rest:
                    self.system = None if rest == "-" else rest
                else:
                    echo(self.system or "(nothing)")
            case "set":
                self._set(rest)
            case "save":
                self._save(rest)
            case "load":
                self._load(rest)
            case other:
                near = get_close_matches(other, _COMMANDS, n=1)
                raise UsageError(f"there is no /{other}; " + (f"did you mean /{near[0]}?" if near else "/? lists all"))
        return True

    def _change_model(self, name: str) -> None:
        if not name:
            echo(f"{self._model.name} ({self._model.engine}, {self._model.weights}, {self._model.context} tokens)")
            return
        loaded = self._load_model(name)  # first: where it fails, the old one stays
        self._model.close()
        self._model = loaded

    def _set(self, words: str) -> None:
        if not words:
            for name in _SETTABLE:
                echo(f"{name.replace('_', '-'):<20}{_shown(name, getattr(self.options, name))}")
            return
        name, _, text = words.removeprefix("parameter ").partition(" ")
        name, text = name.replace("-", "_"), text.strip()
        if name == "system":  # as Ollama has it
            self.system = None if text in ("", "-") else text.strip("\"'")
            return
        if name not in _SETTABLE:
            known = ", ".join(each.replace("_", "-") for each in _SETTABLE)
            raise UsageError(f"there is no option {name.replace('_', '-')!r}; there are {known}")
        self.options = dataclasses.replace(self.options, **{name: _value(name, text)})

    def _save(self, file: str) -> None:
        if not file:
            raise UsageError("/save needs the name of a file")
        saved = {"model": self._model.name, "system": self.system, "messages": self.messages}
        try:
            Path(file).expanduser().write_text(json.dumps(saved, ensure_ascii=False, indent=1) + "\n", "utf-8")
        except (OSError, UnicodeError) as error:
            raise UsageError(f"cannot write {file}: {error}") from None

    def _load(self, file: str) -> None:
        if not file:
            raise UsageError("/load needs the name of a file")
        path = Path(file).expanduser()
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise UsageError(f"{file} is too large for a conversation")
            saved = json.loads(path.read_text("utf-8"))
            messages = [{"role": str(each["role"]), "content": str(each["content"])} for each in saved["messages"]]
            system = saved.get("system")
        except FileNotFoundError:
            raise UsageError(f"there is no file {file}; /model NAME loads a model") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{file} holds no conversation that /save wrote: {error}") from None
        if any(each["role"] not in ("user", "assistant") for each in messages):
            raise UsageError(f"{file} holds messages of other roles than user and assistant")
        self.messages, self.system = messages, system if isinstance(system, str) else None

    def _read(self) -> str | None:
        """The next turn, of one line or several; None at the end of the input."""
        lines: list[str] = []
        block = False
        while True:
            try:
                line = input(("... " if lines or block else "> ") if self._terminal else "")
            except EOFError:
                return "\n".join(lines) if lines else None
            except KeyboardInterrupt:
                if not self._terminal:
                    raise
                echo()
                lines, block = [], False
                continue
            if line.strip() == '"""':
                if block:
                    return "\n".join(lines)
                block = True
            elif block:
                lines.append(line)
            elif line.endswith("\\"):
                lines.append(line[:-1])
            else:
                return "\n".join([*lines, line])


def _shown(name: str, value: Any) -> str:
    """The value of an option, for people."""
    if value in (None, ()):
        return {"seed": "another each time", "max_tokens": "what fits", "stop": "nothing"}.get(
            name, "as the model does"
        )
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(repr, value)) if isinstance(value, tuple) else f"{value}"


def _value(name: str, text: str) -> Any:
    """What was written for an option; `default` takes it back. What is no value of it is refused by its range."""
    from turboprop.generate.options import GenerationOptions

    if not text:
        raise UsageError(f"/set {name.replace('_', '-')} needs a value; `default` takes it back")
    if text.lower() in ("default", "none"):
        return next(field.default for field in dataclasses.fields(GenerationOptions) if field.name == name)
    if name == "stop":
        return (text,)
    if name == "reasoning":
        if text.lower() not in _SWITCH:
            raise UsageError(f"reasoning is on, off or default, not {text!r}")
        return _SWITCH[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `stop`, and interrupts nothing else."""
    before = signal.signal(signal.SIGINT, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Screen:
    """Where an answer appears: as Markdown on a terminal, a finished block at a time, as it comes elsewhere."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._open = ""
        self._fenced = False
        self._ended = True
        self._live: Any = None

    def __enter__(self) -> _Screen:
        if self._terminal:
            from rich.live import Live

            self._live = Live(refresh_per_second=12, vertical_overflow="visible", transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update("")
            self._live.stop()
            self._print(self._open)
        elif not self._ended:
            echo()

    def show(self, text: str, *, reasoning: bool) -> None:
        if not self._terminal:
            if not reasoning:
                click.echo(text, nl=False)  # as it is, for programs
                self._ended = text.endswith("\n")
            return
        text = printable(text)
        if reasoning:
            self._live.console.print(text, end="", style="dim", markup=False, highlight=False)
            return
        self._open += text
        while (cut := self._finished()) is not None:
            self._print(self._open[:cut])
            self._open = self._open[cut:]
        from rich.text import Text

        self._live.update(Text(self._open))

    def _finished(self) -> int | None:
        """Where the first whole block ends: at a blank line outside of a code fence."""
        fenced, place = False, 0
        for line in self._open.splitlines(keepends=True):
            if line.lstrip().startswith("```"):
                fenced = not fenced
            place += len(line)
            if not fenced and line == "\n" and self._open[:place].strip():
                return place
        return None

    def _print(self, block: str) -> None:
        if block.strip():
            from rich.markdown import Markdown

            # A link shows its address, or its label could lie about it.
            self._live.console.print(_Printable(Markdown(block.strip(), hyperlinks=False)))
            self._live.console.print()


class _Printable:
    """What is rendered, without what the Markdown's character references (`&#x202e;`) made of it."""

    def __init__(self, content: Markdown) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for part in console.render(self._content, options):
            yield part if part.control else Segment(printable(part.text), part.style)


def _open_history() -> None:
    """Lines of earlier chats, where Python has readline."""
    with suppress(ImportError, OSError):
        import atexit
        import readline

        from turboprop.settings import load_settings

        file = load_settings().data_home / "chat_history"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        readline.read_history_file(file)
        readline.set_history_length(_HISTORY_LINES)
        atexit.register(readline.write_history_file, file)
