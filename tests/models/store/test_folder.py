from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.hub_server import HubServer
from models.model_files import gguf, safetensors, sentence_transformer
from turboprop.errors import ModelError, ModelFormatError, ModelNotFoundError
from turboprop.files import remove_any
from turboprop.models.catalog import load_catalog
from turboprop.models.hub.remove import remove_from_hub_cache
from turboprop.models.inventory import held_models, model_size, partial_downloads
from turboprop.models.local import LocalModel, find_local
from turboprop.models.naming import HubReference
from turboprop.models.resolve import resolve
from turboprop.models.store.bring import import_model
from turboprop.models.store.faults import examine_models
from turboprop.models.store.folder import MANIFEST, read_manifest, remove_from_store, store_dir, store_lock
from turboprop.models.store.hashes import remembered_sha256
from turboprop.models.store.verify import examine_model, verify_model
from turboprop.models.store.weights import check_weights
from turboprop.settings import Settings

NAMED = "some/Model-1.0"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def bring(path: Path, settings: Settings, name: str | None = NAMED) -> LocalModel:
    reference = import_model(path, settings, load_catalog(settings.config_file), name=name)
    local = find_local(reference, settings)
    assert local is not None and local.source == "store"
    return local


def leftovers(settings: Settings) -> list[str]:
    hidden = [path.name for path in settings.models_dir.glob(".*")] if settings.models_dir.exists() else []
    return [name for name in hidden if name != ".lock"]


def test_a_folder_becomes_a_model_with_only_what_is_needed(home: Path, settings: Settings) -> None:
    files = sentence_transformer()
    local = bring(write(home / "m", files), settings)
    assert local.name == NAMED and local.path == settings.models_dir / "some" / "Model-1.0"
    there = {p.relative_to(local.path).as_posix() for p in local.path.rglob("*") if p.is_file()}
    assert {"model.safetensors", "1_Pooling/config.json", MANIFEST} <= there
    assert not there & {"pytorch_model.bin", "onnx/model.onnx", "train_script.py", "tf_model.h5"}
    manifest = read_manifest(local.path)
    assert manifest["model.safetensors"]["sha256"] == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert set(manifest) == there - {MANIFEST}
    assert leftovers(settings) == []


def test_a_gguf_file_joins_those_of_its_repository(home: Path, settings: Settings) -> None:
    folder = write(home / "g", {f"m.{n}.gguf": gguf(seed=n) for n in (1, 2)})
    first = bring(folder / "m.1.gguf", settings)
    second = bring(folder / "m.2.gguf", settings)
    assert (first.name, second.name) == (f"{NAMED}:m.1.gguf", f"{NAMED}:m.2.gguf")
    assert first.path.read_bytes() == gguf(seed=1) and second.path.read_bytes() == gguf(seed=2)
    assert set(read_manifest(first.path.parent)) == {"m.1.gguf", "m.2.gguf"}
    assert leftovers(settings) == []


def test_a_new_import_replaces_the_old_one_whole(home: Path, settings: Settings) -> None:
    bring(write(home / "one", sentence_transformer(seed=1)), settings)
    del (files := sentence_transformer(seed=2))["vocab.txt"]
    local = bring(write(home / "two", files), settings)
    assert (local.path / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert not (local.path / "vocab.txt").exists()
    assert leftovers(settings) == []


def test_all_parts_of_a_split_are_brought(home: Path, settings: Settings) -> None:
    files = {f"m-0000{n}-of-00003.gguf": gguf(seed=n) for n in (1, 2, 3)}
    folder = write(home / "g", files)
    local = bring(folder / "m-00002-of-00003.gguf", settings)
    assert local.path.name == "m-00001-of-00003.gguf" and local.name.endswith(":m-00001-of-00003.gguf")
    (folder / "m-00003-of-00003.gguf").unlink()
    with pytest.raises(ModelNotFoundError, match="m-00003-of-00003"):
        bring(folder / "m-00001-of-00003.gguf", settings)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nomic-embed-code.Q5_K_S.gguf", "nomic-ai/nomic-embed-code-GGUF:nomic-embed-code.Q5_K_S.gguf"),
        ("my model (v1).gguf", "local/my-model-v1:my model (v1).gguf"),
        ("..x--y.gguf", "local/x-y:..x--y.gguf"),
    ],
)
def test_a_file_gets_its_name_from_the_catalogue_or_itself(
    home: Path, settings: Settings, path: str, name: str
) -> None:
    local = bring(write(home / "g", {path: gguf()}) / path, settings, None)
    assert local.name == name
    assert resolve(name, settings, download=False).path == local.path


