"""What `tp index` reaches of the model's own rate: a whole first index beside embedding the same texts alone.

    scripts/bench index_rate --repo FOLDER [--model NAME] [--rounds 5]

By turns, in one process with the model loaded: the first index of FOLDER into an empty folder (looking, reading,
chunking, symbols, words, embedding, writing), and `EmbeddingModel.embed_documents` of the texts that it embedded, in
calls of 2,048. No kept vectors. The share is the second time over the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from turboprop import EmbeddingModel, Index
from turboprop.embed.documents import IndexingEmbedder
from turboprop.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "index_rate.json"
CALL = 2_048


def measure(repo: Path, name: str | None, rounds: int) -> dict[str, object]:
    settings = replace(load_settings(), embedding_cache=0)
    model = EmbeddingModel.load(name, settings=settings)
    texts: list[str] = []
    embed = IndexingEmbedder.embed_documents

    def noted(self: IndexingEmbedder, wanted: list[str]) -> object:
        texts.extend(wanted)
        return embed(self, wanted)

    whole: list[float] = []
    alone: list[float] = []
    chunks = tokens = 0
    for turn in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            IndexingEmbedder.embed_documents = noted if turn == 0 else embed  # type: ignore[assignment,method-assign]
            begun = time.perf_counter()
            with Index.create(repo, name, index_dir=Path(folder) / "index", settings=settings) as index:
                took = time.perf_counter() - begun
                assert index.summary is not None
                chunks, tokens = index.summary.chunks, index.summary.tokens
        begun = time.perf_counter()
        for at in range(0, len(texts), CALL):
            model.embed_documents(texts[at : at + CALL], overlong="average")
        if turn:  # the first one warms both up
            whole.append(took)
            alone.append(time.perf_counter() - begun)
    shares = [apart / took for took, apart in zip(whole, alone, strict=True)]
    return {
        "model": Path(model.name).name if Path(model.name).is_absolute() else model.name,
        "chunks": chunks,
        "tokens": tokens,
        "cores": os.cpu_count(),
        "index_seconds": statistics.median(whole),
        "embedding_seconds": statistics.median(alone),
        "share": statistics.median(shares),
        "shares": [round(share, 3) for share in shares],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    row = measure(given.repo, given.model, given.rounds)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[f"{row['model']}, {given.repo.name}"] = row
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
