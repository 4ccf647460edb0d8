"""What came with a repository is not used as an index, writes nowhere else, and asks for nothing."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from index.hostile import cloned, published, tp
from one_process import tp_each
from turboprop import Index
from turboprop.errors import IndexUntrustedError, UsageError
from turboprop.index.manifest import read_manifest, write_manifest
from turboprop.settings import user_data_home
from turboprop.settings.trust import trusted_files

TABLE = "chunks_1eb9b50af8deffb6"
NAMES = [
    "writer.json",
    "history.json",
    "writer.lock",
    f"{TABLE}.manifest.json",
    f"{TABLE}.manifest.json.new",
    ".gitignore.new",
    ".gitignore",
    "check.json",
    "check.json.new",
    f"{TABLE}.2.lexicon",
    f"{TABLE}.adapter",
    f"{TABLE}.lance",
    f"{TABLE}.lance/data",
    f"{TABLE}.lance/_versions/18446744073709551614.manifest",
]
COMMANDS = ["index", "search hello", "doctor --fix", "index --rebuild"]
OTHERS = ["search --refresh hello", "status", "similar a.py:1", "why a.py", "trust"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / ".turboprop").mkdir(parents=True)
    (folder / "a.py").write_text("def hello():\n    return 1\n")
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_text("precious\n")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_the_index_leads_nowhere(source: Path, victim: Path, tmp_path: Path, name: str) -> None:
    link = source / ".turboprop" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    is_folder = name.endswith((".lance", "data"))
    link.symlink_to(victim if is_folder else victim / "file")
    published(source)
    clone = cloned(source, tmp_path / "clone")
    first, *_, search, doctor = tp_each(*COMMANDS, "search hello", "doctor", cwd=clone)
    assert first.returncode == 2
    assert link.name in first.stderr
    assert (victim / "file").read_text() == "precious\n"
    assert [entry.name for entry in victim.iterdir()] == ["file"]
    # Asked for by name, the index was made anew in their place.
    assert search.returncode == doctor.returncode == 0
    assert not any(entry.is_symlink() for entry in (clone / ".turboprop").rglob("*"))


@pytest.mark.parametrize("name", [f"{TABLE}.manifest.json", "writer.lock", "check.json", f"{TABLE}.lance/data"])
def test_a_pipe_in_the_index_is_not_waited_for(source: Path, name: str) -> None:
    place = source / ".turboprop" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    *_, last = tp_each(*COMMANDS, "search hello", cwd=source)
    assert last.returncode == 0


def test_an_index_folder_that_is_a_link(source: Path, victim: Path, tmp_path: Path) -> None:
    (source / ".turboprop").rmdir()
    (source / ".turboprop").symlink_to(victim)
    published(source)
    clone = cloned(source, tmp_path / "clone")
    for done in tp_each(*COMMANDS, *OTHERS, cwd=clone):
        assert done.returncode in (1, 2)
        assert "is a link" in done.stderr + done.stdout
    assert [entry.name for entry in victim.iterdir()] == ["file"]
    # Where the user says so, a folder may be reached by any links.
    (tmp_path / "mine").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "mine")
    assert tp("index", "--index", tmp_path / "way", cwd=clone).returncode == 0
    assert tp("search", "hello", "--index", tmp_path / "way", cwd=clone).returncode == 0
    assert tp("search", "hello", cwd=clone, TP_INDEX=str(tmp_path / "way")).returncode == 0


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server that only counts who asks it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def attacker(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a whole index in it, made by somebody else with this program."""
    with monkeypatch.context() as theirs:
        theirs.setenv("TP_HOME", str(tmp_path / "attacker"))
        Index.create(source).close()
    return source


