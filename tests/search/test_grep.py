"""Lines of files on disk, through a real index of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from turboprop.code.chunk import chunk_text
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.search.grep import FileMatches, GrepOptions, KeptTexts, first_lines, grep, read_texts
from turboprop.search.patterns import Pattern
from turboprop.types import IndexedFile, Prompts, SearchFilter

SOURCE = Path(__file__).parent.parent.parent / "src" / "turboprop"


def indexed(root: Path, files: list[str], directory: Path) -> IndexReader:
    """An index of files whose vectors mean nothing."""
    with TableWriter.open(directory, IndexSpec("by hand", "by-hand", 2, Prompts(), "by hand")) as writer:
        for path in files:
            text = (root / path).read_bytes().decode("utf-8", "replace")
            language = {".py": "python", ".md": "markdown"}.get(Path(path).suffix, "")
            chunks = chunk_text(path, text, language)
            writer.begin_file(path)
            writer.add(chunks, [text_digest(chunk.text) for chunk in chunks], np.ones((len(chunks), 2), np.float32))
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks), language))
        writer.publish()
    return IndexReader.open(directory)


def found(root: Path, reader: IndexReader, pattern: str, **options: object) -> dict[str, list[int]]:
    matches = grep(root, reader, pattern=Pattern((pattern,)), **options)  # type: ignore[arg-type]
    return {each.path: each.numbers for each in matches}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> IndexReader:
    """This project's own code."""
    files = [str(path.relative_to(SOURCE)) for path in sorted(SOURCE.rglob("*.py")) if path.stat().st_size]
    return indexed(SOURCE, files, tmp_path_factory.mktemp("index"))


