"""One reader of environment and settings file, with errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop.errors import SettingsError
from turboprop.settings import DEFAULT_MODEL, load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TP_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def test_defaults(config: Path) -> None:
    settings = load_settings()
    assert (settings.model, settings.engine, settings.threads) == (DEFAULT_MODEL, "auto", None)


def test_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('model = "a/b"\nthreads = 3\n')
    assert (load_settings().model, load_settings().threads) == ("a/b", 3)
    monkeypatch.setenv("TP_MODEL", "c/d")
    monkeypatch.setenv("TP_THREADS", "5")
    assert (load_settings().model, load_settings().threads) == ("c/d", 5)


def test_the_warm_server(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_SERVER")
    assert (load_settings().server, load_settings().server_idle) == (True, 600)
    config.write_text("server = false\n")
    assert load_settings().server is False
    monkeypatch.setenv("TP_SERVER", "1")
    assert load_settings().server is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 1", "modle"),
        ("model = 1", "must be str"),
        ("threads = true", "threads"),
        ("threads = 0", "least 1"),
        ("= x", "TOML"),
    ],
)
def test_wrong_files(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TP_THREADS", "many"),
        ("TP_THREADS", "0"),
        ("TP_OFFLINE", "perhaps"),
        ("TP_SERVER", "maybe"),
        ("TP_SERVER_IDLE", "0"),
    ],
)
def test_wrong_environment(config: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()
