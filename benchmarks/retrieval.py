"""Does the search find it? Quality on public benchmarks, through the product's own path.

    scripts/bench retrieval --corpora DIR --labels DIR [--model NAME] [--ablate] [--leave-one-out]

- semble: repositories checked out under DIR/<name> at the pins of LABELS/semble/repos.json; only `benchmark_root` is
  indexed. NDCG@10 in chunk mode, macro-averaged over repositories; by kind of question, by language beside the best
  published figure (LABELS/semble/published.json), and over the first nine repositories, which rules were tried on.
- CoSQA (LABELS/cosqa_dev.json): each function one file; mean reciprocal rank.
- issue to file (LABELS/swebench_flask.jsonl): a history of the repository under DIR/flask; the rank of the first file
  that the fix touched, issue text as the query.

What is missing is left out and said so. Results go to benchmarks/results/retrieval.json, keyed by commit, and are
compared with the last ones. Indexes are kept in --indexes, so a second run embeds nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from retrieval_score import Found, Label, category, labels, macro, ndcg
from turboprop import Index
from turboprop.search.analysis import Query, analyse
from turboprop.search.candidates import cosine_statistics, find_candidates, word_statistics
from turboprop.search.ranking import DEFAULT, Candidates, Weights, rank, without
from turboprop.search.search import search

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
FIRST = 9
"""The repositories at the head of repos.json that the rules were tried on before the others came."""
MODES = ("hybrid", "lexical", "semantic")
GRID: dict[str, tuple[float, ...]] = {
    "dense": (0.7, 1.3),
    "dense_symbol": (0.1, 1.0),
    "file_name": (0.4, 0.8),
    "file_name_recall": (0.1, 0.5, 0.8),
    "file_words": (0.1, 0.3),
    "folder": (0.1, 0.4),
    "definition": (0.4, 0.8),
    "coherence": (0.2, 0.5),
    "tests": (0.2, 0.6),
    "prose": (0.2, 0.6),
    "diversity": (0.15, 0.5),
}


@dataclass
class Case:
    """A query with its labels, and what the two sides found for it."""

    kind: str
    labels: list[Label]
    query: Query
    found: dict[str, Candidates]


@dataclass
class Repository:
    """An opened index of one checkout, and its queries."""

    name: str
    language: str
    prefix: str
    index: Index
    cases: list[Case]
    index_seconds: float
    milliseconds: dict[str, list[float]]

    def score(self, weights: Weights, mode: str) -> list[tuple[str, float]]:
        """Category and NDCG@10 of every query."""
        lexicon, lines = self.index.reader.lexicon, self._lines
        rows = []
        for case in self.cases:
            ranked = rank(case.query, lexicon, case.found[mode], None, weights)[:10]
            hits = [Found(self.prefix + lines[one.row][0], *lines[one.row][1:]) for one in ranked]
            rows.append((case.kind, ndcg(hits, case.labels)))
        return rows

    def load_lines(self) -> None:
        reader = self.index.reader
        rows = reader.fetch(reader.lexicon.row_ids.tolist(), ["path", "start_line", "end_line"])
        self._lines = [(row["path"], row["start_line"], row["end_line"]) for row in rows]


def open_repository(entry: dict[str, Any], options: argparse.Namespace) -> Repository:
    inside = "" if options.whole else entry.get("benchmark_root") or ""
    root = options.corpora / entry["name"] / inside
    started = time.perf_counter()
    index = Index.create(root, options.model, index_dir=options.indexes / (entry["name"] + "-whole" * options.whole))
    seconds = time.perf_counter() - started
    prefix = f"{inside}/" if inside else ""
    items = json.loads((options.labels / "semble" / "annotations" / f"{entry['name']}.json").read_text())
    model = index.embedding().model
    repository = Repository(entry["name"], entry["language"], prefix, index, [], seconds, {mode: [] for mode in MODES})
    for item in items:
        vector = model.embed_query(item["query"])
        query, found = analyse(item["query"]), {}
        for mode in MODES:
            found[mode] = find_candidates(
                index.reader,
                query,
                None if mode == "lexical" else vector,
                word_statistics(query, [index.reader.lexicon]),
                cosine_statistics([index.reader.lexicon.sample], vector),
                by_words=mode != "semantic",
                where=None,
            )
            started = time.perf_counter()
            hits = search(index.reader, item["query"], vector, mode=mode)
            repository.milliseconds[mode].append((time.perf_counter() - started) * 1e3)
            assert len(hits) <= 10
        repository.cases.append(Case(category(item), labels(item), query, found))
    repository.load_lines()
    return repository


def overall(repositories: list[Repository], weights: Weights, mode: str) -> dict[str, Any]:
    """Macro averages: over all queries, by category, by repository."""
    scored = {one.name: one.score(weights, mode) for one in repositories}
    rows = [(name, kind, value) for name, scores in scored.items() for kind, value in scores]
    kinds = sorted({kind for _, kind, _ in rows})
    return {
        "ndcg@10": round(macro((name, value) for name, _, value in rows), 4),
        "categories": {k: round(macro((n, v) for n, kind, v in rows if kind == k), 4) for k in kinds},
        "repositories": {name: round(statistics.fmean(v for _, v in scores), 4) for name, scores in scored.items()},
    }


def by_language(
    repositories: list[Repository], reached: dict[str, float], published: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """The mean of each language's repositories, and the best published one over the same repositories."""
    table = {}
    for language in sorted({one.language for one in repositories}):
        names = [one.name for one in repositories if one.language == language]
        others = [
            statistics.fmean(figures[name]["ndcg10"] for name in names)
            for figures in published.values()
            if all(name in figures for name in names)
        ]
        table[language] = {
            "ndcg@10": round(statistics.fmean(reached[name] for name in names), 4),
            "best published": round(max(others), 4) if others else float("nan"),
        }
    return table


