"""Damage one file of the caches at random, use them, look, mend, use them again.

    python tests/embed/stress_faults.py [--rounds 500] [--seed 0]

The caches hold kept vectors with a write-ahead log, converted weights in two formats,
remembered hashes, the records of a download and of an import, trust, and a partial download. A fault
is a bit that flips, an end cut off, a deletion, rubbish behind the end, a page of zeros, two files swapped, or a link,
a pipe or a folder in a file's place. Of each must hold: using the caches raises nothing and gives nothing wrong; what
is not found changed nothing that matters; once mended nothing is found and everything works. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from engines.loading import load_encoder
from models.model_files import sentence_transformer
from turboprop.embed.cache import FILE, EmbeddingCache, cache_key
from turboprop.embed.cache_file import export_cache
from turboprop.embed.caches import examine_caches, mend_caches
from turboprop.engines.contract import EngineOptions
from turboprop.errors import StorageError
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.hub.cache import download_record
from turboprop.models.hub.files import RemoteFile
from turboprop.models.hub.partial import PartialFile, WrongBytesError
from turboprop.models.inventory import partial_downloads
from turboprop.models.local import LocalModel
from turboprop.models.store.folder import write_manifest
from turboprop.models.store.verify import verify_model
from turboprop.progress import Transfers
from turboprop.settings import Settings, load_settings
from turboprop.settings.project import read_project_file
from turboprop.settings.records import write_record
from turboprop.settings.trust import grant, is_trusted

LIMIT = 100_000_000
WIDTH = 64
COMMIT = "c" * 40
KINDS = ("flip", "flip", "flip", "cut", "cut", "delete", "append", "zeros", "swap", "link", "pipe", "folder")
MAY_BE_ABSENT = ("cut", "delete")
"""Faults after which less may be there without a trace: a log that ends earlier, a record that was never made."""
FORMATS = ("int8", "float32")


@dataclass
class World:
    """What is right, and where it lies: `home` is copied for each fault, `outside` is not touched by any."""

    home: Path
    outside: Path
    vectors: dict[bytes, np.ndarray]
    encoded: dict[str, np.ndarray]
    download: bytes

    @property
    def settings(self) -> Settings:
        return replace(load_settings(), data_home=self.home / "data", cache_home=self.home / "cache")

    @property
    def cache(self) -> EmbeddingCache:
        return EmbeddingCache(self.home / "cache" / FILE, LIMIT)

    @property
    def partial(self) -> Path:
        return self.home / "hf" / "hub" / "models--o--m" / "blobs" / f"{self.remote.etag}.incomplete"

    @property
    def remote(self) -> RemoteFile:
        return RemoteFile("model.safetensors", len(self.download), hashlib.sha256(self.download).hexdigest())

    @contextmanager
    def copied(self, folder: Path) -> Iterator[World]:
        """The same world in `folder`, which ends with the block. The hub's cache is found by the environment."""
        shutil.copytree(self.home, folder, symlinks=True)
        before = os.environ.get("HF_HOME")
        os.environ["HF_HOME"] = str(folder / "hf")
        try:
            yield replace(self, home=folder)
        finally:
            shutil.rmtree(folder)
            if before is not None:
                os.environ["HF_HOME"] = before
            else:
                del os.environ["HF_HOME"]

    def files(self) -> list[Path]:
        """What faults happen to: all but the bytes of models, which `tp model verify` looks at."""
        found = [path for path in self.home.rglob("*") if stat.S_ISREG(path.lstat().st_mode)]
        return sorted(
            path for path in found if path.parent.name not in (COMMIT, "stored") or path.name == ".turboprop.json"
        )


def some_vectors(count: int, seed: int) -> dict[bytes, np.ndarray]:
    chance = np.random.default_rng(seed)
    return {
        cache_key("model", "document", f"{seed} {n}"): chance.standard_normal(WIDTH).astype(np.float16)
        for n in range(count)
    }


