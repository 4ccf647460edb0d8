"""Downloads that are killed at random moments and started again must end with the right bytes.

`python tests/models/kill_and_resume.py [ROUNDS] [SEED]` runs 200 rounds; a test runs a few the same way, because
the server that forks a process's children keeps the environment of the first test that needed it. Each round is a
fresh cache and a new model; its download is killed (SIGKILL) until a try gets through.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from models.hub_server import HubServer
from models.model_files import sentence_transformer

# Slow enough that a kill at random hits the transfer; a model of 1.5 MB then takes about 0.4 s.
BYTES_PER_SECOND = 4e6
SIZE = 1_500_000
MAX_KILLS = 4


def fetch(environment: dict[str, str]) -> None:
    """The whole of a download, in a process that may die at any line of it."""
    os.environ.update(environment)
    from turboprop.models.hub.client import RetryPolicy
    from turboprop.models.hub.download import download_model
    from turboprop.models.naming import HubReference
    from turboprop.settings import load_settings

    download_model(HubReference("o/m"), load_settings(), retry=RetryPolicy(waits=(0.05, 0.1)))


def run(rounds: int, seed: int, folder: Path) -> int:
    """Returns how many downloads were killed; raises where the bytes are wrong or something is left."""
    chance = random.Random(seed)
    # Forked from a process that has the imports done: a round costs its transfer, not the interpreter.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(["models.kill_and_resume", "turboprop.models.hub.download"])
    kills = 0
    with HubServer() as hub:
        hub.faults.bytes_per_second = BYTES_PER_SECOND
        for number in range(rounds):
            files = sentence_transformer(SIZE, seed=seed + number)
            hub.add("o/m", files)
            home = folder / f"round-{number}"
            environment = {
                "HF_HOME": str(home / "hf"),
                "TP_HOME": str(home / "data"),
                "TP_CONFIG": str(home / "none"),
                "HF_ENDPOINT": hub.endpoint,
                "TP_OFFLINE": "0",
            }
            for attempt in range(MAX_KILLS + 1):
                process = context.Process(target=fetch, args=(environment,))
                process.start()
                process.join(chance.uniform(0.02, 0.6) if attempt < MAX_KILLS else None)
                if process.is_alive():
                    process.kill()
                    process.join()
                    kills += 1
                    _expect_nothing_half_made(home, files)
                    continue
                if process.exitcode == 0:
                    break
                raise AssertionError(f"round {number}: the download ended with {process.exitcode}, see above")
            _expect_whole(home, files)
            shutil.rmtree(home)
    return kills


def _visible(home: Path) -> dict[str, Path]:
    root = home / "hf" / "hub" / "models--o--m" / "snapshots"
    found = [path for path in root.glob("*/**/*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(root).as_posix().partition("/")[2]: path for path in found}


def _expect_nothing_half_made(home: Path, files: dict[str, bytes]) -> None:
    """What can be seen under a model's name is right, even while the model is not whole."""
    for name, path in _visible(home).items():
        assert path.read_bytes() == files[name], f"{name} is visible with wrong bytes"


def _expect_whole(home: Path, files: dict[str, bytes]) -> None:
    visible = _visible(home)
    assert {"config.json", "model.safetensors", "1_Pooling/config.json", "tokenizer.json"} <= set(visible)
    _expect_nothing_half_made(home, files)
    assert not list((home / "hf").rglob("*.incomplete")), "a partial file was left beside the whole one"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        kills = run(rounds, seed, Path(folder))
    sys.stdout.write(f"{rounds} rounds, {kills} downloads killed, every byte right\n")


if __name__ == "__main__":
    from models import kill_and_resume  # the workers import it under this name

    kill_and_resume.main()
