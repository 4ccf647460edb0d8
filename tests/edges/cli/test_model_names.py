"""Every command that takes a model reads its name in the same way."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
from click.testing import CliRunner, Result

from architectures.tiny_models import MODELS, TinyModel
from models.checkpoint.test_gguf import with_tokenizer
from models.other_programs import lm_studio, ollama
from rerank.tiny_gguf_rerankers import write_reranker
from turboprop.edges.cli.entry import tp
from turboprop.errors import TurboPropError
from turboprop.workspace.index import Index

# Each with the kind of model that it takes; MODEL stands for the name.
COMMANDS = {
    "model info MODEL": "embeds",
    "model path MODEL": "embeds",
    "model inspect MODEL": "embeds",
    "model check MODEL": "embeds",
    "model verify MODEL": "embeds",
    "model download MODEL": "embeds",
    "model remove MODEL --yes": "embeds",
    "model convert MODEL out.gguf --force": "embeds",
    "tokenize --model MODEL text": "embeds",
    "embed --model MODEL text": "embeds",
    "index --model MODEL repo": "embeds",
    "search --model MODEL word ./repo": "embeds",
    "bench --model MODEL --mode semantic repo": "embeds",
    "search --rerank MODEL word ./repo": "reranks",
    "generate --model MODEL --max-tokens 1 text": "writes",
    "chat --model MODEL --max-tokens 1": "writes",
    "ask --model MODEL --max-tokens 1 word --repo repo": "writes",
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One GGUF file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    tiny = MODELS["qwen3"]
    long = TinyModel({**tiny.config, "max_position_embeddings": 8192}, tiny.shapes, tiny.gguf_family)
    return {
        "embeds": with_tokenizer(tiny, folder / "Tiny-Embeds.gguf", pooling=gguf.PoolingType.LAST),
        "writes": with_tokenizer(long, folder / "Tiny-Writes.gguf"),
        "reranks": write_reranker("modernbert", folder / "Tiny-Reranks.gguf"),
    }


@pytest.fixture(scope="session")
def indexed(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path], shared_key: Path) -> Path:
    repo = tmp_path_factory.mktemp("indexed") / "repo"
    repo.mkdir()
    for number in range(12):  # as many docstrings as `tp bench` asks for
        said = f"Give the {number} words that a stranger asks for, or none of them."
        (repo / f"f{number}.py").write_text(
            f"def word{number}(text):\n    '''{said}'''\n    return text.word({number})\n"
        )
    Index.create(repo, str(files["embeds"])).close()
    return repo


@pytest.fixture
def place(own_places: Path, tmp_path: Path, indexed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(indexed, tmp_path / "repo")
    monkeypatch.chdir(tmp_path)
    return own_places


def run(command: str, name: str) -> Result:
    arguments = [name if word == "MODEL" else word for word in command.split()]
    return CliRunner().invoke(tp, arguments, prog_name="tp", input="hi\n")


def error_of(command: str, name: str) -> str:
    result = run(command, name)
    assert isinstance(result.exception, TurboPropError), result.output
    return str(result.exception)


def in_store(home: Path, file: Path) -> str:
    result = CliRunner().invoke(tp, ["model", "import", str(file)], prog_name="tp")
    assert result.exit_code == 0, result.output
    return file.stem.upper()


def in_lm_studio(home: Path, file: Path) -> str:
    lm_studio(home, file, "maker/Some-GGUF")
    return file.name.lower()


def in_ollama(home: Path, file: Path) -> str:
    ollama(home, file, "library/tiny", "0.1b")
    return "tiny:0.1b"


@pytest.mark.parametrize("bring", [in_store, in_lm_studio, in_ollama])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_of_each_kind(
    command: str, bring: Callable[[Path, Path], str], place: Path, files: dict[str, Path]
) -> None:
    name = bring(place, files[COMMANDS[command]])
    if "remove" in command and bring is not in_store:
        assert "belongs to" in error_of(command, name)
        return
    result = run(command, name)
    # Of weights that are random a check may fail, and sources may be too weak to answer from: that is 1.
    assert result.exit_code in ((0, 1) if "check" in command or "ask" in command else (0,)), result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", COMMANDS)
def test_names_that_mean_no_model(command: str, place: Path, files: dict[str, Path]) -> None:
    file = files[COMMANDS[command]]
    lm_studio(place, file, "maker/One-GGUF")
    unknown = error_of(command, "nowhere")
    assert unknown.startswith("no model is called 'nowhere'; ")
    assert f"here are minilm, maker/One-GGUF:{file.name}; `tp model list`" in unknown
    lm_studio(place, file, "maker/Two-GGUF")
    assert error_of(command, file.stem) == (
        f"{file.stem!r} means several models here; name one: maker/One-GGUF:{file.name}, maker/Two-GGUF:{file.name}"
    )
    there = "is not in" if importlib.util.find_spec("fastembed") else "pip install 'turboprop-local[fastembed]'"
    assert there in error_of(command, "fastembed:BAAI/bge-small-en-v1.5")


def test_after_an_import_the_command_to_use_next(place: Path, files: dict[str, Path]) -> None:
    uses = {"embeds": "tp index --model", "writes": "tp chat --model", "reranks": "tp search --rerank"}
    for kind, command in uses.items():
        result = CliRunner().invoke(tp, ["model", "import", str(files[kind])], prog_name="tp")
        assert f"use it with: {command} {files[kind].stem}\n" in result.stderr
