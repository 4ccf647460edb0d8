"""Words before vectors: what is published when, that a run goes on wherever it ended, and indexes of words alone."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from index.words import text_search
from turboprop.code import chunk_pool
from turboprop.code.walk import walk
from turboprop.errors import EngineError, UsageError
from turboprop.index import build
from turboprop.index.build import Progress, WordsOnly, update
from turboprop.index.health import examine
from turboprop.index.read import IndexReader
from turboprop.index.schema import WORDS, IndexSpec
from turboprop.index.write import TableWriter
from turboprop.search.search import search, similar_to
from turboprop.types import IndexedFile

Rows = dict[tuple[str, int, int], tuple[str, list[float]]]


def rows_of(directory: Path) -> Rows:
    """Everything in the published index: lines to text and vector."""
    with IndexReader.open(directory) as reader:
        table = reader.dataset.to_table().to_pylist()
    return {(row["path"], row["start_line"], row["end_line"]): (row["text"], row["vector"]) for row in table}


def age(root: Path) -> None:
    """Files changed long ago: the index trusts times that are not from just now."""
    for file in root.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(10**18, 10**18))


def run(directory: Path, root: Path, embedder: object, **options: object):
    return update(directory, walk(root).files, embedder, **options)


FIRST_CALL = 18
"""Chunks of `large` that are embedded before the rate is known: one call of about 16."""
FIRST = {"src": 0, "tests": 1, "docs": 2}


def first(path: str, language: str) -> int:
    """Code, then tests, then prose."""
    assert language in ("python", "markdown")
    return FIRST[path.partition("/")[0]]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """60 files in three folders, 180 chunks, and one that is cut into many pieces."""
    source = random.Random(7)
    root = tmp_path / "large"
    for folder, ending in (("docs", "md"), ("src", "py"), ("tests", "py")):
        (root / folder).mkdir(parents=True)
        for number in range(20):
            words = [f"{folder}{source.randrange(1_000)}" for _ in range(60)]
            if ending == "md":
                text = "".join(f"# Part {part}\n\n{' '.join(words)} {part}\n\n" for part in range(3))
            else:
                text = "".join(
                    f"def f{number}_{part}(x):\n" + "".join(f"    {word} = {part}\n" for word in words) + "\n\n"
                    for part in range(3)
                )
            (root / folder / f"m{number}.{ending}").write_text(text)
    (root / "src" / "big.py").write_text("".join(f"def big{k}(x):\n    return x * {k}\n\n\n" * 12 for k in range(60)))
    age(root)
    return root


@pytest.fixture
def groups_of_16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MANY_BYTES", 0)
    monkeypatch.setattr(build, "LARGEST_GROUP", 16)


@pytest.mark.usefixtures("groups_of_16")
def test_words_are_published_before_the_vectors(tmp_path: Path, large: Path, make_embedder) -> None:
    seen: list[tuple[Progress, int, int]] = []

    def look(now: Progress) -> None:
        if now.waiting and not seen:
            with IndexReader.open(tmp_path / "index") as reader:
                header = reader.header
                assert header.complete
                assert header.file_count == 61
                assert text_search(reader, "big59", 3)
                seen.append((now, header.rows, header.waiting))

    embedder = make_embedder()
    summary = run(tmp_path / "index", large, embedder, words_first_seconds=0.0, progress=look)
    now, rows, waiting = seen[0]
    assert rows == summary.chunks
    # What was embedded before the rate was known has its vectors.
    assert waiting == now.waiting == rows - FIRST_CALL
    assert summary.waiting_chunks == 0
    assert summary.embedded_chunks == len(embedder.texts)
    run(tmp_path / "whole", large, make_embedder(), words_first_seconds=math.inf)
    assert rows_of(tmp_path / "index") == rows_of(tmp_path / "whole")
    assert not examine(tmp_path / "index")[1]


@pytest.mark.usefixtures("groups_of_16")
def test_what_comes_first_is_embedded_first(tmp_path: Path, large: Path, make_embedder) -> None:
    recent = large / "src" / "m7.py"
    os.utime(recent, ns=(2 * 10**18, 2 * 10**18))
    embedder = make_embedder()
    run(tmp_path / "index", large, embedder, words_first_seconds=0.0, first=first)
    paths = [text.partition("\n")[0] for text in embedder.texts[FIRST_CALL:]]
    order = list(dict.fromkeys(path.partition("/")[0] for path in paths))
    assert order == ["src", "tests", "docs"]
    assert "src/m7.py" in paths[:16]


@pytest.mark.usefixtures("groups_of_16")
@pytest.mark.parametrize("publish_seconds", [0.0, math.inf])
def test_a_run_goes_on_wherever_it_was_interrupted(
    tmp_path: Path, large: Path, make_embedder, publish_seconds: float
) -> None:
    """At each place where a run says how far it is, in both parts of it, until one comes to its end."""
    run(tmp_path / "whole", large, make_embedder(), words_first_seconds=math.inf)
    directory = tmp_path / "index"
    interrupts, filled = 0, []
    while True:

        def stop(now: Progress, after: list[int] = [0]) -> None:  # noqa: B006  counts the calls of one run
            after[0] += 1
            if after[0] == 2:
                after[0] = 0
                raise KeyboardInterrupt

        try:
            run(
                directory,
                large,
                make_embedder(),
                words_first_seconds=0.0,
                publish_seconds=publish_seconds,
                progress=stop,
                first=first,
            )
            break
        except KeyboardInterrupt:
            interrupts += 1
            with IndexReader.open(directory) as reader:
                filled.append(reader.header.vectors)
                assert reader.rows == sum(file.chunks for file in reader.manifest().files.values())
    assert interrupts > 5
    assert filled == sorted(filled)
    assert rows_of(directory) == rows_of(tmp_path / "whole")
    assert not examine(directory)[1]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import HashingEmbedder
from turboprop.code import chunk_pool
from turboprop.code.walk import walk
from turboprop.index import build, write

build.MANY_BYTES, build.LARGEST_GROUP = 0, 16
steps = int(sys.argv[4])

def counted(cls, name):
    method = getattr(cls, name)
    def call(*arguments, **options):
        global steps
        steps -= 1
        if not steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments, **options)
    setattr(cls, name, call)

for name in ("begin_file", "fill", "rows", "waiting_rows", "keep_lexicon", "_flush", "_name_newest", "_sync_new_files"):
    counted(write.TableWriter, name)
write.write_manifest, original = lambda *a: (counted_write(), original(*a))[1], write.write_manifest
def counted_write():
    global steps
    steps -= 1
    if not steps:
        os.kill(os.getpid(), signal.SIGKILL)
build.update(
    Path(sys.argv[1]), walk(Path(sys.argv[2])).files, HashingEmbedder(), words_first_seconds=0.0, publish_seconds=0.0
)
print("done", flush=True)
"""


