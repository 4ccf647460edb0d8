"""Writes an index as a machine would whose locks no other machine sees. Run as a process by test_holder.py.

    python other_machine.py DIRECTORY HOST FILES [SECONDS]

`flock` grants everything to everybody, and the host's name and the system are of HOST. Publishes one file after the
other and prints each; between two of them it waits SECONDS. Ends with 3 where it was refused or stopped.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import time
from pathlib import Path

import numpy as np

from turboprop.errors import IndexBusyError
from turboprop.index import holder
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import Chunk, IndexedFile, Prompts

SPEC = IndexSpec("model", "fingerprint", 8, Prompts(), "chunker")


def write(writer: TableWriter, path: str, texts: list[str]) -> None:
    chunks = [Chunk(path, "python", "function", "", n + 1, n + 1, text) for n, text in enumerate(texts)]
    vectors = np.random.default_rng(len(path)).standard_normal((len(texts), 8)).astype(np.float32)
    writer.begin_file(path)
    writer.add(chunks, [text_digest(text) for text in texts], vectors)
    writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(texts), "python"))


def main(directory: Path, host: str, files: int, seconds: float) -> int:
    fcntl.flock = lambda *_: None  # type: ignore[assignment]
    socket.gethostname = lambda: host
    holder._system = lambda: f"boot of {host}"
    # As before, at five times the pace.
    holder.BEAT_SECONDS, holder.SILENT_SECONDS, holder.SETTLE_SECONDS = 0.2, 1.0, 0.4
    try:
        with TableWriter.open(directory, SPEC) as writer:
            print("writing", flush=True)
            for number in range(files):
                write(writer, f"{host}/{number}.py", [f"{host} {number} {line}\n" for line in range(5)])
                writer.publish(complete=False)
                print(number, flush=True)
                time.sleep(seconds)
            writer.publish()
            writer.maintain()
    except IndexBusyError as error:
        print(error, flush=True)
        return 3
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 0.0))
