"""Edit a repository, kill `tp index` at a random moment, run it again; at the end compare with a fresh index.

    python tests/index/stress_kill.py --repo FOLDER [--rounds 300] [--seed 0] [--model NAME] [--beside warm|mcp]
                                      [--fix] [--anew]

FOLDER is copied first. A round edits, adds, renames and removes files, starts `tp index` (with --fix every third
time `tp doctor --fix` on an index that was damaged) and kills it with SIGKILL; what readers see must then be whole.
Every other round, on average, is run again to its end, so that kills also meet what killed runs left. `--beside`
keeps a program that brings in changes by itself alive meanwhile, and asks it in each round: the warm server through
`tp search`, or an MCP server with its background refresh; one round in ten kills that, too. `--anew` removes the index
every fourth round: where FOLDER takes over ten seconds to embed, words come first then, and kills meet both parts of
a run. The vectors that a user keeps are switched off: each index embeds for itself. Prints one line of JSON and ends
with 1 where anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from turboprop.errors import IndexNotFoundError
from turboprop.index.read import IndexReader

ENDINGS = (".py", ".md", ".c", ".h", ".rs", ".go", ".js", ".ts", ".java", ".toml", ".txt")
Rows = dict[tuple[str, int, int, str], list[float]]


def tp(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "turboprop", *map(str, arguments)]


def edit(root: Path, source: random.Random, turn: int) -> None:
    """One to six changes to files that are indexed."""
    files = sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and ".turboprop" not in path.parts)
    for number in range(source.randint(1, 6)):
        file = source.choice(files)
        lines = file.read_text("utf-8", "replace").splitlines(keepends=True) if file.exists() else []
        place = source.randrange(len(lines) + 1)
        kind = source.random()
        if kind < 0.6:
            lines[place:place] = [f"def turn_{turn}_{number}(value):\n", f"    return value + {turn}\n", "\n"]
            file.write_text("".join(lines), "utf-8")
        elif kind < 0.7:
            file.write_text("".join(lines[:place] + lines[place + 10 :]), "utf-8")
        elif kind < 0.8 and file.exists():
            file.rename(file.with_name(f"moved_{turn}_{number}{file.suffix}"))
        elif kind < 0.95:
            file.with_name(f"new_{turn}_{number}.py").write_text("".join(lines[:60]) + f"VALUE = {turn}\n", "utf-8")
        else:
            file.unlink(missing_ok=True)


def rows_of(directory: Path) -> Rows:
    with IndexReader.open(directory) as reader:
        columns = ["path", "start_line", "end_line", "text", "symbols", "vector"]
        table = reader.rows_where("start_line > 0", columns)
    return {
        (row["path"], row["start_line"], row["end_line"], row["text"] + row["symbols"]): row["vector"] for row in table
    }


def check_whole(directory: Path) -> bool:
    """Whether there is an index; raises where rows and manifest differ."""
    try:
        with IndexReader.open(directory) as reader:
            manifest = reader.manifest()
            if manifest.header.version == reader.header.version:
                assert reader.rows == sum(file.chunks for file in manifest.files.values())
        return True
    except IndexNotFoundError:
        return False


def damage(directory: Path, source: random.Random) -> None:
    """Flip a bit of a file that an index rests on."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size > 100]
    if files:
        file = source.choice(sorted(files))
        content = bytearray(file.read_bytes())
        content[source.randrange(len(content))] ^= 1 << source.randrange(8)
        file.write_bytes(content)