def ablation(repositories: list[Repository]) -> dict[str, dict[str, float]]:
    """NDCG@10 lost by switching each rule off, by mode; negative where the rule harms."""
    table: dict[str, dict[str, float]] = {}
    base = {mode: overall(repositories, DEFAULT, mode)["ndcg@10"] for mode in ("hybrid", "lexical")}
    for rule in (field.name for field in fields(Weights)):
        table[rule] = {
            mode: round(base[mode] - overall(repositories, without(rule), mode)["ndcg@10"], 4) for mode in base
        }
    return table


def leave_one_out(repositories: list[Repository], mode: str) -> dict[str, Any]:
    """The mean over repositories of what weights reach that were fitted on those of all other languages (one pass of
    coordinate search)."""
    means: dict[Weights, dict[str, float]] = {}

    def by_repository(weights: Weights) -> dict[str, float]:
        if weights not in means:
            means[weights] = {
                one.name: statistics.fmean(value for _, value in one.score(weights, mode)) for one in repositories
            }
        return means[weights]

    def fitted(left_out: str) -> Weights:
        best = DEFAULT
        for name, choices in GRID.items():
            for value in choices:
                tried = replace(best, **{name: value})
                gain = sum(
                    by_repository(tried)[one.name] - by_repository(best)[one.name]
                    for one in repositories
                    if one.language != left_out
                )
                if gain > 1e-4 * len(repositories):
                    best = tried
        return best

    weights = {language: fitted(language) for language in {one.language for one in repositories}}
    reached = {one.name: by_repository(weights[one.language])[one.name] for one in repositories}
    return {"ndcg@10": round(statistics.fmean(reached.values()), 4)}


def cosqa(path: Path, options: argparse.Namespace) -> dict[str, float]:
    """Mean reciprocal rank over functions, each a file of its own."""
    data = json.loads(path.read_text())
    # Kept, as an index belongs to its folder.
    folder = options.indexes / "of" / "cosqa"
    folder.mkdir(parents=True, exist_ok=True)
    for number, code in enumerate(data["codes"]):
        if not (file := folder / f"{number}.py").exists():
            file.write_text(code, "utf-8")
    with Index.create(folder, options.model, index_dir=options.indexes / "cosqa") as index:
        ranks: dict[str, list[float]] = {mode: [] for mode in MODES}
        for item in data["queries"]:
            for mode in MODES:
                hits = index.search(item["query"], 100, mode)
                paths = list(dict.fromkeys(hit.path for hit in hits))
                wanted = {f"{number}.py" for number in item["relevant"]}
                rank_of = next((at for at, name in enumerate(paths, start=1) if name in wanted), None)
                ranks[mode].append(1 / rank_of if rank_of else 0.0)
    return {mode: round(statistics.fmean(values), 4) for mode, values in ranks.items()}


