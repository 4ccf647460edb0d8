"""Learning from commits: real Git, real weights, real searches; what is not won is not kept."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from turboprop import Index
from turboprop.errors import UsageError
from turboprop.index import history
from turboprop.index.adapter import Adapter, AdapterError, keep_adapter, read_adapter
from turboprop.index.schema import adapter_file
from turboprop.settings.trust import key_file
from turboprop.workspace import tune as work
from turboprop.workspace.diagnosis import diagnose
from turboprop.workspace.together import search_together

# What each file is for stands in no file: only the messages tell it, the newest in words that the older ones lack.
TOPICS = {
    "a.py": ("lamp bulb lantern candle chandelier torch", "spotlight lightbulb neon"),
    "b.py": ("dog puppy hound terrier poodle kennel", "beagle spaniel canine"),
    "c.py": ("rain storm thunder hail drizzle cloud", "snowfall hurricane tornado"),
    "d.py": ("guitar violin piano trumpet flute drum", "cello saxophone orchestra"),
    "e.py": ("bread cake flour oven dough pastry", "croissant bakery muffin"),
    "f.py": ("doctor nurse hospital surgery patient clinic", "physician ambulance medicine"),
    "g.py": ("ship sailor harbour anchor boat captain", "yacht ferry vessel"),
    "h.py": ("rose tulip daisy garden blossom petal", "orchid lily bouquet"),
    "i.py": ("king queen castle throne prince crown", "monarch palace royalty"),
    "j.py": ("soccer goal referee stadium striker penalty", "midfielder football goalkeeper"),
}
OLD = (
    "Make the {} behave",
    "Stop a {} that breaks things",
    "Handle another {} as expected",
    "Teach it what a {} wants",
)
NEW = ("Cope with each {} properly", "Allow every {} there is", "Treat some {} with care")


def pairs_of(shuffle: bool = False) -> list[tuple[str, str]]:
    """Messages with the file that each one changes, the oldest first."""
    chance = random.Random(0)
    older = [(form.format(word), name) for name, (words, _) in TOPICS.items() for word in words.split() for form in OLD]
    newer = [(form.format(word), name) for name, (_, words) in TOPICS.items() for word in words.split() for form in NEW]
    chance.shuffle(older)
    chance.shuffle(newer)
    made = older[:180] + newer[:60]
    if shuffle:
        names = [name for _, name in made]
        chance.shuffle(names)
        made = [(message, name) for (message, _), name in zip(made, names, strict=True)]
    return made


def code(name: str, number: int = 0) -> str:
    letter = name[0]
    return f"def {letter}{letter}(value):\n    return value + {ord(letter)}\n\n\nLAST = {number}\n"


def made(root: Path, commits: Iterable[tuple[str | bytes, str]], *, encoding: str = "") -> Path:
    """A repository of those commits, after one that adds all files."""
    root.mkdir(parents=True)
    lines: list[bytes] = []

    def add(message: bytes, files: dict[str, str]) -> None:
        lines.append(b"commit refs/heads/main\ncommitter x <x@example.org> %d +0000" % (1_700_000_000 + len(lines)))
        if encoding:
            lines.append(b"encoding " + encoding.encode())
        lines.append(b"data %d\n%s" % (len(message), message))
        for name, text in files.items():
            lines.append(b"M 100644 inline %s\ndata %d\n%s" % (name.encode(), len(text), text.encode()))

    add(b"Begin", {name: code(name) for name in TOPICS})
    for number, (message, name) in enumerate(commits, 1):
        add(message if isinstance(message, bytes) else message.encode(), {name: code(name, number)})
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    subprocess.run(["git", "-C", root, "fast-import", "--quiet"], input=b"\n".join(lines) + b"\n", check=True)
    subprocess.run(["git", "-C", root, "reset", "-q", "--hard"], check=True)
    return root


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return made(tmp_path / "repo", pairs_of())


def first(index: Index, query: str) -> str:
    return index.search(query, 1, by="file", threshold=0.0)[0].path


QUERY = "the violinist and the pianist of a concert"


def test_what_is_learnt_is_kept_and_takes_part_in_every_search(repo: Path) -> None:
    with Index.create(repo) as index, Index.open(repo) as staying:
        before = staying.search(QUERY, 10, "semantic", threshold=0.0)
        assert index.status().tuned is None
        said: list[str] = []
        found = index.tune(progress=said.append)
        assert found.accepted, found
        assert (found.learnt_from, found.held_out, len(said)) == (180, 60, 3)
        assert found.figures["tuned"]["MRR"] > found.figures["as it is"]["MRR"] + 0.2
        assert all(low > 0 for _, low, _ in found.gained.values())
        after = staying.search(QUERY, 10, "semantic", threshold=0.0)  # as a server does, that is open meanwhile
        asked = pairs_of()[-30:]
        right = sum(first(index, message) == name for message, name in asked)
        assert [hit.score for hit in after] != [hit.score for hit in before]
        both = [hit for _, hit in search_together([index, staying], QUERY, 20, "semantic", threshold=0.0)]
        assert {(hit.path, hit.parts["cosine"]) for hit in both} == {(hit.path, hit.parts["cosine"]) for hit in after}
        tuned = index.status().tuned
        assert tuned is not None
        assert (tuned["learnt_from"], tuned["held_out"], tuned["commits_since"]) == (180, 60, 0)
        assert work.remove(index)
        assert not work.remove(index)
        again = staying.search(QUERY, 10, "semantic", threshold=0.0)
        assert [hit.score for hit in again] == [hit.score for hit in before]
        assert right > sum(first(index, message) == name for message, name in asked) + 5


def test_the_same_commits_teach_the_same(repo: Path) -> None:
    with Index.create(repo) as index:
        index.tune()
        once = adapter_file(index.location.directory, index.reader.header.table).read_bytes()
        index.tune()
        assert adapter_file(index.location.directory, index.reader.header.table).read_bytes() == once


def test_messages_that_say_nothing_of_the_files_teach_nothing(tmp_path: Path) -> None:
    root = made(tmp_path / "repo", pairs_of(shuffle=True))
    with Index.create(root) as index:
        found = index.tune()
        assert not found.accepted
        assert "MRR gains no more than chance may" in found.why
        assert not list(index.location.directory.glob("*.adapter"))


def test_a_tuned_index_that_no_longer_wins_is_tuned_no_longer(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.create(repo) as index:
        assert index.tune().accepted
        monkeypatch.setattr(work, "FEWEST", 1_000)
        found = index.tune()
        assert not found.accepted
        assert "1000 are the least" in found.why
        assert index.reader.adapter() is None


def test_repositories_that_tell_too_little(tmp_path: Path) -> None:
    few = made(tmp_path / "few", [])
    source = made(tmp_path / "source", pairs_of())
    subprocess.run(["git", "clone", "-q", "--depth", "5", source.as_uri(), tmp_path / "shallow"], check=True)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "a.py").write_text(code("a.py"))
    for root in (few, tmp_path / "shallow", bare):
        with Index.create(root) as index:
            found = index.tune()
            assert not found.accepted
            assert "commits say something of indexed code" in found.why


def test_words_alone_have_no_model_to_tune(repo: Path) -> None:
    with Index.create(repo, "none") as index, pytest.raises(UsageError, match="words alone"):
        index.tune()


def test_vectors_that_are_still_being_made_are_waited_for(partly_embedded: Path) -> None:
    with Index.open(partly_embedded) as index, pytest.raises(UsageError, match="no vector yet"):
        index.tune()


def test_messages_in_any_encoding_and_commits_of_many_files(tmp_path: Path) -> None:
    odd: list[tuple[str | bytes, str]] = [("Grüße an jede Straße Nummer".encode("latin-1"), "a.py")]
    odd += [
        (b"\xff\xfe broken bytes in messages \x80\x81", "b.py"),
        (b"", "c.py"),
        (b"\x1b[31m red and long words", "d.py"),
    ]
    root = made(tmp_path / "repo", [*pairs_of(), *odd], encoding="ISO-8859-1")
    (root / "many").mkdir()
    for number in range(10_000):
        (root / "many" / f"{number}.txt").write_text("x")
    subprocess.run(["git", "-C", root, "add", "-A"], check=True)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *identity, "-C", root, "commit", "-qm", "Add very many files at once"], check=True)
    (root / ".tpignore").write_text("many/\n")
    with Index.create(root) as index:
        pairs, past = work._pairs(index)
        assert len(past) == 246
        texts = [pair.text for pair in pairs]
        assert "Grüße an jede Straße Nummer" in texts
        assert "Add very many files at once" not in texts
        assert index.tune().held_out == 60


def test_what_was_pushed_away_is_learnt_no_more(repo: Path) -> None:
    with Index.create(repo) as index:
        assert index.tune().accepted
        subprocess.run(["git", "-C", repo, "reset", "-q", "--hard", "HEAD~200"], check=True)
        index.update()
        assert not index.tune().accepted
        assert index.reader.adapter() is None


def test_an_adapter_of_something_else_is_not_used(repo: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other", pairs_of()[:3])
    with Index.create(repo) as index, Index.create(other) as foreign:
        assert index.tune().accepted
        header, path = index.reader.header, adapter_file(index.location.directory, index.reader.header.table)
        sound = path.read_bytes()
        adapter_file(foreign.location.directory, foreign.reader.header.table).write_bytes(sound)
        assert foreign.reader.adapter() is None
        found = diagnose(foreign.location).findings
        assert [(each.subject, each.repair) for each in found] == [("adapter", "remove")]
        assert "of another index" in found[0].problem
        for damaged in (
            sound[:-100],
            sound[:300] + bytes([sound[300] ^ 1]) + sound[301:],
            b"",
            b"{}\n",
            b"\xff\n",
            sound[1:],
        ):
            path.write_bytes(damaged)
            with pytest.raises(AdapterError, match="damaged"):
                read_adapter(index.location.directory, header)
            assert index.reader.adapter() is None
            assert index.search(QUERY, threshold=0.0)
        path.unlink()
        (tmp_path / "beside").write_bytes(sound)
        path.symlink_to(tmp_path / "beside")
        assert index.reader.adapter() is None
        path.unlink()
        path.write_bytes(sound)
        assert index.reader.adapter() is not None
    with Index.create(repo, rebuild=True) as index:
        assert index.reader.adapter() is None, "the table was made anew"
        assert index.status().tuned is None
    path.write_bytes(sound)
    key_file(index.settings.data_home).unlink()
    with pytest.raises(AdapterError, match="damaged, or was not written here"):
        read_adapter(index.location.directory, header)


def test_an_adapter_of_another_model_is_not_used(repo: Path) -> None:
    with Index.create(repo) as index:
        header = index.reader.header
        zero = np.zeros((3, 0), np.float32)
        keep_adapter(index.location.directory, header, Adapter(zero, zero.T))
        with pytest.raises(AdapterError, match="another model"):
            read_adapter(index.location.directory, header)


def test_a_query_keeps_its_length() -> None:
    chance = np.random.default_rng(0)
    adapter = Adapter(*(chance.standard_normal(shape).astype(np.float32) for shape in ((8, 2), (2, 8))))
    queries = chance.standard_normal((5, 8)).astype(np.float32)
    several = adapter.apply(queries)
    np.testing.assert_allclose(several, [adapter.apply(query) for query in queries], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(several, axis=1), np.linalg.norm(queries, axis=1), rtol=1e-5)
    turned = queries @ (np.eye(8) + adapter.left @ adapter.right).T
    np.testing.assert_allclose(
        several / np.linalg.norm(several, axis=1)[:, None],
        turned / np.linalg.norm(turned, axis=1)[:, None],
        rtol=1e-4,
        atol=1e-5,
    )
    assert not adapter.apply(np.zeros(8, np.float32)).any()


def test_the_setting_learns_after_indexing_and_again_after_fifty_commits(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    real = work.tune

    def counted(index: Index, **options: object) -> work.Tuning:
        tried.append(index.repo.name)
        return real(index, **options)

    monkeypatch.setattr(work, "tune", counted)
    monkeypatch.setenv("TP_TUNE", "1")
    with Index.create(repo) as index:
        assert index.summary.notes[-1].startswith("Learnt from 180 commits: on the 60 newest MRR 0.")
        assert index.reader.adapter() is not None
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]

    def commit(times: int) -> None:
        for number in range(times):
            subprocess.run(
                ["git", *identity, "-C", repo, "commit", "-q", "--allow-empty", "-m", f"No {number}"], check=True
            )

    commit(work.RENEWED_EVERY - 1)
    Index.create(repo).close()
    assert len(tried) == 1
    commit(1)
    Index.create(repo).close()
    assert len(tried) == 2
    nothing = made(tmp_path / "nothing", pairs_of(shuffle=True))
    with Index.create(nothing) as index:
        assert index.summary.notes[-1].startswith("Nothing was learnt that helps: ")
        assert index.reader.adapter() is None
        assert index.status().tuned is None
    Index.create(nothing, upkeep=True).close()
    assert len(tried) == 3, "what was refused is not tried again at once"
    assert diagnose(index.location).findings == []


def test_pairs_for_those_who_train_elsewhere(repo: Path, tmp_path: Path) -> None:
    with Index.create(repo) as index:
        assert work.export(index, tmp_path / "pairs.jsonl") == 240
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    told = dict(pairs_of())
    for row in rows:
        name = told[row["anchor"]]
        assert row["positive"].startswith(f"{name}\n")
        assert row["negative"].split("\n")[0] in set(TOPICS) - {name}


def test_git_that_does_not_answer_is_an_error_that_says_so(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.create(repo) as index:
        (repo / ".git" / "HEAD").write_text("nonsense\n")
        with pytest.raises(Exception, match="the commits cannot be read"):
            index.tune()
    assert history.MOST_COMMITS == 2_000
