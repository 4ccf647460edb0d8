"""Kill what writes the caches at random moments; whatever is left is sound and goes on.

    python tests/embed/stress_kill.py [--rounds 300] [--seed 0]

A round starts one to three processes, each at one task: keeping vectors with a limit so small that most of them are
removed again, exporting, importing, mending a damaged cache, converting a model. They are killed with SIGKILL. Then
every vector must be the right one, nothing may be found wrong that nobody damaged, and the exported file is the one
before or the one after. Prints one line of JSON. A test runs it in a process of its own, because the server that forks
a process's children keeps the environment of the first test that needed it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from engines.loading import load_encoder
from turboprop.embed.cache import FILE, EmbeddingCache, cache_key
from turboprop.embed.cache_file import export_cache, import_cache
from turboprop.embed.cache_health import examine_vectors, mend_vectors
from turboprop.engines.contract import EngineOptions
from turboprop.engines.graph_cache import examine_converted
from turboprop.errors import StorageError
from turboprop.models.checkpoint.hf import open_folder

WIDTH = 64
SMALL = 400_000
"""Bytes of a cache that is full after some 1,600 vectors."""
TASKS = ("keep", "keep", "keep", "export", "import", "mend", "convert")


def right(number: int) -> tuple[bytes, np.ndarray]:
    """The vector of one text, the same in every process."""
    key = cache_key("model", "document", str(number))
    return key, np.frombuffer(key * (WIDTH // len(key)), np.uint8).astype(np.float16)


def vectors(start: int, count: int) -> dict[bytes, np.ndarray]:
    return dict(map(right, range(start, start + count)))


def work(task: str, seed: int, folder: Path, started: Event) -> None:
    """One task again and again, until the process is killed."""
    chance = random.Random(seed)
    started.set()
    path = folder / "cache" / FILE
    while True:
        if task == "convert":
            shutil.rmtree(folder / "cache" / "graphs", ignore_errors=True)
            encode(folder)
            continue
        with closing(EmbeddingCache(path, SMALL)) as cache:
            try:
                match task:
                    case "keep":
                        for _ in range(20):
                            cache.put(vectors(chance.randrange(100_000), chance.randrange(1, 400)))
                    case "export":
                        export_cache(cache, folder / "exported")
                    case "import":
                        import_cache(cache, folder / "given")
                    case "mend":
                        damage(path, chance)
                        mend_vectors(path)
            except StorageError:  # locked for long, or replaced meanwhile
                pass


def damage(path: Path, chance: random.Random) -> None:
    """One page of the database is overwritten, but not the first: that would begin anew."""
    # Another process that met the damage before may have begun anew.
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size > 100_000:
            file.seek(chance.randrange(32_768, size - 1_000))
            file.write(chance.randbytes(200))


def encode(folder: Path) -> np.ndarray:
    options = EngineOptions(weights="int8", threads=1, cache_home=folder / "cache")
    encoder = load_encoder(open_folder(folder / "model"), "native", options)
    try:
        return encoder.encode(pack(INPUTS))
    finally:
        encoder.close()


def check(folder: Path, damaged: bool, wanted: np.ndarray) -> int:
    """Raises where something is wrong; how many vectors there are."""
    path = folder / "cache" / FILE
    faults = examine_vectors(path)
    assert damaged or not faults, faults
    if faults:
        mend_vectors(path)
        assert not examine_vectors(path)
    known = vectors(0, 100_500)
    with closing(EmbeddingCache(path, SMALL)) as cache:
        found = list(cache.entries())
        for key, vector in found:
            assert vector == known[key].tobytes()
        # What a cache without a table or a whole one keeps.
        some = vectors(5, 10)
        assert cache.put(some)
        assert cache.get(list(some), WIDTH).keys() == some.keys()
    with closing(EmbeddingCache(folder / "other.sqlite", 10**9)) as other:
        import_cache(other, folder / "exported")
        for key, vector in other.entries():
            assert vector == known[key].tobytes()
        other.clear()
    assert not examine_converted(folder / "cache")
    np.testing.assert_array_equal(encode(folder), wanted)
    return len(found)


def run(rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """How often each task was killed. Raises where something is wrong afterwards."""
    chance = random.Random(seed)
    kills: Counter[str] = Counter()
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    MODELS["bert"].save(folder / "model")
    wanted = encode(folder)
    with closing(EmbeddingCache(folder / "cache" / FILE, 10**9)) as cache:
        cache.put(vectors(0, 3_000))
        export_cache(cache, folder / "given")
        export_cache(cache, folder / "exported")
    most = 0
    for number in range(rounds):
        tasks = chance.sample(TASKS, chance.randint(1, 3))
        events = [context.Event() for _ in tasks]
        processes = [
            context.Process(target=work, args=(task, 10 * number + place, folder, events[place]))
            for place, task in enumerate(tasks)
        ]
        for process in processes:
            process.start()
        for event in events:
            event.wait()
        time.sleep(chance.uniform(0.0, 0.6))
        for process, task in zip(processes, tasks, strict=True):
            assert process.is_alive(), f"{task} of round {number} ended by itself"
            process.kill()
            process.join()
            kills[task] += 1
        most = max(most, check(folder, "mend" in tasks, wanted))
    half_written = [*folder.glob(".new-*"), *folder.glob("cache/.new-*"), *folder.glob("cache/graphs/.new-*")]
    return {**kills, "most_vectors": most, "half_written": len(half_written)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps({"rounds": options.rounds, **run(options.rounds, options.seed, Path(scratch))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