def test_a_killed_run_goes_on_to_the_rows_of_one_in_one_piece(tmp_path: Path, large: Path, make_embedder) -> None:
    """Killed before a step of the writer that is drawn, again and again, in both parts of a run."""
    run(tmp_path / "whole", large, make_embedder(), words_first_seconds=math.inf)
    directory, source = tmp_path / "index", random.Random(1)
    command = [sys.executable, "-c", KILLED, str(directory), str(large), str(Path(__file__).parent)]
    kills = 0
    while True:
        done = subprocess.run([*command, str(source.randrange(1, 60))], capture_output=True, text=True, check=False)
        assert done.returncode in (0, -9), done.stderr
        if done.returncode == 0:
            break
        kills += 1
    assert kills >= 3
    assert rows_of(directory) == rows_of(tmp_path / "whole")
    assert not examine(directory)[1]


@pytest.mark.usefixtures("groups_of_16")
def test_an_edit_beside_rows_that_wait_leaves_them_waiting(tmp_path: Path, large: Path, make_embedder) -> None:
    directory = tmp_path / "index"
    before = run(directory, large, make_embedder(), words_first_seconds=0.0, fill=False)
    assert before.waiting_chunks == before.chunks - FIRST_CALL
    with IndexReader.open(directory) as reader:
        edited = len(reader.rows_where("path = 'src/m3.py' AND vector IS NULL"))
    assert edited
    (large / "src" / "m3.py").write_text("def fresh(x):\n    return x\n")
    embedder = make_embedder()
    after = run(directory, large, embedder, words_first_seconds=math.inf, fill=False)
    assert len(embedder.texts) == after.embedded_chunks == 1
    with IndexReader.open(directory) as reader:
        assert reader.header.waiting == after.waiting_chunks == before.waiting_chunks - edited
        found = search(reader, "fresh", embedder.embed_documents(["fresh"])[0])
        assert found[0].path == "src/m3.py"
    run(directory, large, make_embedder())
    run(tmp_path / "whole", large, make_embedder(), words_first_seconds=math.inf)
    assert rows_of(directory) == rows_of(tmp_path / "whole")


@pytest.mark.usefixtures("groups_of_16")
def test_kept_vectors_are_there_at_once(tmp_path: Path, large: Path, make_embedder) -> None:
    class Keeping(make_embedder):  # type: ignore[misc, valid-type]
        def kept_vectors(self, texts):
            kept = {n: v for n, (text, v) in enumerate(zip(texts, self.made(texts), strict=True)) if "docs/" in text}
            self.cached += len(kept)
            return kept

        def made(self, texts):
            return make_embedder().embed_documents(texts).astype(np.float16)

    summary = run(tmp_path / "index", large, Keeping(), words_first_seconds=0.0, fill=False)
    with IndexReader.open(tmp_path / "index") as reader:
        assert not reader.rows_where("path LIKE 'docs/%' AND vector IS NULL")
        assert reader.rows_where("path LIKE 'src/%' AND vector IS NULL")
    assert summary.cached_chunks > 0
    assert summary.embedded_chunks == FIRST_CALL


