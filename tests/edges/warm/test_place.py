"""Where the server is looked for: the short way reads the variables itself, and must agree with the settings."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from turboprop.edges.warm import client, place
from turboprop.settings import load_settings


@pytest.mark.parametrize(
    "variables",
    [{"TP_CACHE": "cache", "XDG_RUNTIME_DIR": "runtime"}, {"XDG_CACHE_HOME": "xdg"}, {}],
    ids=["TP_CACHE", "XDG_CACHE_HOME", "home"],
)
def test_in_the_cache_folder(variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TP_CACHE", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert Path(place.folder()).parent == load_settings().cache_home / "server"


def test_in_the_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_CACHE")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = Path(place.folder())
    assert folder.parent == tmp_path / "turboprop"
    assert folder.name.startswith(f"{os.getuid()}-")


def test_private_folders(tmp_path: Path) -> None:
    assert not place.is_private(str(tmp_path / "nowhere"))
    assert place.make_private(str(tmp_path / "a/b"))
    assert place.make_private(str(tmp_path / "a/b"))
    (tmp_path / "a/b").chmod(0o750)
    assert not place.make_private(str(tmp_path / "a/b"))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not place.is_private(str(tmp_path / "link"))
    (tmp_path / "file").write_text("")
    assert not place.make_private(str(tmp_path / "file"))
    assert not place.make_private(str(tmp_path / "file/folder"))


def test_identity_leaves_secrets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("TP_API_KEY", "secret")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    known = place.identity("1")["environment"]
    assert isinstance(known, dict)
    assert known["TOKENIZERS_PARALLELISM"] == "false"
    assert "secret" not in known.values()
    monkeypatch.setenv("TP_MODEL", "another")
    assert place.identity("1")["environment"] != known


def test_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert place.peer(ours) == (os.getpid(), os.getuid())
        assert place.peer_is_us(ours)


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        (["search", "x"], True),
        (["search", "x", "--json", "--repo", "y"], True),
        (["search", "x", "--no-server"], False),
        (["search", "--help"], False),
        (["search", "x", "--build"], False),
        (["status"], False),
        (["--debug", "search", "x"], False),
        ([], False),
    ],
)
def test_what_takes_the_short_way(arguments: list[str], taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_SERVER", "1")
    assert client.takes(arguments) is taken
    for name, value in (
        ("TP_SERVER", "0"),
        ("TP_SERVER", "perhaps"),
        ("TP_DEBUG", "1"),
        ("_TP_COMPLETE", "bash_source"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert not client.takes(arguments)
