"""`tp model inspect` and `tp model check`: what a model's files hold, and whether it runs as it must."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, human_size, printable_name

if TYPE_CHECKING:
    from turboprop.embed.inspect import ModelReport


@click.command()
@click.argument("name")
@options.engine
@options.weights
@options.as_json
def inspect(name: str, engine: str | None, weights: Any, as_json: bool) -> None:
    """What a model's files hold and how it would run here; nothing is loaded or downloaded.

    A model behind an address is asked: what its server is, and which models it has.

    Ends with 0 for any sound file, one that cannot run here included, and with 2 for any other.
    """
    from turboprop.embed.inspect import inspect_model
    from turboprop.models.resolve import resolve
    from turboprop.settings import load_settings

    settings = load_settings()
    local = resolve(name, settings, download=False)
    report = inspect_model(
        local,
        weights,
        engine,
        embedding_engine=settings.engine,
        embedding_weights=settings.weights,
        programs=settings.programs,
    )
    if local.endpoint is not None:
        from turboprop.engines.remote import asked_facts
        from turboprop.models.kind import kind_of

        report = dataclasses.replace(report, metadata=asked_facts(local.endpoint, kind_of(local)))
    if as_json:
        echo_json(dataclasses.asdict(report), default=str)
    else:
        _print(report)


def _print(report: ModelReport) -> None:
    if report.format == "endpoint":
        _print_endpoint(report)
        return
    rows: list[tuple[str, str]] = [
        ("name", report.name),
        ("path", report.path),
        ("format", report.format),
        ("architecture", report.architecture),
        ("kind", report.kind),
        ("size", f"{human_size(report.size)}, {report.parameters:,} parameters"),
        ("tensors", ", ".join(f"{t.tensors} {t.type} ({human_size(t.bytes)})" for t in report.tensors) or "none"),
        ("tokenizer", _tokenizer(report.tokenizer)),
    ]
    if report.context:
        rows.append(("context", plural(report.context, "token")))
    if report.dimensions and report.kind == "embedding":
        rows.append(("dimensions", f"{report.dimensions}" + (f", or {report.widths}" if report.widths else "")))
    if report.pooling and report.kind != "language":
        unit = report.normalize and report.kind == "embedding"
        rows.append(("pooling", " and ".join(report.pooling) + (", unit length" if unit else "")))
    rows += [(f"{side} prompt", repr(prompt)) for side, prompt in report.prompts.items() if prompt]
    if report.runs:
        rows.append(("engine", f"{report.engine}: {report.why}"))
        rows.append(("weights", f"{report.weights}, {human_size(report.memory or 0)} of memory for them"))
    else:
        rows.append(("engine", f"none: {report.why}"))
    for title, text in rows:
        echo(f"{title:<16}{text}")


def _print_endpoint(report: ModelReport) -> None:
    rows = [("name", report.name), ("address", report.path), ("kind", report.kind)]
    rows += [(f"{side} prompt", repr(prompt)) for side, prompt in report.prompts.items() if prompt]
    rows += [(name, str(fact)) for name, fact in report.metadata.items()]
    rows.append(("engine", f"{report.engine or 'none'}: {report.why}"))
    for title, text in rows:
        echo(f"{title:<16}{printable_name(text)}")


def _tokenizer(facts: dict[str, Any]) -> str:
    stated = " ".join(str(facts[key]) for key in ("model", "pre") if key in facts)
    if "error" in facts:
        return f"{stated} cannot be built: {facts['error']}".strip()
    kind = f"{facts['kind']} ({stated})" if stated else facts["kind"]
    return f"{kind}, {plural(facts['tokens'], 'token')}; 'a' becomes {' '.join(map(str, facts['example']))}"


@click.command()
@click.argument("name", required=False)
@options.engine
@options.weights
@options.as_json
@click.pass_context
def check(ctx: click.Context, name: str | None, engine: str | None, weights: Any, as_json: bool) -> None:
    """Run a model's self-test: tokens, prompts, padding, lengths, and golden values where they are known.

    Of a reranker: what a pair becomes, padding, lengths, and whether a fitting text is before an unrelated one.
    Ends with 0 when all is as it must be, 1 when a check fails.
    """
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.models.checkpoint.reranker import is_reranker
    from turboprop.models.resolve import resolve
    from turboprop.settings import load_settings

    settings, progress = load_settings(), transfer_progress()
    if name is not None and is_reranker(resolve(name, settings, progress=progress)):
        from turboprop.rerank.check import check_reranker
        from turboprop.rerank.model import Reranker

        with Reranker.load(name, engine=engine, weights=weights, progress=progress, settings=settings) as reranker:
            checks = check_reranker(reranker)
            facts = {"model": reranker.name, "engine": reranker.engine, "weights": reranker.weights}
    else:
        from turboprop.embed.check import check_model
        from turboprop.embed.model import EmbeddingModel

        with EmbeddingModel.load(
            name, engine=engine, weights=weights, progress=progress, self_test=False, settings=settings
        ) as model:
            checks = check_model(model)
            facts = {"model": model.name, "engine": model.engine, "weights": model.weights}
    failed = [one for one in checks if not one.ok]
    if as_json:
        echo_json({**facts, "ok": not failed, "checks": [dataclasses.asdict(one) for one in checks]})
    else:
        echo(f"{facts['model']} in {facts['engine']} with {facts['weights']} weights")
        for one in checks:
            echo(f"  {'ok' if one.ok else 'FAILED':<7}{one.name}: {one.seen}")
    ctx.exit(1 if failed else 0)
