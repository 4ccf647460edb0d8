"""The house stands only if imports point downward and the front door stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "turboprop"

# Lower numbers know nothing of higher ones; rooms on one level do not know each other.
LEVEL = {
    "types": 0,
    "errors": 0,
    "closing": 0,
    "files": 0,
    "printable": 0,
    "limits": 1,
    "machine": 0,
    "progress": 0,
    "settings": 1,
    "models": 2,
    "architectures": 3,
    "engines": 4,
    "convert": 4,
    "embed": 5,
    "code": 5,
    "index": 6,
    "rerank": 6,
    "search": 7,
    "generate": 7,
    "runtime": 8,
    "answer": 8,
    "workspace": 9,
    "evaluate": 10,
    "integrations": 11,
    "edges": 11,
    "serve": 12,
}
HEAVY = ("onnxruntime", "lance", "lancedb", "pyarrow", "torch", "numpy", "tokenizers", "huggingface_hub")


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def nodes(tree: ast.AST, type_checking: bool) -> Iterator[ast.AST]:
    """All of a tree, with or without what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if type_checking or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from nodes(node, type_checking)


def imported_modules(path: Path, *, when_run: bool = False) -> set[str]:
    """What a file imports, at its head or in a function; `when_run` without what annotations need, and with the
    modules that a string names (`import_module`)."""
    found: set[str] = set()
    for node in nodes(ast.parse(path.read_text("utf-8")), type_checking=not when_run):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            if node.module == "turboprop":
                found.update(f"turboprop.{alias.name}" for alias in node.names)
            elif node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (inside & set(MODULES)) or {node.module}
        elif when_run and isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {".".join(("turboprop", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items()}
del MODULES["turboprop"]  # the front door imports a name when it is first asked for


def test_every_room_has_a_level() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert rooms - {"__init__", "__main__"} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_downward(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for module in imported_modules(path):
        if not module.startswith("turboprop."):
            continue
        other = room(module)
        if other not in LEVEL:
            continue  # a name of the package itself, such as __version__
        if other == own:
            if own == "edges":
                mine, theirs = path.relative_to(SOURCE).parts[1], module.split(".")[2]
                assert mine.removesuffix(".py") == theirs, f"{path.name} imports another edge: {module}"
            continue
        assert LEVEL[other] < LEVEL[own], f"{own} (level {LEVEL[own]}) imports {module}"


def test_no_imports_in_a_circle() -> None:
    """Not within a room either, nor from within functions; names that only annotations need are free."""
    graph = {
        name: {other for other in imported_modules(path, when_run=True) if other in MODULES and other != name}
        for name, path in MODULES.items()
    }
    tuple(TopologicalSorter(graph).static_order())  # a CycleError names the circle


@pytest.mark.parametrize("package", ["onnxruntime", "torch", "xllamacpp", "fastembed"])
def test_runtimes_are_imported_by_engines_alone(package: str) -> None:
    for path in FILES:
        # The package `fastembed` is also a catalogue of names.
        if path.relative_to(SOURCE).parts[0] == "engines" or path.name == f"{package}_catalog.py":
            continue
        # The adapters hand tensors over, and run none.
        if path.relative_to(SOURCE).parts[0] == "integrations" and package == "torch":
            continue
        roots = {module.split(".")[0] for module in imported_modules(path)}
        assert package not in roots, f"{path.relative_to(SOURCE)} imports {package}"


def test_no_utils_module() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]


@pytest.mark.parametrize(
    "code",
    [
        "import turboprop",
        "import sys; from turboprop.edges.cli.entry import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import turboprop", "tp --help"],
)
def test_the_front_door_is_light(code: str) -> None:
    script = f"{code}\nimport sys; print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
