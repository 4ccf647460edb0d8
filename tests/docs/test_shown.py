"""What README and docs show: every `tp ...` is one that the commands take, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from turboprop.edges.cli.entry import tp
from turboprop.errors import TurboPropError

PROJECT = Path(__file__).parent.parent.parent
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
REFUSED = ("tp install", "tp create")
"""Words that `docs/commands.md` says are answered with what comes near."""
SHELLS = ("sh", "console", "bash", "")


def blocks(text: str) -> Iterator[str]:
    """The commands of a page's blocks: lines of `sh`, and those after a prompt where output is shown, too."""
    for language, body in FENCE.findall(text):
        if language not in SHELLS:
            continue
        body = body.replace("\\\n", " ")
        for line in body.splitlines():
            prompt, _, rest = line.partition("$ ")
            line = rest if not prompt.strip() and rest else line if language in ("sh", "bash") else ""
            if line.startswith("tp "):
                yield line


def inline(text: str) -> Iterator[str]:
    """The commands between backticks in the text."""
    text = FENCE.sub("", text)
    yield from (" ".join(code.split()) for code in re.findall(r"(?<!`)`(tp [^`]+)`(?!`)", text))


def words_of(line: str) -> list[str]:
    """The words of a command, up to what a shell takes for itself."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = []
    for word in lexer:
        if set(word) & set("|;&>") == set(word):
            break
        words.append(word)
    return words[1:]


def parse(words: list[str]) -> None:
    """Parse as `tp` does, words of other tools included, and run nothing. Raises what it would refuse with.

    Values that stand for others (`PATH`, `FILE`) need not be there, so only names, numbers of words and choices count.
    """
    if words[:1] == ["help"]:  # of a command, which is what the rest names; COMMAND and X stand for any
        words = [*(word for word in words[1:] if not word.isupper()), "--help"]
    command: click.Command = tp
    context = click.Context(tp, info_name="tp")
    rest = list(words)
    while isinstance(command, click.Group):
        if not rest or rest[0] in ("--help", "-h", "--version"):
            return
        if rest[0] in ("--debug", "COMMAND"):
            rest = rest[1:]
            continue
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if "--help" in rest:
        return
    if rest and rest[-1] in takes_value(command, context):
        rest.append("VALUE")  # an option that the text speaks of, without its value
    parser = command.make_parser(context)
    values, left, _ = parser.parse_args(list(rest))
    if left and not context.ignore_unknown_options:
        raise click.UsageError(f"words too many: {left}")
    for parameter in command.get_params(context):
        value = values.get(parameter.name)
        if isinstance(parameter.type, click.Choice) and isinstance(value, str) and not value.isupper():
            parameter.type.convert(value, parameter, context)


def takes_value(command: click.Command, context: click.Context) -> set[str]:
    """The options of a command that a value follows."""
    parameters = [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.is_flag]
    return {name for one in parameters for name in one.opts if not one.count}


def shown() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text("utf-8")
        name = page.relative_to(PROJECT).as_posix()
        for line in dict.fromkeys([*blocks(text), *inline(text)]):
            if page.name == "CHANGELOG.md":
                line = line.split("|")[0]
            yield name, line


@pytest.mark.parametrize("page", [path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_every_command_shown_is_one(page: str) -> None:
    lines = [line for name, line in shown() if name == page]
    wrong = []
    for line in lines:
        # A choice of words (`tp daemon status|stop`) is each of them; dots stand for anything.
        for one in choices(line.replace(" ...", "").replace("[", "").replace("]", "")):
            try:
                parse(words_of(one))
            except (click.ClickException, TurboPropError, ValueError) as error:
                if line not in REFUSED:
                    wrong.append(f"{line}: {error}")
    assert wrong == []


def choices(line: str) -> list[str]:
    found = re.search(r"(?<=\s)\w+(?:\|\w+)+", line)
    return [line] if found is None else [line.replace(found[0], word) for word in found[0].split("|")]


def test_this_test_sees_what_is_wrong() -> None:
    assert words_of("tp search 'a b' --limit 3 | head  # two") == ["search", "a b", "--limit", "3"]
    for wrong in ("tp serach x", "tp search x --limt 3", "tp index --weights int9", "tp status a b c"):
        with pytest.raises((click.ClickException, TurboPropError)):
            parse(words_of(wrong))
    assert len(list(shown())) > 150


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [path.relative_to(PROJECT).as_posix() for path in PAGES])
def test_every_link_leads_somewhere(page: str) -> None:
    path = PROJECT / page
    text = FENCE.sub("", path.read_text("utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists() or not to.is_relative_to(PROJECT):
            wrong.append(target)
        elif fragment and to.suffix == ".md":
            there = re.sub(r"^```.*?^```", "", to.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
            if fragment not in [anchor(title) for title in re.findall(r"^#+ (.+)$", there, re.MULTILINE)]:
                wrong.append(target)
    assert wrong == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\((docs/[^)#\s]+)", (PROJECT / "README.md").read_text("utf-8"))
    missing = [path.name for path in (PROJECT / "docs").glob("*.md") if f"docs/{path.name}" not in linked]
    assert set(missing) <= {"index.md", "architectures.md"}, missing
