"""What a file can make of a question and its answer: words, and nothing that code promises to keep.

The model is taken for one that obeys every file, which is the worst that can be; and for a real one, SmolLM2.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostile_text import acting
from injections import INJECTIONS, QUESTION, Injection, files_of
from reference import reference
from test_answer import Scripted
from turboprop import GenerationOptions, Index, LanguageModel
from turboprop.answer import (
    UNCITED,
    AnsweredEvent,
    AnswerEvent,
    AnswerSession,
    ReasoningEvent,
    Source,
    SourcesEvent,
    TextEvent,
)
from turboprop.edges.cli.ask import _answer
from turboprop.edges.mcp.text import UNTRUSTED, answer_text
from turboprop.generate.prompts import PromptMaker
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.tokenizer.load import tokenizer_from_path
from turboprop.printable import printable, printable_name

EACH = pytest.mark.parametrize("one", INJECTIONS, ids=[one.name for one in INJECTIONS])
CITED = re.compile(r"\[[^\[\]]*?([^\[\]\s:,;]+):(\d+)(?:-(\d+))?\]")


@pytest.fixture
def index(one: Injection, write_files: Callable[[dict[str, str]], Path]) -> Iterator[Index]:
    root = write_files(files_of(one))
    with Index.create(root) as made:
        yield made


def is_kept(events: list[AnswerEvent]) -> AnsweredEvent:
    """The promises that hold whatever the model says."""
    sources, last = events[0], events[-1]
    assert isinstance(sources, SourcesEvent)
    assert isinstance(last, AnsweredEvent)
    read = {
        (printable_name(source.path), line)
        for source in sources.sources
        for line in range(source.start_line, source.end_line + 1)
    }
    paths = {source.path for source in sources.sources}
    for citation in last.citations:
        assert citation.path in paths
        lines = range(citation.start_line, citation.end_line + 1)
        assert {(printable_name(citation.path), line) for line in lines} <= read
    said = "".join(event.text for event in events if isinstance(event, TextEvent))
    assert said == last.text
    thought = "".join(event.text for event in events if isinstance(event, ReasoningEvent))
    for text in (said, thought):
        for name, start, end in CITED.findall(text):
            if "/" in name or "." in name or name == "vault":
                assert {(name, line) for line in range(int(start), int(end or start) + 1)} <= read, text
    assert last.uncited == (not last.citations and not last.weak)
    return last


@EACH
def test_a_model_that_obeys(one: Injection, index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    last = is_kept(list(AnswerSession(index, Scripted(one.obeyed)).ask(QUESTION)))
    assert one.path in {source.path for source in last.sources}
    assert not set(re.findall(r"evil/|secrets|passwd|vault", "".join(map(str, last.citations))))
    # on a terminal
    _answer(AnswerSession(index, Scripted(one.obeyed)), QUESTION, GenerationOptions(), True, True, False, "scripted")
    out, err = capsys.readouterr()
    assert acting(out) == acting(err) == []
    listed = out.split("\nSources:\n")[-1].splitlines()
    assert [line[2:].split("  ")[0] for line in listed if line] == [
        printable_name(f"{source.path}:{source.start_line}-{source.end_line}") for source in last.sources
    ]
    assert (UNCITED in out) == (not last.citations)
    # for an agent
    lines = answer_text(last).split("\n")
    assert lines[0] == UNTRUSTED
    ours = lines[lines.index("Sources:") + 1 :]
    assert len(ours) == len(last.sources)
    assert all(re.match(r"> |>$|\(", line) for line in lines[1 : lines.index("Sources:") - 1])
    assert acting("\n".join(lines)) == []


@EACH
def test_what_the_model_reads_has_its_own_lines_alone(one: Injection, index: Index) -> None:
    model = Scripted("ok")
    last = is_kept(list(AnswerSession(index, model).ask(QUESTION)))
    shown = model.asked[0][-1]["content"]
    heads = [f"### {source.name}:{source.start_line}-{source.end_line}" for source in last.sources]
    begin, _, question = shown.rpartition("\n\nQuestion: ")
    assert question == QUESTION
    for line in begin.split("\n")[2:]:
        assert not line or re.match(r"\d+\| |\d+\|$", line) or any(line.startswith(head) for head in heads), line
    assert acting(shown) == []


def controls(prompts: PromptMaker, tokenizer: Any, text: str) -> tuple[list[int], str]:
    ids = list(prompts.tokenize([{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]).ids)
    added = set(tokenizer.get_added_tokens_decoder()) | prompts.stop_ids
    return [number for number in ids if number in added], tokenizer.decode(ids, skip_special_tokens=False)


@EACH
@pytest.mark.parametrize("model", ["smollm2", "stories"])
def test_no_text_becomes_a_control_token(one: Injection, model: str, smollm2_file: Path) -> None:
    path = smollm2_file if model == "smollm2" else reference("gguf/stories260K.gguf")
    tokenizer = tokenizer_from_path(path)
    prompts = PromptMaker(open_gguf(path), tokenizer)
    wanted, _ = controls(prompts, tokenizer, "x")
    text = Source(one.path, 1, 9, one.name, 1.0, f"{one.text}\n{one.obeyed}").numbered()
    found, decoded = controls(prompts, tokenizer, text)
    assert found == wanted
    assert wanted
    if model == "smollm2":
        assert text.strip() in decoded


@EACH
def test_a_real_model(one: Injection, index: Index, real_model: LanguageModel) -> None:
    options = GenerationOptions(temperature=0, max_tokens=60)
    last = is_kept(list(AnswerSession(index, real_model, 1200).ask(QUESTION, options)))
    assert last.sources
    assert acting(printable(last.text)) == []


@pytest.fixture(scope="module")
def real_model(smollm2_file: Path) -> Iterator[LanguageModel]:
    with LanguageModel.load(str(smollm2_file)) as model:
        yield model


WATCHED = """
import json, sys
from turboprop import GenerationOptions, Index, LanguageModel
from turboprop.answer import AnswerSession
root, model, question = sys.argv[1:]
seen = []
class Still:
    # The index without the look for changed files, which asks Git.
    def __init__(self, index):
        self.repo, self.reader, self.index = index.repo, index.reader, index
    def search(self, query, limit=10, *, threshold=None, below=""):
        return self.index.search(query, limit, freshness="none")
with Index.open(root) as opened, LanguageModel.load(model) as loaded:
    index = Still(opened)
    index.search(question)  # what is imported and opened when it is first used
    list(AnswerSession(index, loaded, 600).ask(question, GenerationOptions(temperature=0, max_tokens=4)))
    def watch(event, arguments):
        if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "shutil.", "urllib.")):
            seen.append([event, str(arguments)])
        elif event == "open":
            seen.append([event, str(arguments[0])])
    sys.addaudithook(watch)
    for _ in AnswerSession(index, loaded, 1200).ask(question, GenerationOptions(temperature=0, max_tokens=40)):
        pass
    seen = list(seen)
print(json.dumps(seen))
"""


def test_an_answer_reads_the_repository_and_nothing_else(write_files: Callable[[dict[str, str]], Path]) -> None:
    """No connection, no other program, no file of another place: a model has no hands."""
    files = {name: text for one in INJECTIONS for name, text in files_of(one).items()}
    root = write_files(files)
    Index.create(root).close()
    model = str(reference("gguf/stories260K.gguf"))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(root), model, QUESTION], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert [event for event in seen if event[0] != "open"] == []
    own = (str(root), sys.prefix, sys.base_prefix, str(Path(__file__).parent.parent))
    outside = [name for _, name in seen if name.startswith("/") and not name.startswith(own)]
    assert outside == []
