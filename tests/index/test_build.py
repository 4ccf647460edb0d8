from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from turboprop.code.walk import walk
from turboprop.errors import EngineError, IndexNotFoundError, StorageError
from turboprop.index import build
from turboprop.index.build import Progress, update
from turboprop.index.changes import find_changes
from turboprop.index.manifest import LeftOutFile
from turboprop.index.read import IndexReader
from turboprop.types import IndexedFile, IndexScope

Rows = dict[tuple[str, int, int], tuple[str, list[float]]]


def rows_of(directory: Path) -> Rows:
    """Everything in the published index: lines to text and vector."""
    with IndexReader.open(directory) as reader:
        table = reader._dataset.to_table().to_pylist()
    return {(row["path"], row["start_line"], row["end_line"]): (row["text"], row["vector"]) for row in table}


def age(root: Path) -> None:
    """Files changed long ago: the index trusts times that are not from just now."""
    for file in root.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(10**18, 10**18))


def run(directory: Path, root: Path, embedder: object, **options: object):
    return update(directory, walk(root).files, embedder, **options)


def test_a_repository_is_indexed_whole_and_nothing_twice(tmp_path: Path, repository: Path, embedder) -> None:
    age(repository)
    summary = run(tmp_path / "index", repository, embedder, skipped={"too large": 2})
    assert summary.files == 6
    assert summary.chunks == len(rows_of(tmp_path / "index")) == summary.embedded_chunks
    assert summary.tokens == embedder.tokens_embedded > 0
    assert summary.skipped == {"too large": 2}
    assert summary.bytes_on_disk > 1_000
    embedder.texts.clear()
    again = run(tmp_path / "index", repository, embedder)
    assert (again.embedded_chunks, again.unchanged_files, again.tokens) == (0, 6, 0)
    assert embedder.texts == []


def test_the_text_of_a_file_is_the_text_of_its_chunks(tmp_path: Path, repository: Path, embedder) -> None:
    run(tmp_path / "index", repository, embedder)
    rows = rows_of(tmp_path / "index")
    for file in walk(repository).files:
        parts = [text for (path, *_), (text, _) in sorted(rows.items()) if path == file.path]
        assert "".join(parts) == Path(file.location).read_text("utf-8")


def test_a_touched_file_is_read_and_not_embedded(tmp_path: Path, repository: Path, embedder) -> None:
    age(repository)
    run(tmp_path / "index", repository, embedder)
    embedder.texts.clear()
    os.utime(repository / "README.md", ns=(2 * 10**18, 2 * 10**18))
    summary = run(tmp_path / "index", repository, embedder)
    assert (summary.unchanged_files, summary.embedded_chunks) == (6, 0)
    os.utime(repository / "README.md", ns=(10**18, 10**18))
    files = walk(repository).files
    with IndexReader.open(tmp_path / "index") as reader:
        manifest = reader.manifest()
    changes = find_changes(files, manifest.files, manifest.left_out)
    assert [file.path for file in changes.to_read] == ["README.md"], "the new time had been recorded"


