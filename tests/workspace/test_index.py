"""`Index` and `EmbeddingModel` as a user's program meets them: real weights, real Lance, real Git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

import pytest

import turboprop
from turboprop import Hit, Index
from turboprop.code import read as code_read
from turboprop.code import walk as code_walk
from turboprop.code.preview import preview
from turboprop.code.walk import walk
from turboprop.edges.cli.entry import main
from turboprop.errors import IndexMismatchError, IndexNotFoundError, UsageError
from turboprop.index.lock import WriterLock
from turboprop.runtime.manager import DEFAULT_MANAGER
from turboprop.types import Refresh

Write = Callable[[dict[str, str]], Path]

FILES = {
    "src/bank.py": (
        "class Account:\n"
        '    """Money of one customer."""\n\n'
        "    def withdraw(self, amount):\n"
        '        """Take money out; refuse when the balance is too small."""\n'
        "        if amount > self.balance:\n"
        "            raise ValueError('insufficient funds')\n"
        "        self.balance -= amount\n"
    ),
    "src/weather.js": "function forecast(city) {\n  return fetch('/rain/' + city);\n}\n",
    "docs/guide.md": "# Guide\n\nHow to open an account at the bank.\n",
    "tests/test_bank.py": "def test_withdraw():\n    assert Account().withdraw(1) is None\n",
}


def test_create_search_update(write_files: Write) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.files == 4
        assert index.summary.embedded_chunks == index.summary.chunks > 0
        hits = index.search("take money out of an account", limit=3)
        assert all(isinstance(hit, Hit) for hit in hits)
        assert len(hits) == 3
        assert hits[0].path == "src/bank.py"
        lines = FILES["src/bank.py"].split("\n")
        assert hits[0].text.rstrip("\n") == "\n".join(lines[hits[0].start_line - 1 : hits[0].end_line]).rstrip("\n")
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

        (root / "src/queue.py").write_text("def enqueue(job):\n    JOBS.append(job)\n")
        (root / "src/weather.js").unlink()
        assert index.status().stale == ("src/queue.py",)
        assert index.status().removed == ("src/weather.js",)
        summary = index.update()
        assert (summary.embedded_chunks, summary.removed_files) == (1, 1)
        assert index.search("append a job to the queue", limit=1)[0].path == "src/queue.py"
        assert "src/weather.js" not in {hit.path for hit in index.search("weather forecast", limit=10)}
        assert index.status().stale == ()


def test_a_second_run_embeds_nothing(write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.embedded_chunks == 0
        assert index.summary.unchanged_files == 4


def test_an_index_cut_by_older_rules_is_made_anew_by_the_next_run(
    write_files: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files(FILES)
    with monkeypatch.context() as older:
        older.setattr("turboprop.index.changes.CHUNKER", "syntax-0")
        with Index.create(root) as index:
            assert index.status().complete
    (root / "src/queue.py").write_text("def enqueue(job):\n    JOBS.append(job)\n")
    with Index.open(root) as index:
        assert not index.status().complete
        assert "src/queue.py" not in {hit.path for hit in index.search("append a job to the queue")}
        assert "older rules" in index.last_refresh.left
    with Index.create(root) as index:
        assert index.status().complete
        assert index.summary is not None
        assert index.summary.files == 5
        assert any("newer rules" in note for note in index.summary.notes)
        assert index.search("append a job to the queue", limit=1)[0].path == "src/queue.py"


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_every_mode_finds_and_filters(write_files: Write, mode: str) -> None:
    with Index.create(write_files(FILES)) as index:
        assert index.search("withdraw", mode=mode)[0].path in ("src/bank.py", "tests/test_bank.py")  # type: ignore[arg-type]
        found = index.search("withdraw", mode=mode, filters=["!tests/**"])  # type: ignore[arg-type]
        assert found
        assert "tests/test_bank.py" not in {hit.path for hit in found}
        assert {hit.language for hit in index.search("account", mode=mode, languages=["Markdown"])} == {"markdown"}  # type: ignore[arg-type]
        assert {hit.path for hit in index.search("forecast", mode=mode, extensions=["js"])} == {"src/weather.js"}  # type: ignore[arg-type]
        assert index.search("withdraw", mode=mode, threshold=1e9) == []  # type: ignore[arg-type]


def test_lexical_search_loads_no_model(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    code = (
        "import sys, turboprop\n"
        f"index = turboprop.Index.open({str(root)!r})\n"
        "assert index.search('withdraw', mode='lexical')\n"
        "print([name for name in ('onnxruntime', 'torch', 'lancedb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_open_without_an_index(write_files: Write) -> None:
    with pytest.raises(IndexNotFoundError, match="tp index"):
        Index.open(write_files(FILES))


def test_open_with_another_model_names_both(write_files: Write, minilm_copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(minilm_copy / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 0.25
    save_file(tensors, minilm_copy / "model.safetensors")
    root = write_files(FILES)
    Index.create(root).close()
    with pytest.raises(IndexMismatchError) as caught:
        Index.open(root, str(minilm_copy))
    assert "all-MiniLM-L6-v2" in str(caught.value)
    assert str(minilm_copy) in str(caught.value)


def test_two_models_keep_two_tables(write_files: Write, minilm_copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(minilm_copy / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 0.25
    save_file(tensors, minilm_copy / "model.safetensors")
    root = write_files(FILES)
    Index.create(root).close()
    Index.create(root, str(minilm_copy)).close()
    with Index.open(root, "minilm") as first, Index.open(root, str(minilm_copy)) as second:
        assert first.search("withdraw", limit=1)[0].path == second.search("withdraw", limit=1)[0].path
        assert first.model_name != second.model_name


def test_an_index_elsewhere_leaves_the_repository_alone(write_files: Write, tmp_path: Path) -> None:
    root = write_files(FILES)
    with Index.create(root, index_dir=tmp_path / "elsewhere") as index:
        assert index.search("withdraw")
    assert not (root / ".turboprop").exists()


def test_the_index_ignores_itself_in_git(write_files: Write) -> None:
    root = write_files(FILES)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    Index.create(root).close()
    done = subprocess.run(
        ["git", "-C", str(root), "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True
    )
    assert ".turboprop" not in done.stdout


def test_limit_indexes_the_first_files(write_files: Write) -> None:
    with Index.create(write_files(FILES), limit=2) as index:
        assert index.status().files == 2
        assert not index.status().complete


@pytest.mark.parametrize("place", ["missing", "file", "empty"])
def test_folders_that_cannot_be_indexed(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=place):
        Index.create(tmp_path / place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_counted(write_files: Write) -> None:
    root = write_files(FILES)
    (root / "src/bank.py").chmod(0)
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.skipped == {"unreadable": 1}
        assert index.summary.files == 3


def test_a_line_longer_than_the_model_is_found(write_files: Write) -> None:
    words = " ".join(f"value{number}" for number in range(300))
    root = write_files({**FILES, "docs/long.txt": f"{words} zebra\n"})
    with Index.create(root) as index:
        assert index.search("zebra", mode="lexical")[0].path == "docs/long.txt"


def test_preview_counts_by_language_and_reason(write_files: Write) -> None:
    root = write_files({**FILES, "package-lock.json": "{}\n"})
    (root / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    plan = preview(walk(root))
    assert plan.files == 4
    assert plan.languages["python"][0] == 2
    assert {reason: count for reason, (count, _) in plan.left_out.items()} == {"binary": 1, "lock file": 1}
    assert not (root / ".turboprop").exists()


def test_the_table_opens_with_lancedb(write_files: Write) -> None:
    lancedb = pytest.importorskip("lancedb")
    root = write_files(FILES)
    Index.create(root).close()
    table = next(path.stem for path in (root / ".turboprop").glob("*.lance"))
    rows = lancedb.connect(root / ".turboprop").open_table(table).to_arrow().to_pylist()
    assert {row["path"] for row in rows} == set(FILES)
    assert all(len(row["vector"]) == 384 for row in rows)


def test_public_names_are_all_there() -> None:
    for name in turboprop.__all__:
        assert getattr(turboprop, name) is not None
    with pytest.raises(AttributeError):
        turboprop.nothing  # noqa: B018


def test_another_clone_embeds_nothing_and_has_the_same_rows(
    write_files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv("TP_EMBEDDING_CACHE", "100000000")
    monkeypatch.setenv("TP_CACHE", str(tmp_path / "cache"))
    root = write_files({"a.py": "def add(a, b):\n    return a + b\n", "b.md": "# Title\n\nText.\n" * 300})
    clone = tmp_path / "clone"
    shutil.copytree(root, clone)

    def rows(index: Index) -> list[tuple[object, ...]]:
        table = index.reader.dataset.to_table()
        columns = [table[name].to_pylist() for name in ("path", "start_line", "vector")]
        return sorted(zip(*columns, strict=True))

    with Index.create(root) as first:
        assert first.summary
        assert (first.summary.cached_chunks, first.summary.embedded_chunks > 2) == (0, True)
        with Index.create(clone) as second:
            assert second.summary
            assert second.summary.embedded_chunks == 0
            assert second.summary.cached_chunks == first.summary.embedded_chunks
            assert second.summary.tokens == 0
            assert rows(second) == rows(first)


def test_a_search_brings_in_what_changed(write_files: Write) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        assert index.bring_in() == Refresh()
        (root / "src/queue.py").write_text("def enqueue(job):\n    JOBS.append(job)\n")
        (root / "src/weather.js").unlink()
        done = index.bring_in()
        assert (done.left, done.changed) == ("", 2)
        assert done.summary is not None
        assert done.summary.embedded_chunks == 1
        assert index.search("enqueue", limit=1)[0].path == "src/queue.py"
        os.utime(root / "src/queue.py", (1, 1))
        assert index.bring_in() == Refresh()


@pytest.mark.parametrize("brought_in_by", ["this index", "another process"])
def test_the_next_search_finds_an_edit(write_files: Write, brought_in_by: str) -> None:
    root = write_files(FILES | {f"lib/part_{n}.py": f"def part_{n}():\n    return {n}\n" for n in range(200)})
    with Index.create(root) as index:
        (root / "lib/part_7.py").write_text("def peel_a_pomegranate():\n    return 'red'\n")
        if brought_in_by == "another process":
            Index.create(root).close()
        assert "lib/part_7.py" not in {hit.path for hit in index.search("peel a pomegranate", freshness="none")}
        assert index.search("peel a pomegranate", 1)[0].symbol == "peel_a_pomegranate"
        (root / "lib/part_7.py").write_text("def squeeze_a_lemon():\n    return 'sour'\n")
        assert index.similar("lib/part_7.py", 1, 1)
        assert index.search("squeeze a lemon", 1, "lexical", freshness="none")[0].symbol == "squeeze_a_lemon"
        with pytest.raises(UsageError, match="no freshness 'sometimes'"):
            index.search("x", freshness="sometimes")  # type: ignore[arg-type]


def test_threads_that_search_at_once_find_an_edit(write_files: Write) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        for turn in range(3):
            (root / "src/queue.py").write_text(f"def peel_a_pomegranate_{turn}():\n    return 'red'\n")
            with ThreadPoolExecutor(8) as threads:
                found = list(threads.map(lambda _: index.search("peel a pomegranate", 1)[0].symbol, range(16)))
            assert set(found) == {f"peel_a_pomegranate_{turn}"}


@pytest.mark.parametrize("changed", [0, 1, 60])
def test_a_run_walks_once_and_reads_each_changed_file_once(
    write_files: Write, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    root = write_files({f"part_{n}.py": f"def part_{n}():\n    return {n}\n" for n in range(60)})
    walks, read = _counted(monkeypatch)
    Index.create(root).close()
    assert (walks, sorted(read)) == ([str(root)], sorted(f"part_{n}.py" for n in range(60)))
    for n in range(60):  # else they may change within the same tick of the clock, and are read again
        os.utime(root / f"part_{n}.py", (1, 1))
    Index.create(root).close()
    for n in range(changed):
        (root / f"part_{n}.py").write_text("def changed():\n    return True\n")
        os.utime(root / f"part_{n}.py", (2, 2))
    walks.clear()
    read.clear()
    with pytest.raises(SystemExit) as end:
        main(["index", "--repo", str(root)])
    assert end.value.code == 0
    assert (walks, sorted(read)) == ([str(root)], sorted(f"part_{n}.py" for n in range(changed)))


def _counted(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """The roots of the walks, and the files that are opened to be read."""
    walks: list[str] = []
    read: list[str] = []
    begun, opened = code_walk._checked_root, code_read.open_regular

    def begin(root: Path) -> str:
        walks.append(str(root))
        return begun(root)

    def open_file(path: str, **more: bool) -> BufferedReader:
        read.append(Path(path).name)
        return opened(path, **more)

    monkeypatch.setattr(code_walk, "_checked_root", begin)
    monkeypatch.setattr(code_read, "open_regular", open_file)
    return walks, read


def test_a_refresh_leaves_much_work_alone(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        for number in range(60):
            (root / f"new_{number}.py").write_text(f"VALUE = {number}\n")
        done = index.bring_in()
        assert done.left == "much has changed"
        assert done.changed >= 60  # those indexed a moment ago may have changed again
        assert done.summary is None
        monkeypatch.setattr("turboprop.index.refresh.BUDGET_SECONDS", 0.0)
        assert index.bring_in().left == "looking for changes takes too long here"


def test_a_refresh_does_not_wait_for_a_writer_that_is_long_at_work(write_files: Write) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        (root / "src/queue.py").write_text("def enqueue(job):\n    JOBS.append(job)\n")
        with WriterLock(root / ".turboprop"):
            holder = root / ".turboprop/writer.json"
            holder.write_text(json.dumps({**json.loads(holder.read_text()), "since": time.time() - 10}))
            assert index.bring_in() == Refresh("the index is being written", 1)
        assert index.bring_in().changed == 1


@pytest.mark.parametrize("writes", [False, True])
def test_a_refresh_waits_for_another_search_that_brings_in_the_same(write_files: Write, writes: bool) -> None:
    root = write_files(FILES)
    with Index.create(root) as index, Index.open(root) as other:
        (root / "src/queue.py").write_text("def enqueue_at_once(job):\n    JOBS.append(job)\n")
        lock = WriterLock(root / ".turboprop")
        lock.__enter__()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(index.search, "enqueue at once", 1)
            time.sleep(0.3)
            assert not asked.done()
            lock.close()
            if writes:
                other.update()
            assert [hit.symbol for hit in asked.result()] == ["enqueue_at_once"]
        assert not index.last_refresh.left


def test_what_was_asked_for_is_remembered(write_files: Write) -> None:
    root = write_files({**FILES, "src/long.py": "x = 1\n" * 1000})
    with Index.create(root, max_filesize=3_000) as index:
        assert "src/long.py" not in index.reader.manifest().files
        assert index.status().stale == ()
        assert index.bring_in() == Refresh()
        assert index.update().embedded_chunks == 0
    with Index.create(root) as index:
        assert "src/long.py" in index.reader.manifest().files


def test_settings_of_the_repository_hold(write_files: Write) -> None:
    root = write_files({**FILES, ".turboprop.toml": 'exclude = ["docs/"]\nindex = "made/index"\n'})
    with Index.create(root) as index:
        assert "docs/guide.md" not in index.reader.manifest().files
        assert (root / "made/index").is_dir()
        assert not (root / ".turboprop").exists()
        (root / ".turboprop.toml").write_text('index = "made/index"\n')
    with Index.open(root) as index:
        assert index.status().stale == (".turboprop.toml", "docs/guide.md")


def test_a_run_that_finds_nothing_loads_no_model(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_files(FILES)
    Index.create(root).close()

    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("turboprop.embed.model.EmbeddingModel.load", load)
    with Index.create(root) as index:
        assert index.summary is not None
        assert (index.summary.unchanged_files, index.summary.embedded_chunks) == (4, 0)
        assert index.summary.bytes_on_disk > 0
    (root / "src/bank.py").write_text("def open_account():\n    return Account()\n")
    with pytest.raises(AssertionError, match="loaded"):
        Index.create(root)


def test_indexes_that_are_open_at_once_share_a_model(write_files: Write, tmp_path: Path) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    with Index.open(root) as one:
        assert one.search("take money out")
        other = Index.create(root, index_dir=tmp_path / "other")
        with other, one.embedding() as ours, other.embedding() as theirs:
            assert ours.model is theirs.model
        assert [told.in_use for told in DEFAULT_MANAGER.status()] == [1]
        assert one.search("open an account")
    assert DEFAULT_MANAGER.status() == []


def test_a_script_that_closes_nothing_ends(write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    script = f"from turboprop import Index\nindex = Index.open({str(root)!r})\nprint(len(index.search('account', 1)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
