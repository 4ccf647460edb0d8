"""One reader of environment and settings file, with errors that name the place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from turboprop.errors import SettingsError
from turboprop.settings import DEFAULT, DEFAULT_MODEL, ENVIRONMENT, PROJECT, USER, load_settings, mistyped_variables
from turboprop.settings.schema import KEYS, OTHER_VARIABLES


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 1", "modle"),
        ("model = 1", "must be a text"),
        ("modl = 'x'", "did you mean 'model'"),
        ("weights = 'int2'", "float32, float16, bfloat16, int8"),
        ("exclude = 'docs'", "list of texts"),
        ("max_filesize = 'big'", "no size"),
        ("offline = 1", "true or false"),
        ("index = 'x'", "unknown setting"),
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


def test_the_order_of_the_layers(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('max_filesize = "2mb"\nlimit = 3\nweights = "float32"\nthreads = 2\n')
    root = tmp_path / "repository"
    root.mkdir()
    (root / ".turboprop.toml").write_text('limit = 4\nweights = "int8"\nexclude = ["docs/", "*.sql"]\n')
    monkeypatch.setenv("TP_WEIGHTS", "int4")
    found = load_settings(root)
    assert (found.threads, found.max_filesize, found.limit, found.weights) == (2, 2_000_000, 4, "int4")
    assert found.exclude == ("docs/", "*.sql")
    assert {name: found.origins[name] for name in ("threads", "limit", "weights", "exclude", "model")} == {
        "threads": USER,
        "limit": PROJECT,
        "weights": ENVIRONMENT,
        "exclude": PROJECT,
        "model": DEFAULT,
    }
    assert load_settings().limit == 3


def test_offline_from_the_hub_s_own_variable(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_OFFLINE")
    assert not load_settings().offline
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_settings().offline
    monkeypatch.setenv("TP_OFFLINE", "0")
    assert not load_settings().offline


def test_lists_and_sizes_of_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_EXCLUDE", "a/, *.md ,")
    monkeypatch.setenv("TP_MEMORY", "1.5GiB")
    assert load_settings().exclude == ("a/", "*.md")
    assert load_settings().memory == 3 * 2**29


def test_catalogue_rows_of_the_user_are_no_settings(config: Path) -> None:
    config.write_text('[[models]]\nname = "mine"\n')
    assert load_settings().model == DEFAULT_MODEL


def test_the_warm_server(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_SERVER")
    assert (load_settings().server, load_settings().server_idle) == (True, 600)
    config.write_text("server = false\n")
    assert load_settings().server is False
    monkeypatch.setenv("TP_SERVER", "1")
    assert load_settings().server is True


def test_variables_that_are_nearly_known() -> None:
    wrong = {
        "TP_EMBEDING_CACHE": "0",
        "TP_MODLE": "x",
        "TP_OFLINE": "1",
        "TP_CACHE_HOME": "/x",
        "TP_MAX_FILE_SIZE": "1",
    }
    assert mistyped_variables(wrong) == {
        "TP_EMBEDING_CACHE": "TP_EMBEDDING_CACHE",
        "TP_MAX_FILE_SIZE": "TP_MAX_FILESIZE",
        "TP_MODLE": "TP_MODEL",
        "TP_OFLINE": "TP_OFFLINE",
    }
    # Other programs' own, what is known, what is empty, what has another prefix.
    others = ["TP_NODE", "TP_VERSION", "TP_LINK_IP", "TP_PORT", "TP_USER", "TP_TOKEN", "TP_REFERENCE_DATA", "TP_"]
    known = ["TP_MODEL", "TP_DEBUG", "TP_HOME", "TP_CACHE", "TP_CONFIG", "TP_API_KEY", "TP_SERVER_IDLE"]
    assert mistyped_variables({**dict.fromkeys([*others, *known], "1"), "TP_MODLE": "", "MODLE": "x"}) == {}


def test_every_variable_that_is_read_is_known() -> None:
    source = Path(__file__).parent.parent.parent / "src" / "turboprop"
    read = {
        name for path in source.rglob("*.py") for name in re.findall(r"(?<![A-Z_])TP_[A-Z_]+", path.read_text("utf-8"))
    }
    known = {*OTHER_VARIABLES, *(key.variable for key in KEYS.values())}
    assert read - known == set()
    page = (source.parent.parent / "docs" / "settings.md").read_text("utf-8")
    assert {name for name in known if f"`{name}`" not in page} == {"TP_DEBUG", "TP_API_KEY"}  # docs/commands.md