def as_made_with(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """The attacker signs what suits them: they have the program and a key."""
    with monkeypatch.context() as theirs:
        theirs.setenv("TP_HOME", str(tmp_path / "attacker"))
        (path,) = (source / ".turboprop").glob("*.manifest.json")
        manifest = read_manifest(path)
        header = replace(manifest.header, spec=replace(manifest.header.spec, model=model))
        write_manifest(path, header, manifest.files, manifest.left_out, manifest.stored)


@pytest.mark.parametrize("model", ["attacker/evil-model", "./evil.gguf", "fastembed:evil", "../../evil"])
def test_the_model_of_a_shipped_index_is_never_asked_for(
    attacker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: tuple[str, list[str]], model: str
) -> None:
    as_made_with(attacker, tmp_path, monkeypatch, model)
    published(attacker)
    clone = cloned(attacker, tmp_path / "clone")
    endpoint, asked = hub
    online = {"TP_OFFLINE": "0", "HF_ENDPOINT": endpoint}
    refused = ("search hello", "search --no-refresh hello", "index", "status", "similar a.py:1", "index --dry-run")
    *answers, doctor, fix = tp_each(*refused, "doctor", "doctor --fix", cwd=clone, **online)
    for done in answers:
        assert done.returncode == 2, done.args
        assert "tp trust" in done.stderr
        assert "tp index --rebuild" in done.stderr
    assert doctor.returncode == fix.returncode == 1  # which of the two ways is the user's word
    trusted = tp("trust", cwd=clone)
    assert trusted.returncode == 0
    assert f"made with {model}" in trusted.stdout
    # Now the rows are used, and the name of its model is only compared.
    words = "search hello --mode lexical --no-refresh"
    assert tp_each(words, "search hello", "doctor", "index", cwd=clone, **online)[0].returncode == 0
    assert asked == []


def test_a_trusted_index_is_used_with_the_users_own_model(attacker: Path, tmp_path: Path) -> None:
    published(attacker)
    clone = cloned(attacker, tmp_path / "clone")
    assert tp("search", "hello", cwd=clone).returncode == 2
    said = tp("trust", "--json", cwd=clone)
    (table,) = json.loads(said.stdout)["tables"]
    assert table["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    done = tp("search", "hello", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert "a.py:1" in done.stdout
    # What is made of it here is this user's own, and no longer needs the trust.
    (clone / "b.py").write_text("def other():\n    return 2\n")
    assert tp("index", cwd=clone).returncode == 0
    assert tp("trust", "--revoke", cwd=clone).returncode == 0
    assert trusted_files(user_data_home()) == []
    assert tp("search", "other", cwd=clone).returncode == 0


def test_trust_ends_with_a_change(attacker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(attacker)
    clone = cloned(attacker, tmp_path / "clone")
    assert tp("trust", cwd=clone).returncode == 0
    assert tp("search", "hello", "--no-refresh", cwd=clone).returncode == 0
    as_made_with(attacker, tmp_path, monkeypatch, "attacker/evil-model")
    for path in (attacker / ".turboprop").glob("*.manifest.json"):  # what a later pull brings
        shutil.copy(path, clone / ".turboprop")
    assert tp("search", "hello", "--no-refresh", cwd=clone).returncode == 2
    assert tp("trust", "--revoke", cwd=clone).returncode == 0


def test_an_index_of_ones_own_that_git_tracks_is_not_used_in_a_clone(source: Path, tmp_path: Path) -> None:
    Index.create(source).close()
    published(source)
    clone = cloned(source, tmp_path / "clone")
    done = tp("search", "hello", cwd=clone)
    assert done.returncode == 2
    assert "Git tracks it" in done.stderr
    assert tp("search", "hello", cwd=source).returncode == 0  # where it was made it is
    assert tp("index", "--rebuild", cwd=clone).returncode == 0
    assert tp("search", "hello", cwd=clone).returncode == 0


def test_a_repository_that_was_moved_takes_its_index_along(source: Path, tmp_path: Path) -> None:
    Index.create(source).close()
    source.rename(tmp_path / "moved")
    assert tp("search", "hello", cwd=tmp_path / "moved").returncode == 0
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    assert tp("doctor", cwd=tmp_path / "copy").returncode == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["folder", "manifest"])
def test_an_index_of_another_user(source: Path, what: str) -> None:
    Index.create(source).close()
    folder = source / ".turboprop"
    (manifest,) = folder.glob("*.manifest.json")
    os.chown(folder if what == "folder" else manifest, 65534, 65534)
    done = tp("search", "hello", cwd=source)
    assert done.returncode == 2
    assert "belongs to another user" in done.stderr
    assert tp("trust", cwd=source).returncode == 0
    assert tp("search", "hello", cwd=source).returncode == 0
    (source / "b.py").write_text("def other():\n    return 2\n")
    assert tp("index", cwd=source).returncode == 0  # what this user writes there is taken from then on
    assert tp("search", "other", cwd=source).returncode == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_an_empty_index_folder_of_another_user_is_not_written(source: Path) -> None:
    os.chown(source / ".turboprop", 65534, 65534)
    done = tp("index", cwd=source)
    assert done.returncode == 2
    assert "another user" in done.stderr
    assert list((source / ".turboprop").iterdir()) == []


def test_the_program_that_a_file_name_hides_does_not_run(source: Path, tmp_path: Path) -> None:
    """A manifest written through a link became a shell's start-up file, with names of the repository's in it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("alias ll='ls -l'\n")
    (source / "$(touch ~").mkdir()
    (source / "$(touch ~" / "PWNED).py").write_text("def a(): return 1\n")
    for number in range(3):
        (source / ".turboprop" / f"{TABLE}.manifest.json{'.new' * number}").symlink_to(home / ".bashrc")
    published(source)
    clone = cloned(source, tmp_path / "clone")
    tp_each(*COMMANDS, cwd=clone, HOME=str(home))
    assert (home / ".bashrc").read_text() == "alias ll='ls -l'\n"


def test_python_refuses_it_too(attacker: Path) -> None:
    with pytest.raises(IndexUntrustedError, match="tp trust"):
        Index.open(attacker)
    with pytest.raises(IndexUntrustedError, match="tp trust"):
        Index.create(attacker)
    with Index.create(attacker, rebuild=True) as index:
        assert [hit.path for hit in index.search("hello")] == ["a.py"]


def test_what_is_written_after_trust_names_the_users_own_model(
    attacker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: tuple[str, list[str]]
) -> None:
    as_made_with(attacker, tmp_path, monkeypatch, "attacker/evil-model")
    endpoint, asked = hub
    online = {"TP_OFFLINE": "0", "HF_ENDPOINT": endpoint}
    assert tp("trust", cwd=attacker).returncode == 0
    (attacker / "b.py").write_text("def other():\n    return 2\n")
    tp_each(
        *("search other", "search other", "doctor", "doctor --fix", "index", "search other"), cwd=attacker, **online
    )
    assert asked == []
    with Index.open(attacker) as index:
        assert index.model_name == "sentence-transformers/all-MiniLM-L6-v2"


def test_the_words_of_before_do_not_outlive_a_table(source: Path) -> None:
    Index.create(source).close()
    next((source / ".turboprop").glob("*.manifest.json")).unlink()
    (source / "a.py").write_text("def zebra():\n    return 1\n")
    assert tp("index", cwd=source).returncode == 0
    assert tp("search", "zebra", "--mode", "lexical", cwd=source).returncode == 0
    assert tp("search", "hello", "--mode", "lexical", cwd=source).returncode == 1


OTHERS_FILES = ("asset.manifest.json", "users.lance/x", ".tmp/x", ".gitignore", "writer.txt", "x.2.lexicon")


@pytest.mark.parametrize("command", ["index", "index --rebuild", "doctor --fix"])
def test_a_folder_of_something_else_is_left_as_it_is(source: Path, victim: Path, tmp_path: Path, command: str) -> None:
    work = tmp_path / "work"
    for name in OTHERS_FILES:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("mine\n")
    (work / "link").symlink_to(victim)
    (work / "sub").mkdir()
    os.mkfifo(work / "sub" / "pipe")
    before = sorted(str(path) for path in work.rglob("*"))
    done = tp(*command.split(), "--index", work, cwd=source)
    assert done.returncode != 0
    assert sorted(str(path) for path in work.rglob("*")) == before
    assert all((work / name).read_text() == "mine\n" for name in OTHERS_FILES)
    (source / ".turboprop.toml").write_text('index = "dist"\n')
    shutil.copytree(work, source / "dist", symlinks=True, ignore=lambda *_: ["pipe", "link"])
    (source / "dist" / "writer.lock").touch()
    # The setting is not harmless, so the index goes where it always goes.
    tp_each(command, "doctor --fix", cwd=source)
    assert all((source / "dist" / name).read_text() == "mine\n" for name in OTHERS_FILES)


def test_a_hard_link_as_the_lock_leaves_its_file_alone(source: Path, victim: Path) -> None:
    os.link(victim / "file", source / ".turboprop" / "writer.lock")
    assert tp("index", cwd=source).returncode == 0
    assert (victim / "file").read_text() == "precious\n"


@pytest.mark.parametrize(
    "name", ["writer.lock", ".gitignore", "check.json", f"{TABLE}.manifest.json", f"{TABLE}.2.lexicon"]
)
def test_a_folder_in_the_place_of_a_file(source: Path, name: str) -> None:
    (source / ".turboprop" / name / "deep").mkdir(parents=True)
    *refused, rebuild, doctor = tp_each(
        *("index", "search hello", "doctor"), *("index --rebuild", "doctor"), cwd=source
    )
    assert all(done.returncode in (1, 2) for done in refused)
    assert rebuild.returncode == doctor.returncode == 0


def test_many_links_and_deep_folders_end_soon_enough(source: Path, victim: Path) -> None:
    for number in range(3000):
        (source / ".turboprop" / f"l{number}").symlink_to(victim)
    deep = source / ".turboprop"
    for _ in range(200):
        deep = deep / "d"
    deep.mkdir(parents=True)
    done = tp_each("index", "doctor", "index --rebuild", "doctor", cwd=source)
    assert [each.returncode for each in done] == [2, 1, 0, 0]


@pytest.mark.parametrize("part", ["_versions/*.manifest", "data/*"])
def test_a_pipe_in_the_place_of_a_stored_file(source: Path, part: str) -> None:
    Index.create(source).close()
    (file, *_) = (source / ".turboprop").glob(f"*.lance/{part}")
    file.unlink()
    os.mkfifo(file)
    done = tp_each("search hello", "index", "status", "index --rebuild", cwd=source)
    assert [each.returncode for each in done] == [2, 2, 2, 0]


def test_trust_that_fails_grants_nothing(source: Path) -> None:
    (source / ".turboprop.toml").write_text('model = "evil/x"\n')
    (source / ".turboprop" / f"{TABLE}.manifest.json").write_text("rubbish")
    assert tp("trust", cwd=source).returncode == 2
    assert trusted_files(user_data_home()) == []


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a\0b"])
def test_a_path_that_cannot_be(source: Path, path: str) -> None:
    with pytest.raises(UsageError):
        Index.open(source, index_dir=path)
    with pytest.raises(UsageError):
        Index.open(path)