def test_a_file_changed_just_now_is_read_again(tmp_path: Path, repository: Path, embedder) -> None:
    file = repository / "README.md"
    run(tmp_path / "index", repository, embedder)
    before = file.stat()
    file.write_text(file.read_text().replace("pool", "lake"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same tick of the clock
    run(tmp_path / "index", repository, embedder)
    assert any("lake" in text for text, _ in rows_of(tmp_path / "index").values())


def test_an_edit_embeds_only_its_new_chunks(tmp_path: Path, repository: Path, make_embedder) -> None:
    file = repository / "src" / "many.py"
    functions = [f"def function_{n}(value):\n" + f"    value += {n}\n" * 12 + "\n\n" for n in range(20)]
    file.write_text("".join(functions))
    embedder = make_embedder(max_chars=300)
    age(repository)
    run(tmp_path / "index", repository, embedder)
    embedder.texts.clear()
    functions[7] = functions[7].replace("value", "other")
    file.write_text("".join(functions))
    summary = run(tmp_path / "index", repository, embedder)
    assert 1 <= summary.embedded_chunks == len(embedder.texts) <= 3
    assert all("function_7" in text or "function_8" in text for text in embedder.texts)
    fresh = make_embedder(max_chars=300)
    run(tmp_path / "fresh", repository, fresh)
    assert rows_of(tmp_path / "index") == rows_of(tmp_path / "fresh")


def test_a_rename_embeds_its_own_chunks_and_deletions_vanish(tmp_path: Path, repository: Path, embedder) -> None:
    run(tmp_path / "index", repository, embedder)
    embedder.texts.clear()
    (repository / "src" / "config.py").rename(repository / "src" / "settings.py")
    (repository / "README.md").unlink()
    summary = run(tmp_path / "index", repository, embedder)
    # The path is part of what is embedded, so the vectors are those of a fresh index.
    assert [text.split("\n")[0] for text in embedder.texts] == ["src/settings.py"]
    assert summary.embedded_chunks == 1
    assert summary.removed_files == 2
    paths = {path for path, *_ in rows_of(tmp_path / "index")}
    assert "src/settings.py" in paths
    assert not paths & {"src/config.py", "README.md"}


def test_limit_takes_the_first_files_and_removes_none(tmp_path: Path, repository: Path, embedder) -> None:
    summary = run(tmp_path / "index", repository, embedder, scope=IndexScope(limit=2))
    first = [file.path for file in walk(repository).files][:2]
    with IndexReader.open(tmp_path / "index") as reader:
        assert list(reader.manifest().files) == first
        assert not reader.header.complete
    assert summary.files == 2
    run(tmp_path / "index", repository, embedder)
    summary = run(tmp_path / "index", repository, embedder, scope=IndexScope(limit=1))
    assert summary.files == 6
    assert summary.removed_files == 0


def test_files_that_cannot_be_indexed_are_counted(tmp_path: Path, repository: Path, embedder) -> None:
    (repository / "image.py").write_bytes(b"\0\1\2" * 100)
    (repository / "gone.py").write_text("x = 1\n")
    (repository / "empty.py").write_text("")
    age(repository)
    files = walk(repository).files
    (repository / "gone.py").unlink()
    summary = update(tmp_path / "index", files, embedder)
    assert summary.skipped == {"binary": 1, "unreadable": 1}
    assert summary.files == 7
    again = run(tmp_path / "index", repository, embedder)
    assert again.skipped == {"binary": 1}, "counted from memory"
    with IndexReader.open(tmp_path / "index") as reader:
        assert set(reader.manifest().left_out) == {"image.py"}


def test_a_file_that_turns_unreadable_keeps_its_chunks(tmp_path: Path, repository: Path, embedder) -> None:
    run(tmp_path / "index", repository, embedder)
    before = rows_of(tmp_path / "index")
    files = walk(repository).files
    (repository / "README.md").rename(repository / "elsewhere")  # opening it fails, as without permission
    update(tmp_path / "index", files, embedder)
    assert rows_of(tmp_path / "index") == before


def test_an_over_long_line_is_cut_in_parts_that_fit(tmp_path: Path, repository: Path, embedder) -> None:
    line = "word " * 2_000 + "\n"
    (repository / "long.md").write_text("# Title\n\n" + line)
    run(tmp_path / "index", repository, embedder)
    assert max(map(len, embedder.texts)) <= embedder.longest
    with IndexReader.open(tmp_path / "index") as reader:
        table = reader._dataset.scanner(filter="path = 'long.md'").to_table().to_pylist()
    assert "".join(row["text"] for row in table) == "# Title\n\n" + line
    assert {row["end_line"] for row in table} <= {1, 2, 3}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_groups_of_any_size_give_the_same_index(
    tmp_path: Path, repository: Path, embedder, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    run(tmp_path / "one", repository, embedder)
    monkeypatch.setattr(build, "FIRST_GROUP", size)
    monkeypatch.setattr(build, "SMALLEST_GROUP", 10_000)
    run(tmp_path / "other", repository, embedder, publish_seconds=0.0)
    assert rows_of(tmp_path / "other") == rows_of(tmp_path / "one")


def test_progress_counts_up_to_the_end(tmp_path: Path, repository: Path, embedder, monkeypatch) -> None:
    monkeypatch.setattr(build, "FIRST_GROUP", 1)
    monkeypatch.setattr(build, "SMALLEST_GROUP", 10_000)
    seen: list[Progress] = []
    summary = run(tmp_path / "index", repository, embedder, progress=seen.append)
    assert [item.files for item in seen] == sorted(item.files for item in seen)
    assert (seen[-1].files, seen[-1].files_total, seen[-1].chunks) == (6, 6, summary.chunks)
    assert seen[-1].tokens == summary.tokens


def test_an_interrupt_keeps_the_files_that_are_whole(
    tmp_path: Path, repository: Path, embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FIRST_GROUP", 1)
    monkeypatch.setattr(build, "SMALLEST_GROUP", 10_000)

    def stop(progress: Progress) -> None:
        if progress.files == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "index", repository, embedder, progress=stop)
    with IndexReader.open(tmp_path / "index") as reader:
        assert len(reader.manifest().files) == 3
        assert not reader.header.complete
    before = len(embedder.texts)
    summary = run(tmp_path / "index", repository, embedder)
    assert summary.files == 6
    assert len(embedder.texts) - before == summary.embedded_chunks < summary.chunks
    run(tmp_path / "fresh", repository, embedder)
    assert rows_of(tmp_path / "index") == rows_of(tmp_path / "fresh")


def test_an_engine_that_fails_loses_nothing_published(tmp_path: Path, repository: Path, make_embedder) -> None:
    good = make_embedder()
    run(tmp_path / "index", repository, good)
    before = rows_of(tmp_path / "index")

    class Failing(make_embedder):  # type: ignore[misc, valid-type]
        def embed_documents(self, texts):
            vectors = super().embed_documents(texts)
            vectors[0, 0] = np.nan
            return vectors

    (repository / "src" / "config.py").write_text("def another():\n    return 7\n")
    with pytest.raises(EngineError, match=r"src/config\.py:1"):
        run(tmp_path / "index", repository, Failing())
    assert rows_of(tmp_path / "index") == before


def test_a_wrong_number_of_vectors_is_an_engine_error(tmp_path: Path, repository: Path, make_embedder) -> None:
    class Short(make_embedder):  # type: ignore[misc, valid-type]
        def embed_documents(self, texts):
            return super().embed_documents(texts)[:-1]

    with pytest.raises(EngineError, match="32 dimensions"):
        run(tmp_path / "index", repository, Short())


def test_changes_are_found_by_size_time_and_inode() -> None:
    class File:
        def __init__(self, path: str, size: int, mtime_ns: int, inode: int) -> None:
            self.path, self.size, self.mtime_ns, self.inode = path, size, mtime_ns, inode
            self.exempt = frozenset({"binary"}) if path == "asked" else frozenset()

    indexed = {name: IndexedFile(name, 10, 20, 30, "d", 1) for name in ("same", "size", "time", "inode", "gone")}
    left_out = {"left": LeftOutFile("left", 1, 2, 3, "binary"), "away": LeftOutFile("away", 1, 2, 3, "binary")}
    found = [
        File("same", 10, 20, 30),
        File("size", 11, 20, 30),
        File("time", 10, 21, 30),
        File("inode", 10, 20, 31),
        File("left", 1, 2, 3),
        File("new", 1, 1, 1),
    ]
    changes = find_changes(found, indexed, left_out)  # type: ignore[arg-type]
    assert [file.path for file in changes.to_read] == ["size", "time", "inode", "new"]
    assert changes.removed == ["gone", "away"]
    assert (changes.unchanged, changes.skipped) == (1, {"binary": 1})
    assert changes.any


def test_a_notebook_is_judged_anew_under_another_limit(tmp_path: Path, embedder) -> None:
    root = tmp_path / "root"
    root.mkdir()
    cell = {"cell_type": "code", "source": ["value = 1\n"] * 100}
    (root / "a.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}}))
    age(root)
    for largest, files in ((100, 0), (10_000, 1), (200, 0), (200, 0)):
        scope = IndexScope(max_filesize=largest)
        summary = update(tmp_path / "index", walk(root, max_filesize=largest).files, embedder, scope=scope)
        assert (summary.files, summary.skipped) == (files, {} if files else {"too large": 1})


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import HashingEmbedder
from turboprop.code.walk import walk
from turboprop.index import build

build.FIRST_GROUP, build.SMALLEST_GROUP = 1, 10_000
class Slow(HashingEmbedder):
    def embed_documents(self, texts):
        time.sleep(float(sys.argv[4]))
        return super().embed_documents(texts)
files = walk(Path(sys.argv[2])).files
build.update(
    Path(sys.argv[1]), files, Slow(), publish_seconds=0.0,
    progress=lambda item: print(item.files, flush=True),
)
print("done", flush=True)
"""


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell's background ignores it
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import HashingEmbedder
from turboprop.code.walk import walk
from turboprop.index import build

class Slow(HashingEmbedder):
    def embed_documents(self, texts):
        for _ in texts:
            time.sleep(0.02)
        return super().embed_documents(texts)
files = walk(Path(sys.argv[2])).files
build.update(Path(sys.argv[1]), files, Slow(), progress=lambda item: print(item.files, flush=True))
"""


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_process_keeps_what_was_embedded(tmp_path: Path, embedder, times: int) -> None:
    root, directory = tmp_path / "repo", tmp_path / "index"
    root.mkdir()
    for number in range(100):
        (root / f"m{number}.py").write_text(
            "".join(f"def f{number}_{k}(x):\n    return x * {k}\n\n\n" for k in range(40))
        )
    command = [sys.executable, "-c", INTERRUPTED, str(directory), str(root), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    said += rest.split()
    if times == 1:
        with IndexReader.open(directory) as reader:
            assert len(reader.manifest().files) == int(said[-1]) > 0
            assert not reader.header.complete
    summary = run(directory, root, embedder)
    assert summary.files == 100
    run(tmp_path / "fresh", root, embedder)
    assert rows_of(directory) == rows_of(tmp_path / "fresh")


def test_an_interrupt_inside_of_a_large_file_keeps_the_others(tmp_path: Path, embedder, monkeypatch) -> None:
    monkeypatch.setattr(build, "FIRST_GROUP", 4)
    monkeypatch.setattr(build, "SMALLEST_GROUP", 10_000)
    root, directory = tmp_path / "repo", tmp_path / "index"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    (root / "large.py").write_text("".join(f"def f{k}(x):\n    return {'x + ' * 40} {k}\n\n\n" for k in range(60)))

    def stop(progress: Progress) -> None:
        if progress.chunks >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(directory, root, embedder, progress=stop)
    with IndexReader.open(directory) as reader:
        assert set(reader.manifest().files) == {"a.py"}
    assert run(directory, root, embedder).files == 2


def start(directory: Path, root: Path, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), str(root), str(Path(__file__).parent), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_leaves_its_last_commit_and_the_next_continues(tmp_path: Path, repository: Path, embedder) -> None:
    directory = tmp_path / "index"
    with start(directory, repository, 0.05) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "3\n":
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    with IndexReader.open(directory) as reader:
        files = set(reader.manifest().files)
        assert len(files) >= 3, "what was reported done is there"
        assert not reader.header.complete
        assert {path for path, *_ in rows_of(directory)} == files
    summary = run(directory, repository, embedder)
    assert summary.files == 6
    assert summary.embedded_chunks < summary.chunks
    run(tmp_path / "fresh", repository, embedder)
    assert rows_of(directory) == rows_of(tmp_path / "fresh")


def test_kills_at_any_moment_of_edits_end_in_a_fresh_index(tmp_path: Path, repository: Path, embedder) -> None:
    """A short form of edit, kill -9, run again: no round needs a hand, the end equals a fresh index."""
    directory = tmp_path / "index"
    random = np.random.default_rng(7)
    names = ["src/config.py", "src/net/pool.py", "src/new.py", "README.md"]
    for turn in range(8):
        file = repository / names[turn % len(names)]
        if turn == 5:
            file.unlink(missing_ok=True)
        else:
            file.write_text(f"def turn_{turn}(value):\n    return value + {turn}\n\n" * (1 + turn))
        with start(directory, repository, 0.0) as process:
            assert process.stdout is not None
            process.stdout.readline()  # imports are over, or there was nothing to do
            time.sleep(float(random.uniform(0, 0.06)))
            process.kill()
            process.wait()
        try:
            with IndexReader.open(directory) as reader:
                assert reader.rows == sum(item.chunks for item in reader.manifest().files.values())
        except IndexNotFoundError:
            assert turn == 0
    run(directory, repository, embedder)
    run(tmp_path / "fresh", repository, embedder)
    assert rows_of(directory) == rows_of(tmp_path / "fresh")


FULL = """
import json, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from conftest import HashingEmbedder
from turboprop.code.walk import walk
from turboprop.errors import StorageError
from turboprop.index.build import update

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    update(Path(sys.argv[1]), walk(Path(sys.argv[2])).files, HashingEmbedder())
except StorageError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("limit", [200, 3_000, 40_000])
def test_a_file_that_may_not_grow_keeps_the_old_index(tmp_path: Path, repository: Path, embedder, limit: int) -> None:
    directory = tmp_path / "index"
    run(directory, repository, embedder)
    before = rows_of(directory)
    for number in range(60):
        words = " ".join(f"name{number}_{place} = {place}\n" for place in range(60))
        (repository / f"extra{number}.py").write_text(words)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(directory), str(repository), str(Path(__file__).parent), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    message = json.loads(done.stdout)
    assert "no room left" in message
    assert "--index DIR" in message
    assert rows_of(directory) == before
    run(directory, repository, embedder)
    run(tmp_path / "fresh", repository, embedder)
    assert rows_of(directory) == rows_of(tmp_path / "fresh")


@pytest.fixture
def tiny_disk(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_the_old_index(tiny_disk: Path, tmp_path: Path, repository: Path, make_embedder) -> None:
    directory = tiny_disk / "index"
    embedder = make_embedder(dimensions=512)
    run(directory, repository, embedder)
    before = rows_of(directory)
    for number in range(300):
        (repository / f"extra{number}.py").write_text(
            "".join(f"def name{number}_{place}(value):\n    return value * {place}\n" for place in range(150))
        )
    with pytest.raises(StorageError, match="no room left"):
        run(directory, repository, embedder)
    assert rows_of(directory) == before
    for file in repository.glob("extra*.py"):
        file.unlink()
    (repository / "after.py").write_text("def after():\n    return 1\n")
    summary = run(directory, repository, embedder)
    assert summary.files == 7
    assert any("after" in text for text, _ in rows_of(directory).values())
