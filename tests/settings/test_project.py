"""A repository's settings file is read with care: it came with the repository."""

from __future__ import annotations

import logging
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import SettingsError
from turboprop.settings import DEFAULT_MODEL, PROJECT, load_settings, read_project_file
from turboprop.settings.trust import examine_trust, grant, is_signed, is_trusted, key_file, revoke, sign, trusted_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository"


def write(root: Path, text: str) -> Path:
    path = root / ".turboprop.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = 4", "TP_THREADS"),
        ("offline = false", "not of a repository"),
        ("exclued = []", "did you mean 'exclude'"),
        ("limit = 0", "at least 1"),
        ("[model]\nname = 1", "must be a text"),
        ('model = ""', "not empty"),
        ("x = " + "[" * 5000, "TOML"),
        ("# " + "x" * 64_000, "more than"),
    ],
)
def test_what_cannot_be_is_refused(root: Path, text: str, said: str) -> None:
    write(root, text)
    with pytest.raises(SettingsError, match=said):
        load_settings(root)


def test_links_and_pipes_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (root / ".turboprop.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(SettingsError, match="link"):
        load_settings(root)
    (root / ".turboprop.toml").unlink()
    os.mkfifo(root / ".turboprop.toml")
    with pytest.raises(SettingsError, match="no file"):
        load_settings(root)


def test_a_model_of_a_repository_waits_for_trust(
    root: Path, caplog: pytest.LogCaptureFixture, own_places: Path
) -> None:
    path = write(root, 'model = "evil/model"\nlanguage_model = "evil/talker"\nlimit = 7\n')
    with caplog.at_level(logging.WARNING, "turboprop"):
        found = load_settings(root)
    assert (found.model, found.language_model, found.limit) == (DEFAULT_MODEL, None, 7)
    assert found.untrusted == ("model", "language_model")
    assert "tp trust" in caplog.text
    file = read_project_file(root)
    assert file is not None
    grant(found.data_home, file.path, file.sha256)
    trusted = load_settings(root)
    assert (trusted.model, trusted.origins["model"], trusted.untrusted) == ("evil/model", PROJECT, ())
    assert [one.path for one in trusted_files(found.data_home)] == [path]
    write(root, 'model = "evil/other"\n')
    assert load_settings(root).model == DEFAULT_MODEL
    assert revoke(found.data_home, path)
    assert not revoke(found.data_home, path)
    assert not is_trusted(found.data_home, file.path, file.sha256)


@pytest.mark.parametrize(
    ("index", "harmless"),
    [
        ("cache/index", True),
        (".turboprop", True),
        ("../elsewhere", False),
        ("/tmp/elsewhere", False),
        (".", False),
        (".git", False),
        (".git/hooks", False),
        ("src", False),  # has something else in it
        ("link/index", False),
        ("cache/../../elsewhere", False),
    ],
)
def test_where_an_index_may_lie_without_trust(root: Path, tmp_path: Path, index: str, harmless: bool) -> None:
    (root / "src").mkdir()
    (root / "src" / "a.py").write_text("x = 1")
    (root / "link").symlink_to(tmp_path)
    write(root, f'index = "{index}"\n')
    found = load_settings(root)
    assert (found.untrusted == ()) == harmless
    assert found.index == (root / index if harmless else None)


def test_a_very_large_limit_of_file_size_waits_for_trust(root: Path) -> None:
    write(root, 'max_filesize = "20mb"')
    assert load_settings(root).max_filesize == 20_000_000
    write(root, 'max_filesize = "2gb"')
    assert load_settings(root).untrusted == ("max_filesize",)


@pytest.mark.parametrize("content", [b"[]", b"{", b"null", b'{"a": 1}', b'{"a": {"sha256": 1}}', b"\xff"])
def test_a_damaged_record_trusts_nothing(root: Path, own_places: Path, content: bytes) -> None:
    write(root, 'model = "a/b"')
    data_home = load_settings().data_home
    data_home.mkdir(parents=True, exist_ok=True)
    (data_home / "trusted.json").write_bytes(content)
    file = read_project_file(root)
    assert file is not None
    assert not is_trusted(data_home, file.path, file.sha256)
    grant(data_home, file.path, file.sha256)
    assert is_trusted(data_home, file.path, file.sha256)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_typed_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / ".turboprop.toml").write_bytes(content)
    try:
        assert read_project_file(folder) is not None
    except SettingsError as error:
        assert ".turboprop.toml" in str(error)


@pytest.mark.parametrize("damage", ["flip", "cut", "others", "link", "pipe"])
def test_a_key_that_is_none_signs_nothing_and_is_told(tmp_path: Path, damage: str) -> None:
    content = b"what is signed"
    signature = sign(tmp_path, content)
    key = key_file(tmp_path)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert is_signed(tmp_path, content, signature)
    assert not is_signed(tmp_path, content + b".", signature)
    assert examine_trust(tmp_path) == []
    before = key.read_bytes()
    if damage == "flip":
        key.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    elif damage == "cut":
        key.write_bytes(before[:-1])
    elif damage == "others":
        key.chmod(0o640)
    else:
        key.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(before)
            key.symlink_to(tmp_path / "elsewhere")
        else:
            os.mkfifo(key)
    assert not is_signed(tmp_path, content, signature)
    with pytest.raises(SettingsError, match="Remove it"):
        sign(tmp_path, content)
    assert [fault.subject for fault in examine_trust(tmp_path)] == ["key"]
    key.unlink()
    assert not is_signed(tmp_path, content, sign(tmp_path, b"another key"))


def test_two_first_runs_at_once_have_one_key(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def signed(_: int) -> str:
        start.wait()
        return sign(tmp_path, b"content")

    with ThreadPoolExecutor(8) as pool:
        signatures = list(pool.map(signed, range(8)))
    assert set(signatures) == {sign(tmp_path, b"content")}
    assert [entry.name for entry in tmp_path.iterdir()] == [key_file(tmp_path).name]
