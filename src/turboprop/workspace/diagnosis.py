"""`tp doctor`: everything that an index needs to be trusted, each finding with its repair."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turboprop.embed.cache import FILE, EmbeddingCache
from turboprop.embed.caches import examine_caches, mend_caches
from turboprop.embed.check import check_model
from turboprop.engines.registry import engines_here
from turboprop.errors import EndpointError, IndexDamagedError, IndexNotFoundError, TurboPropError
from turboprop.index.health import FOREIGN, Finding, IndexFacts, examine, remove_leftover
from turboprop.machine import available_bytes
from turboprop.models.catalog import load_catalog
from turboprop.models.endpoint import is_address
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.models.store.verify import examine_model
from turboprop.settings import Settings, mistyped_variables
from turboprop.types import CacheFault, IndexStatus
from turboprop.workspace.index import Index
from turboprop.workspace.location import Location

_LEAST_DISK = 500_000_000
_LEAST_MEMORY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at and what was found; no finding means that all is well. Sizes in bytes."""

    directory: Path
    tables: list[IndexFacts] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    engines: dict[str, list[str]] = field(default_factory=dict)
    """Installed engines, each with its devices."""
    disk_free: int = 0
    memory_free: int | None = None


def diagnose(location: Location, state: IndexStatus | None = None) -> Diagnosis:
    """Look at the index of a repository, its model, the cache and the machine; at its files only without `state`,
    which says what differs."""
    root, directory, settings = location.root, location.directory, location.settings
    tables, findings = examine(directory)
    # Before a model is loaded, which would begin anew what is damaged and lose what of it is sound.
    findings += [_of_caches(fault) for fault in examine_caches(settings)]
    found = Diagnosis(directory, tables, findings)
    if tables and not any(finding.repair == "rebuild" for finding in findings):
        findings += _stale(location, state)
        findings += _model(location, found.model)
    findings += _endpoints(settings)
    cache = EmbeddingCache(settings.cache_home / FILE, settings.embedding_cache)
    stats = cache.stats()
    cache.close()
    found.cache.update(path=str(stats.path), vectors=stats.vectors, bytes=stats.bytes, limit=stats.limit)
    findings += [
        Finding(
            "settings", f"nothing reads the variable {name}", f"if {near} is meant, name it so; else it does no harm"
        )
        for name, near in mistyped_variables(os.environ).items()
    ]
    free = shutil.disk_usage(directory if directory.exists() else root).free
    memory = available_bytes()
    if free < _LEAST_DISK:
        findings.append(Finding("disk", f"{free / 1e6:.0f} MB are left", "make room before the next tp index"))
    if memory is not None and memory < _LEAST_MEMORY:
        findings.append(Finding("memory", f"{memory / 1e6:.0f} MB are free", "close other programs or take --memory"))
    return Diagnosis(
        directory, tables, findings, found.model, found.cache, engines_here(settings.programs), free, memory
    )


def repair(location: Location, diagnosis: Diagnosis) -> None:
    """Do what the findings advise: remove leftovers, bring up to date, and where that is not enough, make anew."""
    for finding in diagnosis.findings:
        if finding.repair == "remove":
            remove_leftover(diagnosis.directory, finding)
    if any(finding.repair == "caches" for finding in diagnosis.findings):
        mend_caches(location.settings)
    if any(finding.subject == FOREIGN for finding in diagnosis.findings):
        return  # whether that index goes is the user's word
    anew = [finding.model for finding in diagnosis.findings if finding.repair == "rebuild"]
    runs = [finding for finding in diagnosis.findings if finding.repair in ("index", "maintain")]
    if runs and not anew:
        tables = [table.model if table.made_here else "" for table in diagnosis.tables[-1:]]
        model = next(filter(None, [*(finding.model for finding in runs), *tables]), "")
        try:
            Index.create(location, model or None, upkeep=True).close()
        except IndexDamagedError:
            anew = [model]
    for model in dict.fromkeys(anew):
        Index.create(location, model or None, rebuild=True).close()


def _of_caches(fault: CacheFault) -> Finding:
    return Finding(fault.subject, fault.problem, "mend it: tp doctor --fix", "caches", str(fault.path))


def _stale(location: Location, state: IndexStatus | None) -> list[Finding]:
    try:
        if state is None:
            with Index.open(location) as index:
                state = index.status()
    except TurboPropError as error:
        return [Finding("index", str(error), "make it anew: tp index --rebuild", "rebuild")]
    changed = len(state.stale) + len(state.removed)
    if not changed:
        return []
    first = ", ".join([*state.stale, *state.removed][:3])
    return [Finding("files", f"{changed} changed since they were indexed: {first}", "run tp index", "index")]


def _endpoints(settings: Settings) -> list[Finding]:
    """That the models behind addresses answer: those of the user's own rows, and of the settings."""
    if settings.offline:
        return []
    rows = [row.canonical for row in load_catalog(settings.config_file) if row.url]
    named = [name for name in (settings.model, settings.language_model) if name is not None and is_address(name)]
    findings = []
    for name in dict.fromkeys([*rows, *named]):
        local = resolve(name, settings, download=False)
        if local.endpoint is not None:
            from turboprop.engines.remote import asked_facts

            try:
                asked = asked_facts(local.endpoint, local.endpoint.kind or kind_of(local))
                problem = str(asked.get("missing", ""))
            except EndpointError as error:
                problem = str(error)
            if problem:
                findings.append(
                    Finding("endpoint", f"{name}: {problem}", f"look at the server: tp model inspect {name}")
                )
    return findings


def _model(location: Location, facts: dict[str, Any]) -> list[Finding]:
    """That the index's own model is here, is the same, and passes its self-test."""
    try:
        with Index.open(location) as index:
            facts["name"] = index.model_name
            if not index.has_model:
                return []
            own = index.model_name if index.reader.header.made_here else None
            local = resolve(own, index.settings, download=False)
            if faults := examine_model(local, index.settings):
                again = f"bring it anew: tp model remove {local.name}, then tp model download {local.name}"
                return [Finding("model", fault.problem, again) for fault in faults]
            with index.embedding() as lease:
                model = lease.model
                facts.update(engine=model.engine, weights=model.weights, dimensions=model.dimensions)
                failed = [check for check in check_model(model) if not check.ok]
    except IndexNotFoundError:
        return []
    except TurboPropError as error:
        return [Finding("model", str(error), "bring the model back, or index with another: tp index --model NAME")]
    return [
        Finding("model", f"{facts['name']} fails its self-test: {check.name}: {check.seen}", "tp model verify")
        for check in failed
    ]