class Warm:
    """The warm server of a user with a cache of its own, asked by `tp search`."""

    def __init__(self, root: Path, scratch: Path, environment: dict[str, str]) -> None:
        self._environment = {**environment, "TP_SERVER": "1", "XDG_RUNTIME_DIR": str(scratch)}
        self._command = tp("search", "value of a turn", "--repo", root, "--limit", "3")
        self._waiting: list[subprocess.Popen[bytes]] = []
        (scratch / "turboprop").mkdir(mode=0o700)

    def ask(self) -> None:
        """Begin a search; it goes on beside what is killed."""
        self._waiting.append(
            subprocess.Popen(self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        )

    def answered(self) -> int:
        """Wait for the searches; those that answered, or said why not in words."""
        for process in self._waiting:
            errors = process.communicate()[1]
            assert process.returncode in (0, 1, 2), errors.decode()
            assert b"Traceback" not in errors and b"defect" not in errors, errors.decode()
        count, self._waiting = len(self._waiting), []
        return count

    def kill(self) -> None:
        told = subprocess.run(tp("daemon", "status", "--json"), env=self._environment, capture_output=True, check=False)
        if told.stdout.strip() and (pid := json.loads(told.stdout).get("pid")):
            os.kill(pid, 9)

    def close(self) -> None:
        self.answered()
        subprocess.run(tp("daemon", "stop"), env=self._environment, capture_output=True, check=False)


class Mcp:
    """An MCP server over standard input and output, whose background refresh is always due."""

    def __init__(self, root: Path, _: Path, environment: dict[str, str]) -> None:
        self._command, self._environment = tp("mcp", "--repo", root), {**environment, "TP_SERVER": "0"}
        self._process: subprocess.Popen[bytes] | None = None
        self._sent = 0

    def _send(self, message: dict[str, object]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self) -> None:
        """Begin a reindex and a search."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
            self._send({"id": 0, "method": "initialize", "params": hello})
            self._send({"method": "notifications/initialized"})
            self._sent += 1
        for name, arguments in (("reindex", {}), ("search_code", {"query": "value of a turn"})):
            self._sent += 1
            self._send({"id": self._sent, "method": "tools/call", "params": {"name": name, "arguments": arguments}})

    def answered(self) -> int:
        if self._process is None:
            return 0
        assert self._process.stdout is not None
        count = 0
        while self._sent:
            message = json.loads(self._process.stdout.readline())
            if "id" in message:
                assert "result" in message, message
                assert "defect" not in json.dumps(message), message
                count, self._sent = count + 1, self._sent - 1
        return count

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self._sent = None, 0

    def close(self) -> None:
        if self._process is not None:
            self.answered()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--beside", choices=["warm", "mcp"])
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--anew", action="store_true")
    options = parser.parse_args()
    source = random.Random(options.seed)
    environment = {**os.environ, "TP_OFFLINE": "1", "TP_EMBEDDING_CACHE": "0"}
    model = ["--model", options.model] if options.model else []
    killed = ended = asked = 0
    met = {"reading": 0, "waiting": 0, "whole": 0}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "repository"
        shutil.copytree(options.repo, root, ignore=shutil.ignore_patterns(".turboprop", ".git"), symlinks=True)
        directory = root / ".turboprop"
        command = tp("index", "--repo", root, *model)
        beside = (
            {"warm": Warm, "mcp": Mcp}[options.beside](root, Path(scratch), environment) if options.beside else None
        )
        longest = 3.0
        for turn in range(options.rounds):
            edit(root, source, turn)
            if options.anew and turn % 4 == 0:
                shutil.rmtree(directory, ignore_errors=True)
            if beside is not None:
                beside.ask()
            what = command
            if options.fix and turn % 3 == 2:
                damage(directory, source)
                what = tp("doctor", "--fix", "--repo", root)
            process = subprocess.Popen(what, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            # From the imports to the moment after the last write, whatever the machine.
            time.sleep(source.uniform(0.05, longest * 1.1))
            if process.poll() is None:
                killed += 1
            process.kill()
            errors = process.communicate()[1]
            # Busy is an answer where somebody else writes.
            fine = (0, -9) if beside is None else (0, 2, -9)
            assert process.returncode in fine and b"defect" not in errors, errors.decode()
            ended += process.returncode != -9
            if turn % 10 == 9:
                print(f"{turn + 1} rounds, {killed} killed, {asked} answers", file=sys.stderr, flush=True)
            if beside is not None:
                if turn % 10 == 9:
                    beside.kill()
                asked += beside.answered()
            if what is command:
                if check_whole(directory):
                    with IndexReader.open(directory) as reader:
                        met[
                            "waiting" if reader.header.waiting else "reading" if not reader.header.complete else "whole"
                        ] += 1
            else:  # killed in the middle of a repair: another one must do it
                done = subprocess.run(what, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                assert check_whole(directory)
            if source.random() < 0.5:
                begun = time.monotonic()
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
                longest = min(120.0 if options.anew else 30.0, 0.7 * longest + 0.3 * (time.monotonic() - begun))
                assert check_whole(directory)
        if beside is not None:
            beside.close()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        fresh = Path(scratch) / "fresh"
        subprocess.run([*command, "--index", str(fresh)], env=environment, check=True, stdout=subprocess.DEVNULL)
        ours, theirs = rows_of(directory), rows_of(fresh)
        both = ours.keys() & theirs.keys()
        apart = max((float(np.abs(np.subtract(ours[key], theirs[key])).max()) for key in both), default=0.0)
    result = {
        "rounds": options.rounds,
        "beside": options.beside,
        "answers_beside": asked,
        "killed": killed,
        "ended_before_the_kill": ended,
        "found_after_it": met,
        "rows": len(ours),
        "rows_of_a_fresh_index": len(theirs),
        "same_chunks": ours.keys() == theirs.keys(),
        "largest_difference_of_a_vector": apart,
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(result))
    return 0 if result["same_chunks"] and apart <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
