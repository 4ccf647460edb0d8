"""What is on this machine, whoever brought it, and the words that mean it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gguf
import pytest

from architectures.tiny_models import MODELS
from models.checkpoint.test_gguf import with_tokenizer
from models.model_files import gguf as bytes_of_no_model
from models.other_programs import lm_studio, ollama
from turboprop.errors import ModelFormatError, ModelNotFoundError, UsageError
from turboprop.models.catalog import load_catalog
from turboprop.models.inventory import (
    first_language_model,
    fits,
    held_models,
    installed_language_model,
    known_models,
    language_model_name,
    partial_downloads,
    partial_files,
    use_of,
)
from turboprop.models.removal import remove_model
from turboprop.models.resolve import resolve
from turboprop.models.store.bring import import_model
from turboprop.models.store.verify import verify_model
from turboprop.settings import Settings, load_settings

TINY = MODELS["qwen3"]


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(TINY, tmp_path_factory.mktemp("writes") / "Tiny-Chat.Q8_0.gguf")


@pytest.fixture(scope="module")
def embeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tokenizer(TINY, tmp_path_factory.mktemp("embeds") / "Tiny-Embed.gguf", pooling=gguf.PoolingType.LAST)


@pytest.fixture
def user(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has other programs, too."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("OLLAMA_MODELS", str(home / ".ollama" / "models"))
    monkeypatch.setenv("TP_OFFLINE", "1")
    return home


def others(settings: Settings) -> dict[str, str]:
    """Name and place of what is here beside the models of packages."""
    held = held_models(settings, load_catalog(settings.config_file))
    return {local.name: local.source for local in held if local.source != "package"}


def test_every_place_is_listed_with_the_kind_in_the_header(user: Path, writes: Path, embeds: Path) -> None:
    settings = load_settings()
    import_model(writes, settings, load_catalog())
    cached = user / "hf" / "hub" / "models--o--cached" / "snapshots" / ("0" * 40)
    cached.mkdir(parents=True)
    shutil.copy(embeds, cached)
    lm_studio(user, embeds, "maker/Tiny-Embed-GGUF")
    ollama(user, writes, "library/tiny", "0.1b")
    ollama(user, writes, "someone/tiny", "latest")
    ollama(user, embeds, "o/Tiny-GGUF", "Q8_0", host="hf.co")
    known = {model.name: model for model in known_models(settings)}
    assert {name: (known[name].state, known[name].kind) for name in others(settings)} == {
        "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf": ("store", "language"),
        "o/cached:Tiny-Embed.gguf": ("hub cache", "embedding"),
        "maker/Tiny-Embed-GGUF:Tiny-Embed.gguf": ("LM Studio", "embedding"),
        "tiny:0.1b": ("Ollama", "language"),
        "someone/tiny:latest": ("Ollama", "language"),
        "hf.co/o/Tiny-GGUF:Q8_0": ("Ollama", "embedding"),
    }
    assert known["minilm"].state == "package" and known["coderankembed"].state == "remote"
    assert known["tiny:0.1b"].size == writes.stat().st_size and known["tiny:0.1b"].fits_memory


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Tiny-Chat.Q8_0", "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf"),
        ("tiny-chat.q8_0.GGUF", "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf"),
        ("LOCAL/tiny-chat.q8_0", "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf"),
        ("local/tiny-chat.q8_0:TINY-chat.q8_0.gguf", "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf"),
        ("tiny-embed-gguf", "maker/Tiny-Embed-GGUF:Tiny-Embed.gguf"),
        ("maker/Tiny-Embed-GGUF:Tiny-Embed.gguf", "maker/Tiny-Embed-GGUF:Tiny-Embed.gguf"),
        ("Tiny-Embed", "maker/Tiny-Embed-GGUF:Tiny-Embed.gguf"),
        ("TINY:0.1B", "tiny:0.1b"),
        ("someone/tiny", "someone/tiny:latest"),
        ("fast", "fast:latest"),
    ],
)
def test_words_that_mean_a_model(user: Path, writes: Path, embeds: Path, word: str, name: str) -> None:
    settings = load_settings()
    import_model(writes, settings, load_catalog())
    lm_studio(user, embeds, "maker/Tiny-Embed-GGUF")
    for owner, tag in (("library/tiny", "0.1b"), ("someone/tiny", "latest"), ("library/fast", "latest")):
        ollama(user, writes, owner, tag)
    assert resolve(word, settings).name == name


def test_a_word_that_means_several_lists_them(user: Path, writes: Path) -> None:
    settings = load_settings()
    for repo in ("a/Tiny-GGUF", "b/Tiny-GGUF"):
        lm_studio(user, writes, repo)
    for word in ("tiny-gguf", "Tiny-Chat.Q8_0.gguf"):
        with pytest.raises(ModelNotFoundError, match=r"several.*: a/Tiny-GGUF:Tiny-Chat.*, b/Tiny-GGUF:Tiny-Chat"):
            resolve(word, settings)
    with pytest.raises(ModelNotFoundError, match=r"did you mean .*here are .*b/Tiny-GGUF:Tiny-Chat"):
        resolve("b/Tiny-GGUF/Chat", settings)


def test_names_of_the_catalogue_stay_what_they_are(user: Path, writes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    lm_studio(user, writes, "someone/CodeRankEmbed")
    ollama(user, writes, "library/qwen3", "latest")
    for word in ("coderankembed", "qwen3"):
        with pytest.raises(ModelNotFoundError, match="is not on this machine"):
            resolve(word, settings)
    assert resolve("qwen3:latest", settings).source == "Ollama"
    # Whoever types the name of a file means a file of that name.
    known = writes.with_name("nomic-embed-code.Q5_K_S.gguf")
    lm_studio(user, Path(shutil.copy(writes, known)), "someone/else")
    assert resolve(known.name, settings).name == f"someone/else:{known.name}"
    # What is here wins over a folder that a cloned repository brings, as the catalogue does.
    monkeypatch.chdir(user)
    (user / "qwen3:latest").mkdir()
    assert resolve("qwen3:latest", settings).source == "Ollama"


def test_the_model_to_write_with(user: Path, writes: Path, embeds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TP_LANGUAGE_MODEL", raising=False)
    with pytest.raises(ModelNotFoundError, match="tp model download"):
        language_model_name(None, load_settings())
    ollama(user, embeds, "library/embed", "latest")
    assert installed_language_model(load_settings()) is None
    ollama(user, writes, "library/tiny", "0.1b")
    assert installed_language_model(load_settings()) == "tiny:0.1b"
    import_model(writes, load_settings(), load_catalog())
    assert installed_language_model(load_settings()) == "local/Tiny-Chat.Q8_0:Tiny-Chat.Q8_0.gguf"
    (user / "config.toml").write_text(
        '[[models]]\nname = "mine"\nkind = "language"\nrepo = "local/Tiny-Chat.Q8_0"\nfile = "Tiny-Chat.Q8_0.gguf"\n'
    )
    assert installed_language_model(load_settings()) == "mine"
    monkeypatch.setenv("TP_LANGUAGE_MODEL", "phi-2")
    assert language_model_name(None, load_settings()) == "phi-2"
    assert language_model_name("tinyllama", load_settings()) == "tinyllama"


def test_a_model_beyond_the_memory_is_the_last_choice(user: Path, writes: Path) -> None:
    settings = load_settings()
    large = lm_studio(user, writes, "a/Large-GGUF")
    os.truncate(large, 1 << 42)
    assert first_language_model(known_models(settings)) == f"a/Large-GGUF:{writes.name}"
    ollama(user, writes, "library/tiny", "0.1b")
    assert first_language_model(known_models(settings)) == "tiny:0.1b"


def test_what_fits_into_memory() -> None:
    assert fits(10**6, 16 * 10**9) and not fits(15 * 10**9, 16 * 10**9)
    assert fits(10**15, None)


def test_the_command_that_uses_a_model(user: Path, writes: Path, embeds: Path) -> None:
    settings, catalog = load_settings(), load_catalog()
    for file in (writes, embeds):
        import_model(file, settings, catalog)
    assert use_of(resolve("tiny-chat.q8_0", settings), settings, catalog) == "tp chat --model Tiny-Chat.Q8_0"
    assert use_of(resolve("tiny-embed", settings), settings, catalog) == "tp index --model Tiny-Embed"
    lm_studio(user, embeds, "o/other")
    local = resolve("local/tiny-embed", settings)
    assert use_of(local, settings, catalog) == "tp index --model local/Tiny-Embed:Tiny-Embed.gguf"
    assert use_of(resolve("minilm", settings), settings, catalog) == "tp index --model minilm"


def test_what_is_another_programs_stays(user: Path, writes: Path) -> None:
    settings = load_settings()
    studio, blob = lm_studio(user, writes, "o/Tiny-GGUF"), ollama(user, writes, "library/tiny", "0.1b")
    for name, advice in (("o/tiny-gguf", "belongs to LM Studio"), ("tiny:0.1b", "ollama rm tiny:0.1b")):
        with pytest.raises(UsageError, match=advice):
            remove_model(resolve(name, settings), settings)
    with pytest.raises(UsageError, match="pip uninstall"):
        remove_model(resolve("minilm", settings), settings)
    assert studio.exists() and blob.exists()
    (check,) = verify_model(resolve("tiny:0.1b", settings), settings)
    assert check.state == "ok"
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    (check,) = verify_model(resolve("tiny:0.1b", settings), settings)
    assert check.state == "wrong"
    (check,) = verify_model(resolve("o/tiny-gguf", settings), settings)
    assert check.state == "unknown"


def test_a_pinned_file_of_lm_studio_must_be_that_file(user: Path, writes: Path) -> None:
    lm_studio(user, writes, "o/Tiny-GGUF")
    (user / "config.toml").write_text(
        f'[[models]]\nname = "pinned"\nrepo = "o/Tiny-GGUF"\nfile = "{writes.name}"\nkind = "language"\n'
        f'sha256 = {{ "{writes.name}" = "{"0" * 64}" }}\n'
    )
    for name in ("pinned", "tiny-chat.q8_0.gguf"):
        with pytest.raises(ModelFormatError, match="remove it in LM Studio"):
            resolve(name, load_settings())


def test_a_home_that_lm_studio_moved_to(user: Path, writes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "disk" / "studio"
    lm_studio(tmp_path / "disk", writes, "o/Tiny-GGUF")
    (tmp_path / "disk" / ".lmstudio").rename(moved)
    assert others(load_settings()) == {}
    (user / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    assert others(load_settings()) == {f"o/Tiny-GGUF:{writes.name}": "LM Studio"}


def test_the_folders_of_ollama(user: Path, writes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboprop.models.other_programs._SERVICE", tmp_path / "service" / ".ollama" / "models")
    for home, tag in ((user, "own"), (tmp_path / "service", "service"), (tmp_path / "disk", "stated")):
        ollama(home, writes, "library/tiny", tag)
    monkeypatch.delenv("OLLAMA_MODELS")
    assert others(load_settings()) == {"tiny:own": "Ollama", "tiny:service": "Ollama"}
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "disk" / ".ollama" / "models"))
    assert others(load_settings()) == {"tiny:stated": "Ollama"}
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nowhere"))
    assert others(load_settings()) == {}


def test_damaged_and_hostile_folders_are_passed_over(user: Path, writes: Path, tmp_path: Path) -> None:
    outside = Path(shutil.copy(writes, tmp_path / "outside.gguf"))
    folder = lm_studio(user, writes, "o/Tiny-GGUF").parent
    (folder / "link.gguf").symlink_to(outside)
    (folder / "circle.gguf").symlink_to(folder / "circle.gguf")
    (folder / "part-00001-of-00002.gguf").write_bytes(writes.read_bytes())
    (folder / "model.gguf").mkdir()
    (folder.parent / "-bad--name").mkdir()
    shutil.copy(writes, folder.parent / "-bad--name")
    os.mkfifo(folder / "pipe.gguf")
    (folder / "empty.gguf").write_bytes(bytes_of_no_model())
    with_tokenizer(TINY, folder / "mmproj.gguf", general__type="mmproj")
    blob = ollama(user, writes, "library/tiny", "0.1b")
    ollama(user, writes, "library/adapted", "1", "application/vnd.ollama.image.adapter")
    ollama(user, writes, "library/double", "1", "application/vnd.ollama.image.model")
    manifests = user / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library"
    good = (manifests / "tiny" / "0.1b").read_text()
    texts = {
        "json": "{",
        "list": "[]",
        "layers": '{"layers": 3}',
        "layer": '{"layers": [3]}',
        "digest": good.replace(blob.name[7:], "../../../../outside.gguf"),
        "absent": good.replace(blob.name[7:], "f" * 64),
        "large": good + " " * (1 << 20),
        "deep": "[" * 100_000,
    }
    for name, text in texts.items():
        (manifests / name).mkdir()
        (manifests / name / "1").write_text(text)
    linked = good.replace(blob.name[7:], "e" * 64)
    (manifests / "linked").mkdir()
    (manifests / "linked" / "1").write_text(linked)
    (blob.parent / f"sha256-{'e' * 64}").symlink_to(outside)
    (manifests / "pipe").mkdir()
    os.mkfifo(manifests / "pipe" / "1")
    (manifests / "out").mkdir()
    (tmp_path / "manifest").write_text(good)
    (manifests / "out" / "1").symlink_to(tmp_path / "manifest")
    settings = load_settings()
    here = [model.name for model in known_models(settings) if model.state in ("LM Studio", "Ollama")]
    assert here == [f"o/Tiny-GGUF:{writes.name}", "tiny:0.1b"]
    for name in ("link.gguf", "pipe.gguf", "linked:1", "digest:1"):
        with pytest.raises(ModelNotFoundError, match="no model is called"):
            resolve(name, settings)


def test_parts_of_downloads_are_those_of_our_own(home: Path) -> None:
    hub = home / "hf" / "hub"
    ours = hub / "models--o--m" / "blobs"
    ours.mkdir(parents=True)
    (ours / ("a" * 40 + ".incomplete")).write_bytes(bytes(30))
    (ours / "abc.1234abcd.incomplete").write_bytes(bytes(50))
    (ours / ("b" * 64 + ".1234abcd.incomplete")).write_bytes(bytes(50))
    (ours / ("c" * 64 + ".incomplete")).symlink_to(ours / "abc.1234abcd.incomplete")
    elsewhere = home / "elsewhere" / "blobs"
    elsewhere.mkdir(parents=True)
    (elsewhere / ("d" * 64 + ".incomplete")).write_bytes(bytes(70))
    (hub / "models--o--linked").symlink_to(elsewhere.parent, target_is_directory=True)
    (hub / "models--o--blobs").mkdir()
    (hub / "models--o--blobs" / "blobs").symlink_to(elsewhere, target_is_directory=True)
    assert [path.name for path in partial_files()] == ["a" * 40 + ".incomplete"]
    assert partial_downloads() == {"o/m": 30}