PATTERNS = [
    r"\bIndexReader\b",
    "def ",
    r"^class \w+\(",
    r"raise \w+Error",
    "é",
    r"\s+$",
    "nothing is like this",
    r"^$",
    ".",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_lines_that_pythons_engine_finds(sources: IndexReader, pattern: str) -> None:
    expected = {}
    for path, _ in sources.lexicon.files:
        lines = (SOURCE / path).read_text("utf-8").removesuffix("\n").split("\n")
        if numbers := [number for number, line in enumerate(lines, 1) if re.search(pattern, line)]:
            expected[path] = numbers
    kept = KeptTexts()
    for current in (False, True, True):  # from the disk, by the postings, from what was kept
        assert found(SOURCE, sources, pattern, current=current, kept=kept) == expected


FLAGS = {"-F": "fixed", "-i": "ignore_case", "-w": "words", "-x": "whole_lines"}


@pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")
@pytest.mark.parametrize("options", [[], ["-i"], ["-w"], ["-x"], ["-F"], ["-v"]])
@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+\.\w+\(", "self"])
def test_the_lines_that_ripgrep_finds(sources: IndexReader, pattern: str, options: list[str]) -> None:
    done = subprocess.run(
        ["rg", "-n", "--no-heading", "--no-ignore", "-g", "*.py", *options, "-e", pattern, "."],
        cwd=SOURCE, capture_output=True, check=False, text=True,
    )  # fmt: skip
    theirs = {tuple(line.removeprefix("./").split(":", 2)[:2]) for line in done.stdout.splitlines()}
    ours = grep(
        SOURCE,
        sources,
        pattern=Pattern((pattern,), **{name: flag in options for flag, name in FLAGS.items()}),
        current=True,
        options=GrepOptions(invert="-v" in options),
    )
    assert {(each.path, str(number)) for each in ours for number in each.numbers} == theirs


FILES = {
    "tests/test_pool.py": "from pool import ConnectionPool\n\ndef test_pool():\n    ConnectionPool(4)\n",
    "README.md": "# Pool\n\nA ConnectionPool keeps connections.\n",
    "src/use.py": "from pool import ConnectionPool\nshared = ConnectionPool(2)\n",
    "src/zpool.py": "class ConnectionPool:\n    size = 4\n\n    def acquire(self):\n        return 1\n",
}


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, IndexReader]:
    for path, text in FILES.items():
        (tmp_path / "repo" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / path).write_text(text)
    return tmp_path / "repo", indexed(tmp_path / "repo", list(FILES), tmp_path / "index")


def test_definitions_come_first_and_tests_last(small: tuple[Path, IndexReader]) -> None:
    ordered = ["src/zpool.py", "src/use.py", "README.md", "tests/test_pool.py"]
    for pattern in ("ConnectionPool", "Connection", r"nPool\b", "(?i)connectionpool"):
        assert list(found(*small, pattern)) == ordered
    assert list(found(*small, "ConnectionPool", options=GrepOptions(in_path_order=True))) == sorted(FILES)


def test_narrowing_limits_and_context(small: tuple[Path, IndexReader]) -> None:
    root, reader = small
    assert list(found(*small, "Pool", wanted=SearchFilter(languages=("markdown",)))) == ["README.md"]
    assert list(found(*small, "Pool", within=["src"])) == ["src/zpool.py", "src/use.py"]
    assert list(found(*small, "Pool", within=["README.md", "tests"])) == ["README.md", "tests/test_pool.py"]
    assert found(*small, "Pool", options=GrepOptions(most_in_file=1))["tests/test_pool.py"] == [1]
    around = GrepOptions(before=1, after=1, spans=True)
    (one,) = grep(root, reader, pattern=Pattern(("acquire",)), options=around)
    assert (one.numbers, one.spans, one.context) == ([4], [((8, 15),)], {3: "", 5: "        return 1"})
    (first,) = grep(root, reader, pattern=Pattern(("o",)), options=GrepOptions(spans=True, most=1, most_spans=1))
    assert (first.path, first.numbers, first.spans) == ("src/zpool.py", [1], [((7, 8),)])
    every = grep(root, reader, pattern=Pattern(("Pool",)))
    assert sum(len(each.numbers) for each in every) == 7
    assert [(each.path, each.numbers) for each in first_lines(every, 2)] == [("src/zpool.py", [1]), ("src/use.py", [1])]


def test_files_are_read_as_they_are_now(small: tuple[Path, IndexReader]) -> None:
    root, _ = small
    kept = KeptTexts()
    assert found(*small, "acquire", current=True, kept=kept) == {"src/zpool.py": [4]}
    (root / "src/zpool.py").write_bytes(b"# caf\xe9\r\n\r\ndef acquire():\r\n    pass")
    (root / "src/use.py").unlink()
    (root / "README.md").unlink()
    (root / "README.md").symlink_to("/etc/passwd")
    (root / "tests/test_pool.py").unlink()
    os.mkfifo(root / "tests/test_pool.py")
    assert found(*small, "acquire|root|Pool", kept=kept) == {"src/zpool.py": [3]}
    assert found(*small, r"\(\):$") == {"src/zpool.py": [3]}
    assert found(*small, "café") == {"src/zpool.py": [1]}


def test_few_files_of_texts_that_were_kept(small: tuple[Path, IndexReader]) -> None:
    root, _ = small
    (root / "src/use.py").write_text("from pool import ConnectionPool\nshared = ConnectionPool('é')\n")
    kept = KeptTexts()
    assert len(found(*small, "Pool", current=True, kept=kept)) == 4
    # Of one of the batches nothing is wanted.
    assert found(*small, r"\bacquire\b", current=True, kept=kept) == {"src/zpool.py": [4]}
    assert found(*small, "é", current=True, kept=kept, within=["src/use.py"]) == {"src/use.py": [2]}


def test_indexes_keep_texts_in_one_room(small: tuple[Path, IndexReader], monkeypatch: pytest.MonkeyPatch) -> None:
    root, reader = small
    monkeypatch.setattr("turboprop.search.grep.MOST_KEPT_BYTES", 400)  # the texts of one of the two
    first, second = KeptTexts(), KeptTexts()

    def is_kept(kept: KeptTexts) -> bool:
        return isinstance(kept.read(root, reader, FILES, True), list)

    assert not is_kept(first)
    for kept, other in ((first, second), (second, first)):
        assert len(found(*small, "Pool", current=True, kept=kept)) == 4
        assert is_kept(kept)
        assert not is_kept(other)


def test_no_context_where_all_lines_match(small: tuple[Path, IndexReader]) -> None:
    root, reader = small
    every = grep(root, reader, pattern=Pattern(("",)), options=GrepOptions(before=1, after=1))
    assert [each.context for each in every] == [{}] * 4


def test_no_folder_on_the_way_is_a_link(small: tuple[Path, IndexReader], tmp_path: Path) -> None:
    root, _ = small
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/use.py").write_text("ConnectionPool of a stranger\n")
    shutil.rmtree(root / "src")
    (root / "src").symlink_to(tmp_path / "elsewhere")
    assert set(found(*small, "ConnectionPool")) == {"README.md", "tests/test_pool.py"}
    assert list(read_texts(root, ["../elsewhere/use.py", "/etc/passwd", "src/../README.md", ""])) == []


def test_an_empty_index(tmp_path: Path) -> None:
    reader = indexed(tmp_path, [], tmp_path / "index")
    assert grep(tmp_path, reader, pattern=Pattern(("x",))) == []
    assert first_lines([FileMatches("a", "", [1], ["x"])], 0) == []


def test_what_is_cut_out_of_a_chunk_is_found_in_its_file(tmp_path: Path) -> None:
    """Of a line that nobody can read the index has the ends alone."""
    table = ",".join(f"{number:05d}" for number in range(2_000))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data.py").write_text(
        f"def load():\n    return 1\n\n\nTABLE = [{table}, needle_word ,{table}]\n"
    )
    (tmp_path / "root" / "other.py").write_text("def needle():\n    return 2\n")
    with indexed(tmp_path / "root", ["data.py", "other.py"], tmp_path / "index") as reader:
        assert not reader.rows_where("text LIKE '%needle_word%'")
        for pattern in (r"\bneedle_word\b", "needle_word", r" needle_word "):
            for current in (True, False):
                assert found(tmp_path / "root", reader, pattern, current=current) == {"data.py": [5]}