def test_a_folder_gets_its_name_from_the_catalogue_or_the_cache(home: Path, settings: Settings) -> None:
    local = bring(write(home / "bge-small-en-v1.5", sentence_transformer()), settings, None)
    assert local.name == "BAAI/bge-small-en-v1.5" and local.row is not None
    cache = write(home / "copied" / "models--o--m" / "snapshots" / ("c" * 40), sentence_transformer())
    assert bring(cache, settings, None).name == "o/m"
    assert bring(home / "copied" / "models--o--m", settings, None).name == "o/m"


def test_a_model_of_the_hugging_face_cache_is_brought_through_its_links(
    hub: HubServer, home: Path, settings: Settings
) -> None:
    files = sentence_transformer()
    hub.add("o/m", files)
    folder = resolve("o/m", settings).path
    assert (folder / "model.safetensors").is_symlink()
    local = bring(folder, settings, None)
    assert local.name == "o/m"
    stored = local.path / "model.safetensors"
    assert not stored.is_symlink() and stored.read_bytes() == files["model.safetensors"]
    assert stored.stat().st_ino == (folder / "model.safetensors").stat().st_ino or stored.stat().st_nlink == 1


def test_a_link_out_of_the_folder_is_refused(home: Path, settings: Settings) -> None:
    secret = write(home / "elsewhere", {"secret.json": b"{}"}) / "secret.json"
    folder = write(home / "m", sentence_transformer())
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(secret)
    with pytest.raises(ModelFormatError, match="link out of its folder"):
        bring(folder, settings)
    assert leftovers(settings) == [] and not store_dir(NAMED, settings.models_dir).exists()


def test_a_pinned_model_must_be_that_model(home: Path, settings: Settings) -> None:
    folder = write(home / "m", sentence_transformer())
    with pytest.raises(ModelFormatError, match=r"is not the model\.safetensors of sentence-transformers"):
        bring(folder, settings, "minilm")
    assert leftovers(settings) == []


def test_a_name_that_does_not_match_the_file(home: Path, settings: Settings) -> None:
    file = write(home / "g", {"a.gguf": gguf()}) / "a.gguf"
    with pytest.raises(ModelFormatError, match=r"is not o/m:b\.gguf"):
        bring(file, settings, "o/m:b.gguf")
    with pytest.raises(ModelNotFoundError, match="is no name"):
        bring(file, settings, "./x")