def issue_to_file(path: Path, history: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The rank of the first file that the fix touched, for each issue at its own commit."""
    ranks = []
    for line in path.read_text().splitlines():
        issue = json.loads(line)
        touched = set(re.findall(r"^diff --git a/(\S+) b/", issue["patch"], re.MULTILINE))
        folder = options.indexes / "of" / issue["instance_id"]
        if not folder.exists():
            tree = subprocess.run(
                ["git", "-C", history, "archive", issue["base_commit"]], capture_output=True, check=False
            )
            if tree.returncode:
                continue
            folder.mkdir(parents=True)
            subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)
        with Index.create(folder, options.model, index_dir=options.indexes / issue["instance_id"]) as index:
            hits = index.search(issue["problem_statement"], 50)
        paths = list(dict.fromkeys(hit.path for hit in hits))
        ranks.append(next((at for at, name in enumerate(paths, start=1) if name in touched), None))
    return {"issues": len(ranks), "ranks": ranks}


def table_rows(table: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "| rule | both | words |\n|---|---|---|"
    for rule, lost in table.items():
        yield f"| {rule} | {lost['hybrid']:+.4f} | {lost['lexical']:+.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, default=Path(tempfile.gettempdir()) / "tp-bench-indexes")
    parser.add_argument("--model")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--leave-one-out", action="store_true", help="fit the weights without each language in turn")
    parser.add_argument("--whole", action="store_true", help="index whole checkouts: tests, examples and docs too")
    parser.add_argument("--only", help="names of repositories, by commas")
    options = parser.parse_args()
    options.corpora = options.corpora.resolve()
    entries = json.loads((options.labels / "semble" / "repos.json").read_text())
    wanted = set(options.only.split(",")) if options.only else {entry["name"] for entry in entries}
    entries = [entry for entry in entries if entry["name"] in wanted]
    here = [entry for entry in entries if (options.corpora / entry["name"]).is_dir()]
    for entry in entries:
        if entry not in here:
            print(f"left out: {entry['name']} is not under {options.corpora}", file=sys.stderr)
    repositories = []
    for entry in here:
        repositories.append(open_repository(entry, options))
        print(f"{entry['name']}: {repositories[-1].index_seconds:.1f} s to index", file=sys.stderr)
    result: dict[str, Any] = {"model": repositories[0].index.model_name}
    for mode in MODES:
        times = [value for one in repositories for value in one.milliseconds[mode]]
        result[mode] = {
            **overall(repositories, DEFAULT, mode),
            "query_p50_ms": round(statistics.median(times), 1),
            "query_p95_ms": round(float(np.quantile(times, 0.95)), 1),
        }
    reached = result["hybrid"]["repositories"]
    published = json.loads((options.labels / "semble" / "published.json").read_text())
    result["hybrid"]["languages"] = by_language(repositories, reached, published)
    first = [entry["name"] for entry in json.loads((options.labels / "semble" / "repos.json").read_text())[:FIRST]]
    for name, values in {
        "first nine": [value for one, value in reached.items() if one in first],
        "others": [value for one, value in reached.items() if one not in first],
    }.items():
        if values:
            result["hybrid"][name] = round(statistics.fmean(values), 4)
    result["index_seconds"] = {one.name: round(one.index_seconds, 1) for one in repositories}
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    if (file := options.labels / "cosqa_dev.json").exists():
        result["cosqa_mrr"] = cosqa(file, options)
    if (file := options.labels / "swebench_flask.jsonl").exists() and (options.corpora / "flask" / ".git").exists():
        result["issue_to_file"] = issue_to_file(file, options.corpora / "flask", options)
    if options.leave_one_out:
        result["leave_one_out"] = {mode: leave_one_out(repositories, mode) for mode in ("hybrid", "lexical")}
    if options.ablate:
        result["ablation"] = ablation(repositories)
        print("\n".join(table_rows(result["ablation"])))
    keep(result, options.whole)


def keep(result: dict[str, Any], whole: bool) -> None:
    """Add to the results under the commit, and say what changed since the last."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    name = f"{commit.stdout.strip() or 'no commit'} {result['model']}{' whole checkouts' if whole else ''}"
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    ending = name.partition(" ")[2]
    last = next((kept[key] for key in reversed(kept) if key.partition(" ")[2] == ending), None)
    print(json.dumps({name: result}, indent=1))
    for mode in MODES:
        if last is not None:
            change = result[mode]["ndcg@10"] - last[mode]["ndcg@10"]
            print(f"{mode}: {result[mode]['ndcg@10']:.4f} ({change:+.4f} since the last run)", file=sys.stderr)
    kept.pop(name, None)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**kept, name: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