@pytest.mark.usefixtures("groups_of_16")
def test_a_search_ranks_by_words_what_has_no_vector_yet(tmp_path: Path, large: Path, embedder) -> None:
    run(tmp_path / "index", large, embedder, words_first_seconds=0.0, fill=False)
    with IndexReader.open(tmp_path / "index") as reader:
        query = "big59"
        hits = search(reader, query, embedder.embed_documents([query])[0], limit=50)
        assert hits[0].path == "src/big.py"
        waiting = {(row["path"], row["start_line"]) for row in reader.rows_where("vector IS NULL")}
        places = {(hit.path, hit.start_line) for hit in hits}
        assert places & waiting
        near = reader.vector_search(embedder.embed_documents([query])[0], 1_000)
        assert len(near) == reader.header.vectors == FIRST_CALL
        without = next(hit for hit in hits if (hit.path, hit.start_line) in waiting)
        with pytest.raises(UsageError, match="waits for its vector"):
            similar_to(reader, without.path, without.start_line, limit=3)
        assert reader.vectors([row["_rowid"] for row in reader.rows_where("vector IS NULL")[:2]]).any() == False  # noqa: E712


def test_an_engine_that_fails_while_rows_wait_names_the_chunk(tmp_path: Path, large: Path, make_embedder) -> None:
    run(tmp_path / "index", large, make_embedder(), words_first_seconds=0.0, fill=False)

    class Failing(make_embedder):  # type: ignore[misc, valid-type]
        def embed_documents(self, texts):
            return np.full((len(texts), self.dimensions), np.nan, np.float32)

    with pytest.raises(EngineError, match=r"not finite.*\.(py|md):\d+-\d+"):
        run(tmp_path / "index", large, Failing())
    run(tmp_path / "index", large, make_embedder())
    run(tmp_path / "whole", large, make_embedder(), words_first_seconds=math.inf)
    assert rows_of(tmp_path / "index") == rows_of(tmp_path / "whole")


def test_rows_are_the_same_whoever_makes_the_chunks(
    tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_pool, "WORTH_BYTES", 1)
    started: list[int] = []
    real = chunk_pool.ChunkPool
    monkeypatch.setattr(chunk_pool, "ChunkPool", lambda workers: started.append(workers) or real(workers))
    tables = []
    for cores in (1, 2, 9):
        monkeypatch.setattr(build, "usable_cores", lambda cores=cores: cores)
        run(tmp_path / f"by{cores}", large, WordsOnly())
        with IndexReader.open(tmp_path / f"by{cores}") as reader:
            tables.append(reader.dataset.to_table().to_pylist())
    assert started == [1, 8]  # one core has no room for others
    assert tables[0] == tables[1] == tables[2]


def test_an_index_of_words_alone_is_whole(tmp_path: Path, repository: Path) -> None:
    age(repository)
    summary = run(tmp_path / "index", repository, WordsOnly())
    assert (summary.model, summary.files, summary.embedded_chunks, summary.waiting_chunks) == ("none", 6, 0, 0)
    with IndexReader.open(tmp_path / "index") as reader:
        assert reader.header.spec.dimensions == 0
        assert "vector" not in reader.dataset.schema.names
        assert search(reader, "parse config", None)[0].path == "src/config.py"
        with pytest.raises(UsageError, match="no vectors"):
            search(reader, "parse config", None, mode="semantic")
        with pytest.raises(UsageError, match="no vector"):
            similar_to(reader, "src/config.py", 1, limit=3)
    assert not examine(tmp_path / "index")[1]
    (repository / "src" / "config.py").write_text("def another_name():\n    return 7\n")
    again = run(tmp_path / "index", repository, WordsOnly())
    assert again.unchanged_files == 5
    with IndexReader.open(tmp_path / "index", WORDS) as reader:
        assert search(reader, "another_name", None)[0].path == "src/config.py"


def test_a_manifest_that_miscounts_the_rows_that_wait_is_noticed(tmp_path: Path, spec: IndexSpec, make_chunk) -> None:
    with TableWriter.open(tmp_path / "index", spec) as writer:
        writer.begin_file("a.py")
        chunks = [make_chunk("a.py", "x = 1\n", 1), make_chunk("a.py", "y = 2\n", 2)]
        vectors = np.ones((2, spec.dimensions), np.float32)
        writer.add(chunks, [b"0" * 16, b"1" * 16], vectors, np.array([False, True]))
        writer.end_file(IndexedFile("a.py", 1, 1, 1, "0" * 32, 2, "python"))
        writer.publish()
        assert writer.header.waiting == 1
        writer._may_wait = False
        writer.refresh_file(IndexedFile("a.py", 2, 1, 1, "0" * 32, 2, "python"))
        writer.publish()
        writer.maintain()
    problems = [finding.problem for finding in examine(tmp_path / "index")[1]]
    assert problems == ["1 rows have no vector where the manifest says 0"]