def make_world(folder: Path) -> World:
    """Fill the caches as a user does."""
    outside = folder / "outside"
    MODELS["bert"].save(outside / "model")
    (outside / "project").mkdir()
    (outside / "project" / ".turboprop.toml").write_text('model = "a/b"\n', "utf-8")
    world = World(folder / "home", outside, {}, {}, random.Random(1).randbytes(50_000))
    settings = world.settings
    for weights in FORMATS:
        world.encoded[weights] = encoded(world, weights)
    for seed in range(2):  # the first half in the database, the second in the log
        world.vectors |= some_vectors(300, seed)
        with closing(world.cache) as cache:
            cache.put(world.vectors)
            if seed == 1:
                for file in (settings.cache_home).glob(f"{FILE}*"):
                    shutil.copyfile(file, folder / file.name)
    for file in folder.glob(f"{FILE}*"):
        file.replace(settings.cache_home / file.name)
    files = {name: data for name, data in sentence_transformer().items() if "/" not in name and name[0] != "."}
    known = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    snapshot = world.home / "hf" / "hub" / "models--o--m" / "snapshots" / COMMIT
    stored = settings.models_dir / "o" / "stored"
    for place in (snapshot, stored):
        place.mkdir(parents=True)
        for name, data in files.items():
            (place / name).write_bytes(data)
    write_manifest(stored, "o/stored", {name: dict(values) for name, values in known.items()})
    record = settings.models_dir / ".hub" / "o--m.json"
    record.parent.mkdir()
    etags = {name: {"size": values["size"], "etag": values["sha256"]} for name, values in known.items()}
    write_record(record, download_record("o/m"), {"repo": "o/m", "revision": "main", "commit": COMMIT, "files": etags})
    world.partial.parent.mkdir()
    world.partial.write_bytes(world.download[:30_000])
    file = read_project_file(outside / "project")
    assert file is not None
    grant(settings.data_home, file.path, file.sha256)
    return world


def encoded(world: World, weights: str) -> np.ndarray:
    options = EngineOptions(weights=weights, threads=1, cache_home=world.home / "cache")  # type: ignore[arg-type]
    encoder = load_encoder(open_folder(world.outside / "model"), "native", options)
    try:
        return encoder.encode(pack(INPUTS))
    finally:
        encoder.close()


def use(world: World, *, engines: bool) -> dict[str, object]:
    """Use all of it and hold what comes against what is right; returns what is there."""
    settings = world.settings
    there: dict[str, object] = {}
    with closing(world.cache) as cache:
        cache.stats()
        found = cache.get(list(world.vectors), WIDTH)
        for key, vector in found.items():
            np.testing.assert_array_equal(vector, world.vectors[key])
        there["vectors"] = len(found)
        more = some_vectors(5, 99)
        for _ in range(2):  # a damaged file is begun anew by the first
            cache.put(more)
        for key, vector in cache.get(list(more), WIDTH).items():
            np.testing.assert_array_equal(vector, more[key])
        with suppress(StorageError):
            export_cache(cache, world.home / "exported")
            (world.home / "exported").unlink()
    if engines:
        graphs = world.home / "cache" / "graphs"
        for weights in FORMATS:
            before = kept_files(graphs)
            np.testing.assert_array_equal(encoded(world, weights), world.encoded[weights])
            there[weights] = before <= kept_files(graphs)
    file = read_project_file(world.outside / "project")
    assert file is not None
    assert not is_trusted(settings.data_home, file.path, "0" * 64)
    there["trusted"] = is_trusted(settings.data_home, file.path, file.sha256)
    for repo, source, path in (
        ("o/m", "hub cache", world.home / "hf" / "hub" / "models--o--m" / "snapshots" / COMMIT),
        ("o/stored", "store", settings.models_dir / "o" / "stored"),
    ):
        checks = verify_model(LocalModel(repo, path, source), settings)  # type: ignore[arg-type]
        assert {check.state for check in checks} <= {"ok", "unknown"}, checks
        there[repo] = all(check.state == "ok" for check in checks)
    partial_downloads()
    with suppress(OSError):  # `fetch_blob` says that the folder cannot be written
        there["download"] = resumed(world)
    return there


def kept_files(graphs: Path) -> set[tuple[str, int]]:
    """Files of converted models, each with its inode: what is made again has another."""
    files = (path for path in graphs.glob("**/*") if path.is_file() and not path.is_symlink())
    return {(path.relative_to(graphs).as_posix(), path.stat().st_ino) for path in files}