HOLD = json.dumps({"t": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("m.gguf", b"", "GGUF"),
        ("m.gguf", b"GGML" + bytes(40), "does not begin"),
        ("m.gguf", b"GGUF", "does not begin"),
        ("m.gguf", gguf(version=1), "version 1"),
        ("m.gguf", b"GGUF\0\0\0\x03" + bytes(16), "big-endian"),
        ("m.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        ("m.safetensors", b"", "not a safetensors"),
        ("m.safetensors", b"\xff" * 16, "not a safetensors"),
        ("m.safetensors", safetensors()[:-1], "header tells"),
        ("m.safetensors", safetensors() + b"x", "header tells"),
        ("m.safetensors", (len(HOLD)).to_bytes(8, "little") + HOLD[:-1] + b"!xxxx", "header is damaged"),
        ("m.safetensors", (2).to_bytes(8, "little") + b"[]", "header is damaged"),
        ("m.safetensors", (6).to_bytes(8, "little") + b'{"a":1}'[:6], "header is damaged"),
    ],
)
def test_weights_that_are_not_what_they_say(home: Path, name: str, data: bytes, says: str) -> None:
    with pytest.raises(ModelFormatError, match=says):
        check_weights(write(home, {name: data}) / name)


@given(st.binary(max_size=200))
def test_any_bytes_as_weights_are_judged_with_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    for suffix in (".safetensors", ".gguf"):
        path = tmp_path_factory.getbasetemp() / f"any{suffix}"
        path.write_bytes(data)
        try:
            check_weights(path)
        except ModelFormatError as error:
            assert str(path) in str(error)


def test_damaged_weights_are_not_brought(home: Path, settings: Settings) -> None:
    folder = write(home / "m", sentence_transformer() | {"model.safetensors": safetensors()[:-9]})
    with pytest.raises(ModelFormatError):
        bring(folder, settings)
    assert leftovers(settings) == []
    assert not store_dir(NAMED, settings.models_dir).exists()


@pytest.mark.parametrize(
    ("what", "says"),
    [("nothing", "nothing at"), ("file", "neither a .gguf"), ("empty", "lacks"), ("half", "lacks tokenizer.json")],
)
def test_what_is_no_model(home: Path, settings: Settings, what: str, says: str) -> None:
    write(home / "file", {"model.safetensors": safetensors()})
    (home / "empty").mkdir()
    write(home / "half", {"model.safetensors": safetensors(), "config.json": b"{}"})
    path = home / "file" / "model.safetensors" if what == "file" else home / what
    with pytest.raises((ModelNotFoundError, ModelFormatError), match=says):
        bring(path, settings)
    assert leftovers(settings) == []


def _tar(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def _zip(path: Path, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o644 | stat.S_IFREG) << 16
            archive.writestr(info, data)
    return path


@pytest.mark.parametrize("top", ["", "bge-small-en-v1.5/", "./"])
@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
def test_archives(home: Path, settings: Settings, kind: str, top: str) -> None:
    files = {top + name: data for name, data in sentence_transformer().items()}
    make = _zip if kind == ".zip" else _tar
    local = bring(make(home / f"bge-small-en-v1.5{kind}", files), settings, None)
    assert local.name == "BAAI/bge-small-en-v1.5"
    assert (local.path / "model.safetensors").read_bytes() == safetensors()
    assert leftovers(settings) == []


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "extra",
    [
        _link("config.json", "/etc/passwd"),
        _link("x", "..", tarfile.SYMTYPE),
        _link("y", "/etc/passwd", tarfile.LNKTYPE),
        _link("pipe", "", tarfile.FIFOTYPE),
        _link("device", "", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
def test_links_and_devices_in_archives_are_refused(home: Path, settings: Settings, extra: tarfile.TarInfo) -> None:
    with pytest.raises(ModelFormatError, match="link or a special file"):
        bring(_tar(home / "m.tar", sentence_transformer(), extra), settings)
    assert leftovers(settings) == []


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "a/../../evil.json", "C:/evil.json", "a\\evil.json"])
@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_names_in_archives_that_leave_the_folder_are_refused(
    home: Path, settings: Settings, kind: str, name: str
) -> None:
    make = _zip if kind == ".zip" else _tar
    with pytest.raises(ModelFormatError, match="leave the folder"):
        bring(make(home / f"m{kind}", sentence_transformer() | {name: b"{}"}), settings)
    assert not list(home.rglob("*evil*")) and leftovers(settings) == []


def test_a_link_in_a_zip_is_refused(home: Path, settings: Settings) -> None:
    files = sentence_transformer() | {"config.json": b"/etc/passwd"}
    archive = _zip(home / "m.zip", files, {"config.json": 0o777 | stat.S_IFLNK})
    with pytest.raises(ModelFormatError, match="link or a special file"):
        bring(archive, settings)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04"])
@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
def test_a_damaged_archive(home: Path, settings: Settings, kind: str, data: bytes) -> None:
    with pytest.raises((ModelFormatError, ModelNotFoundError)):
        bring(write(home, {f"m{kind}": data}) / f"m{kind}", settings)
    assert leftovers(settings) == []


def test_an_archive_that_would_fill_the_disk(home: Path, settings: Settings) -> None:
    info = tarfile.TarInfo("model.safetensors")
    info.size = 1 << 60
    path = home / "m.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ModelFormatError, match="room"):
        bring(path, settings)


def test_a_store_that_cannot_be_made(home: Path, settings: Settings) -> None:
    file = write(home / "g", {"a.gguf": gguf()}) / "a.gguf"
    (home / "data").write_bytes(b"a file where a folder should be")
    with pytest.raises(ModelError, match="cannot import"):
        import_model(file, settings, load_catalog())


def test_removing(home: Path, settings: Settings) -> None:
    files = {f"m.{n}.gguf": gguf(seed=n) for n in (1, 2)}
    folder = write(home / "g", files)
    one, two = (bring(folder / name, settings) for name in files)
    freed = remove_from_store(HubReference(NAMED, "m.1.gguf"), settings.models_dir)
    assert freed == len(files["m.1.gguf"])
    assert not one.path.exists() and two.path.exists()
    assert set(read_manifest(two.path.parent)) == {"m.2.gguf"}
    remove_from_store(HubReference(NAMED, "m.2.gguf"), settings.models_dir)
    assert not two.path.parent.parent.exists() and leftovers(settings) == []
    assert (folder / "m.1.gguf").read_bytes() == files["m.1.gguf"], "what was imported from stays"


def test_a_folder_and_a_file_of_one_repository_are_two_models(home: Path, settings: Settings) -> None:
    folder = bring(write(home / "m", sentence_transformer()), settings)
    file = bring(write(home / "g", {"x.gguf": gguf()}) / "x.gguf", settings)
    assert find_local(HubReference(NAMED), settings) == folder
    remove_from_store(HubReference(NAMED), settings.models_dir)
    assert file.path.read_bytes() == gguf() and set(read_manifest(folder.path)) == {"x.gguf"}
    bring(home / "m", settings)
    remove_from_store(HubReference(NAMED, "x.gguf"), settings.models_dir)
    assert find_local(HubReference(NAMED), settings) == folder and not file.path.exists()


def test_what_a_killed_import_left_is_put_right(home: Path, settings: Settings) -> None:
    local = bring(write(home / "m", sentence_transformer()), settings)
    retired = settings.models_dir / f".retired-{NAMED.replace('/', '--')}"
    local.path.rename(retired)  # killed between two renames
    stale = settings.models_dir / ".incoming-old"
    stale.mkdir()
    os.utime(stale, (0, 0))
    fresh = settings.models_dir / ".incoming-now"
    fresh.mkdir()
    with store_lock(settings.models_dir):
        assert local.path.exists() and not retired.exists()
        assert fresh.exists() and not stale.exists()


def test_removing_from_the_shared_cache(hub: HubServer, settings: Settings) -> None:
    files = {f"m.{n}.gguf": gguf(seed=n) for n in (1, 2)}
    hub.add("o/g", files)
    hub.add("o/m", sentence_transformer())
    one, two = (resolve(f"o/g:{name}", settings) for name in files)
    folder = resolve("o/m", settings)
    blob = one.path.resolve()
    assert remove_from_hub_cache(HubReference("o/g", "m.1.gguf")) == len(files["m.1.gguf"])
    assert not blob.exists() and not one.path.is_symlink()
    assert two.path.read_bytes() == files["m.2.gguf"]
    remove_from_hub_cache(HubReference("o/g", "m.2.gguf"))
    assert not two.path.parents[2].exists()
    assert find_local(HubReference("o/m"), settings) is not None
    remove_from_hub_cache(HubReference("o/m"))
    assert not folder.path.parents[1].exists()


def test_a_blob_that_another_name_needs_stays(hub: HubServer, settings: Settings) -> None:
    hub.add("o/g", {"a.gguf": gguf(), "b.gguf": gguf()})
    first, second = (resolve(f"o/g:{name}.gguf", settings) for name in "ab")
    assert first.path.resolve() == second.path.resolve()
    assert remove_from_hub_cache(HubReference("o/g", "a.gguf")) == 0
    assert second.path.read_bytes() == gguf()


def test_the_inventory(hub: HubServer, home: Path, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer())
    hub.add("o/broken", {"m.gguf": gguf(50_000)})
    resolve("o/m", settings)
    bring(write(home / "s", sentence_transformer() | {"x.gguf": gguf()}), settings)
    bring(write(home / "s", {"x.gguf": gguf()}) / "x.gguf", settings)
    blobs = home / "hf" / "hub" / "models--o--broken" / "blobs"
    write(blobs, {"0" * 64 + ".incomplete": b"x" * 123})
    catalog = load_catalog(settings.config_file)
    held = {local.name: local for local in held_models(settings, catalog) if local.source != "package"}
    assert set(held) == {"o/m", NAMED, f"{NAMED}:x.gguf"}
    assert held["o/m"].source == "hub cache" and model_size(held["o/m"]) > 4096
    assert model_size(held[f"{NAMED}:x.gguf"]) == len(gguf())
    assert partial_downloads() == {"o/broken": 123}


def test_verifying(hub: HubServer, home: Path, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer())
    cached = resolve("o/m", settings)
    stored = bring(write(home / "s", sentence_transformer(seed=1)), settings)
    single = bring(write(home / "g", {"x.gguf": gguf()}) / "x.gguf", settings, "some/other")
    by_path = resolve(str(home / "s"), settings)
    for model in (cached, stored, single):
        assert {check.state for check in verify_model(model, settings)} == {"ok"}, model.name
    assert [check.name for check in verify_model(single, settings)] == ["x.gguf"]
    assert {check.state for check in verify_model(by_path, settings)} == {"unknown"}
    for model in (cached, stored):
        weights = (model.path / "model.safetensors").resolve()
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.unlink()
        weights.write_bytes(data)
        (model.path / "vocab.txt").unlink()
        states = {check.name: check.state for check in verify_model(model, settings)}
        assert states.pop("model.safetensors") == "wrong" and states.pop("vocab.txt") == "missing"
        assert set(states.values()) == {"ok"}, "small files are known by their Git object id or sha256"


def test_a_model_that_the_disk_changed_is_found(hub: HubServer, home: Path, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer())
    cached = resolve("o/m", settings)
    stored = bring(write(home / "s", sentence_transformer(seed=1)), settings)
    by_path = resolve(str(home / "s"), settings)
    onnx = write(home / "onnx", {"model.onnx": b"graph"}) / "model.onnx"
    for model in (cached, stored, by_path, LocalModel(str(onnx), onnx, "path")):
        weights = onnx if model.path == onnx else (model.path / "model.safetensors").resolve()
        remembered_sha256(weights, settings.cache_home)
        assert examine_model(model, settings) == []
        status = weights.stat()
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.chmod(0o600)
        with weights.open("r+b") as file:  # in place, and then the time of before
            file.write(data)
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
        (fault,) = examine_model(model, settings)
        assert fault.path.resolve() == weights
        assert fault.problem.startswith(weights.name if weights.suffix else "model.safetensors"), fault
    (stored.path / "config.json").unlink()
    assert {fault.problem for fault in examine_model(stored, settings)} >= {f"{NAMED} lacks config.json"}


@pytest.mark.parametrize("content", [b"", b"[" * 50_000, b'{"files": {"../x": {"sha256": "0"}, "a": 3}}', None])
def test_a_damaged_record_of_an_import_counts_for_nothing(
    home: Path, settings: Settings, content: bytes | None
) -> None:
    stored = bring(write(home / "s", sentence_transformer()), settings)
    manifest = stored.path / MANIFEST
    manifest.unlink()
    if content is None:
        os.mkfifo(manifest)
    else:
        manifest.write_bytes(content)
    states = {check.state for check in verify_model(stored, settings)}
    assert states == {"unknown"}
    assert [check.name for check in verify_model(stored, settings) if check.name.startswith(".")] == []


def test_records_and_downloads_that_are_damaged_are_found(hub: HubServer, home: Path, settings: Settings) -> None:
    hub.add("o/m", sentence_transformer())
    cached = resolve("o/m", settings)
    stored = bring(write(home / "s", sentence_transformer()), settings)
    remembered_sha256(stored.path / "model.safetensors", settings.cache_home)
    assert examine_models(settings) == []
    records = [
        settings.cache_home / "verified.json",
        settings.models_dir / ".hub" / "o--m.json",
        stored.path / MANIFEST,
    ]
    for path in records:
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1", b"2", 1))
    partial = cached.path.parents[1] / "blobs" / "0.incomplete"
    os.mkfifo(partial)
    faults = examine_models(settings)
    assert [fault.path for fault in faults] == [*records, partial]
    for fault in faults:
        remove_any(fault.path)
    assert examine_models(settings) == []
    assert "wrong" not in {check.state for model in (cached, stored) for check in verify_model(model, settings)}
