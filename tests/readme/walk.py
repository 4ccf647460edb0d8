"""The README's install and its three things, word for word, in a home and a repository that are new.

    python tests/readme/walk.py --wheels FOLDER   in a fresh environment, from the wheels in FOLDER (scripts/wheels and
                                                  scripts/model-wheel build them; other packages come from the index)
    python tests/readme/walk.py                   with the `tp` beside this Python, without what pip would install

The three things run without a network where the system can take it away (`unshare`). Ends with 0 when all commands did.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
NO_NETWORK = ("unshare", "--map-root-user", "--net")


def main(arguments: list[str]) -> int:
    """Walk the README; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path)
    given = parser.parse_args(arguments)
    install, *things = blocks((PROJECT / "README.md").read_text("utf-8"))
    offline = subprocess.run([*NO_NETWORK, "true"], check=False, capture_output=True).returncode == 0
    with tempfile.TemporaryDirectory() as place:
        home, repository = Path(place) / "home", Path(place) / "project"
        home.mkdir()
        repository_of(repository)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TP_", "XDG_"))},
            "HOME": str(home),
            "TP_SERVER": "0",  # leaves nothing running behind
        }
        start, before = time.monotonic(), ""
        if given.wheels is not None:
            environment |= {"PIP_FIND_LINKS": str(given.wheels.resolve()), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            run(install, repository, environment, offline=False)
            before = next(line for line in install.splitlines() if "activate" in line).partition("&& ")[2] + "\n"
        else:
            environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        for thing in things:
            pip = "\n".join(line for line in thing.splitlines() if line.startswith("pip "))
            if pip and given.wheels is not None:
                run(before + pip, repository, environment, offline=False)
            rest = "\n".join(line for line in thing.splitlines() if not line.startswith("pip "))
            run(before + rest, repository, environment, offline=offline)
        fetched = "" if given.wheels is None else ", installation included"
        network = "off" if offline else "not taken away: unshare does not work here"
        print(f"the README's things took {time.monotonic() - start:.0f} s{fetched}; network of the three: {network}")
    return 0


def blocks(text: str) -> list[str]:
    """The commands of `Install` and of the three things, in their order."""
    part = text[text.index("\n## Install") : text.index("\n`tp` alone says")]
    found = re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    assert len(found) == 4, f"the README has {len(found)} blocks where install and three things were"
    return found


def repository_of(folder: Path) -> None:
    """A repository as a reader may have one: a part of this project, with a commit."""
    shutil.copytree(
        PROJECT / "src/turboprop/settings", folder / "settings", ignore=shutil.ignore_patterns("__pycache__")
    )
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "Settings in layers")):
        subprocess.run(["git", *words], cwd=folder, check=True)


def run(commands: str, folder: Path, environment: dict[str, str], *, offline: bool) -> None:
    """Run the commands as a reader would; raise `SystemExit` where one fails or says that it failed."""
    print(commands.strip(), flush=True)
    shell = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(
        [*NO_NETWORK, *shell] if offline else shell,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print("\n".join(f"    {line}" for line in done.stdout.strip().splitlines()), flush=True)
    if done.returncode:
        raise SystemExit(f"ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