def resumed(world: World) -> int:
    """A broken download goes on, as `fetch_blob` does it; how many bytes of it were of use."""
    writer = PartialFile(world.partial, world.remote, Transfers(None))
    try:
        useful = writer.position
        writer.write(world.download[writer.position :])
        try:
            writer.check()
        except WrongBytesError:
            useful = 0
            writer.restart()
            writer.write(world.download)
            writer.check()
    finally:
        writer.close()
    assert world.partial.read_bytes() == world.download
    world.partial.write_bytes(world.download[:30_000])
    return useful


def damage(world: World, chance: random.Random) -> tuple[str, Path, Path]:
    """One fault; returns its kind, the file, and for a swap the other one."""
    kind, path = chance.choice(KINDS), chance.choice(world.files())
    other = path
    size = path.stat().st_size
    data = bytearray(path.read_bytes())
    at = chance.randrange(max(1, size))
    match kind:
        case "flip" if size:
            data[at] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[:at])
        case "delete":
            path.unlink()
        case "append":
            path.write_bytes(data + chance.randbytes(chance.randrange(1, 9_000)))
        case "zeros":
            page = at // 4096 * 4096
            data[page : page + 4096] = bytes(len(data[page : page + 4096]))
            path.write_bytes(data)
        case "swap":
            other = chance.choice([file for file in world.files() if file != path])
            theirs = other.read_bytes()
            other.write_bytes(data)
            path.write_bytes(theirs)
        case "link":
            target = world.home / "target"
            path.replace(target)
            path.symlink_to(target)
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case "folder":
            path.unlink()
            path.mkdir()
            if chance.random() < 0.5:
                (path / "file").write_bytes(data)
    return kind, path, other


def one_fault(world: World, seed: int, folder: Path, whole: dict[str, object]) -> str:
    """Raises AssertionError where something does not hold; returns how the fault ended."""
    with world.copied(folder / "used") as ours:
        kind, path, other = damage(ours, random.Random(seed))
        converted = any("graphs" in file.parts or file.name == "verified.json" for file in (path, other))
        target = ours.home / "target"
        before = target.read_bytes() if kind == "link" else b""
        faults = examine_caches(ours.settings)
        use(ours, engines=converted)
        assert kind != "link" or target.read_bytes() == before, "a link was followed"
        mend_caches(ours.settings)
        assert not examine_caches(ours.settings)
        use(ours, engines=converted)
    with world.copied(folder / "mended") as ours:
        damage(ours, random.Random(seed))
        assert [fault.subject for fault in examine_caches(ours.settings)] == [fault.subject for fault in faults]
        if faults:
            mend_caches(ours.settings)
            assert not examine_caches(ours.settings)
            assert kind != "link" or target.name in {entry.name for entry in ours.home.iterdir()}
        there = use(ours, engines=converted)
        if not faults and kind not in MAY_BE_ABSENT:
            for name, value in there.items():
                assert name == "download" or value == whole[name], f"{name} is {value}, was {whole[name]}"
        with closing(ours.cache) as cache:
            assert cache.put(world.vectors), "what was mended works"
            assert len(cache.get(list(world.vectors), WIDTH)) == len(world.vectors)
        file = read_project_file(world.outside / "project")
        assert file is not None
        grant(ours.settings.data_home, file.path, file.sha256)
        assert is_trusted(ours.settings.data_home, file.path, file.sha256)
    return "found" if faults else "harmless"


def run(rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """How many faults were found, and how many changed nothing that matters. Raises for the first that went wrong."""
    world = make_world(folder)
    ends: Counter[str] = Counter()
    with world.copied(folder / "whole") as ours:
        assert not examine_caches(ours.settings)
        whole = use(ours, engines=True)
        assert whole["vectors"] == len(world.vectors)
        assert all(value for value in whole.values()), whole
    for number in range(seed, seed + rounds):
        try:
            ends[one_fault(world, number, folder, whole)] += 1
        except Exception as error:
            with world.copied(folder / "again") as ours:
                kind, path, other = damage(ours, random.Random(number))
                error.add_note(f"fault {number}: {kind} of {path.relative_to(ours.home)}, {other.name}")
            raise
    return dict(ends)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps({"rounds": options.rounds, **run(options.rounds, options.seed, Path(scratch))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
