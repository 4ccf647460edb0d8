"""From a long report to the file that its fix touched: words, vectors, both, and what each rule for long queries earns.

    scripts/bench localize --corpora DIR [--indexes DIR] [--model NAME] [--only NAMES]
        [--modes hybrid,...] [--issues FILE]

The set is benchmarks/localize.json (made by benchmarks/localize_set.py): fixes of public repositories, held out by
time. DIR/<name> is a clone of each with its history. What was there before the first of its fixes is indexed, with the
history until then; the message of a fix is the query. With `--model none` words alone are measured.

R@1, R@3, R@10 and MRR of the first touched file among the first 50 files, over all queries. Differences have the 95%
interval of 2,000 bootstrap samples of the queries. --issues takes issues in the form of SWE-bench (JSON lines) whose
repositories are under DIR by their bare names: each is searched at its own commit. Results go to
benchmarks/results/localize.json.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from localize_set import RESULT as SET
from localize_set import git, query_of
from turboprop import Index
from turboprop.limits import Mode
from turboprop.search import analysis
from turboprop.search.places import gist
from turboprop.search.ranking import DEFAULT, Weights, without
from turboprop.search.search import search
from turboprop.workspace.together import embedded

RESULTS = Path(__file__).parent / "results" / "localize.json"
DEPTH, SAMPLES = 50, 2_000
NEVER = 1_000_000
RULES = ("definition_report", "said_before")
"""The rules for reports alone; the weight of the title, which is none of `Weights`, is the third."""


@dataclass
class Case:
    """A query with the files that its fix touched, and its vectors: as it is embedded, and without its title's."""

    text: str
    files: set[str]
    index: Index
    vector: NDArray[np.float32] | None
    plain: NDArray[np.float32] | None


def cases(options: argparse.Namespace) -> Iterator[tuple[str, list[Case]]]:
    """The queries of each repository that is there."""
    for name, one in json.loads(SET.read_text()).items():
        root = options.corpora / name
        if not root.is_dir() or (options.only and name not in options.only.split(",")):
            print(f"left out: {name}", file=sys.stderr)
            continue
        index = indexed(root, name, one["base"], options)
        texts = [(query_of(git(root, "log", "-1", "--format=%B", fix["commit"])), fix["files"]) for fix in one["fixes"]]
        yield name, [case(text, files, index) for text, files in texts]
    if options.issues:
        issues = [json.loads(line) for line in options.issues.read_text().splitlines()]
        found = []
        for issue in issues:
            root = options.corpora / issue["repo"].rpartition("/")[2]
            index = indexed(root, issue["instance_id"], issue["base_commit"], options)
            touched = re.findall(r"^diff --git a/(\S+) b/", issue["patch"], re.MULTILINE)
            found.append(case(issue["problem_statement"], touched, index))
        yield "issues", found


def indexed(root: Path, name: str, commit: str, options: argparse.Namespace) -> Index:
    """The index of a clone at one commit, with the history until then."""
    folder = options.indexes / "of" / name
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", root, folder], check=True)
    git(folder, "checkout", "-q", "--detach", commit)
    index = Index.create(folder, options.model, index_dir=options.indexes / name, upkeep=True)
    history = index.reader.history()
    commits = history.commits if history is not None else 0
    print(f"{name}: {index.reader.rows:,} chunks, {commits:,} commits that touch them", file=sys.stderr)
    return index


def case(text: str, files: list[str], index: Index) -> Case:
    if not index.has_model:
        return Case(text, set(files), index, None, None)
    with index.embedding() as lease:
        return Case(text, set(files), index, embedded(lease, text), lease.embed_query(gist(text)[:20_000]))


def ranks(every: list[Case], mode: Mode, weights: Weights = DEFAULT, *, title: bool = True) -> NDArray[np.int64]:
    """The place of the first touched file for each query, `NEVER` where it is not among the first `DEPTH`."""
    found = []
    before, analysis.TITLE_WEIGHT = analysis.TITLE_WEIGHT, analysis.TITLE_WEIGHT if title else 1.0
    for one in every:
        vector = one.vector if title else one.plain
        hits = search(one.index.reader, one.text, vector, limit=DEPTH, mode=mode, by="file", weights=weights)
        found.append(next((at for at, hit in enumerate(hits, 1) if hit.path in one.files), NEVER))
    analysis.TITLE_WEIGHT = before
    return np.array(found)


def figures(places: NDArray[np.int64]) -> dict[str, float]:
    reached = {f"R@{k}": round(float((places <= k).mean()), 4) for k in (1, 3, 10)}
    return {**reached, "MRR": round(float(gains(places).mean()), 4)}


def gains(places: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(places < NEVER, 1 / places, 0.0)


def gained(places: NDArray[np.int64], before: NDArray[np.int64]) -> dict[str, list[float]]:
    """What MRR and R@3 gain, each with its 95% interval."""
    chosen = np.random.default_rng(0).integers(0, len(places), (SAMPLES, len(places)))
    table = {}
    for name, values in {
        "MRR": gains(places) - gains(before),
        "R@3": (places <= 3).astype(float) - (before <= 3),
    }.items():
        means = values[chosen].mean(axis=1)
        table[name] = [round(float(each), 4) for each in (values.mean(), *np.quantile(means, [0.025, 0.975]))]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--indexes", type=Path, default=Path(tempfile.gettempdir()) / "tp-bench-localize")
    parser.add_argument("--model")
    parser.add_argument("--only", help="names of repositories, by commas")
    parser.add_argument("--modes", default="lexical,semantic,hybrid")
    parser.add_argument("--issues", type=Path)
    options = parser.parse_args()
    options.corpora = options.corpora.resolve()
    grouped = dict(cases(options))
    issues = grouped.pop("issues", [])
    every = [one for group in grouped.values() for one in group]
    plain = without_all()
    modes: list[Mode] = ["lexical"] if options.model == "none" else options.modes.split(",")
    result: dict[str, Any] = {"repositories": {name: len(group) for name, group in grouped.items()}}
    for mode in modes:
        before, now = ranks(every, mode, plain, title=False), ranks(every, mode)
        told = {"without rules": figures(before), "now": figures(now), "gained": gained(now, before)}
        rows = {rule: ranks(every, mode, without(rule)) for rule in RULES} | {"title": ranks(every, mode, title=False)}
        told["each rule"] = {rule: gained(now, places) for rule, places in rows.items()}
        told["repositories"] = {}
        begin = 0
        for name, group in grouped.items():
            part = slice(begin, begin := begin + len(group))
            told["repositories"][name] = [figures(before[part]), figures(now[part])]
        if issues:
            told["issues"] = [ranks(issues, mode, plain, title=False).tolist(), ranks(issues, mode).tolist()]
        result[mode] = told
        print(json.dumps({mode: told}, indent=1))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    model = every[0].index.model_name if every else "none"
    RESULTS.write_text(json.dumps({**kept, f"{commit.stdout.strip()} {model}": result}, indent=1) + "\n")


def without_all() -> Weights:
    """The weights with all rules for reports switched off."""
    weights = DEFAULT
    for rule in RULES:
        weights = replace(weights, **{rule: getattr(without(rule), rule)})
    return weights


if __name__ == "__main__":
    main()
