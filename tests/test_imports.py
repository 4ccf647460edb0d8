"""The house stands only if imports point downward and the front door stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    "edges": 11,
    "serve": 12,
}
HEAVY = ("openvino", "lance", "lancedb", "pyarrow", "torch", "numpy", "tokenizers", "huggingface_hub")


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            if node.module == "turboprop":
                found.update(f"turboprop.{alias.name}" for alias in node.names)
            elif node.module:
                found.add(node.module)
    return found


FILES = sorted(SOURCE.rglob("*.py"))


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


@pytest.mark.parametrize("package", ["openvino", "torch", "xllamacpp", "fastembed"])
def test_runtimes_are_imported_by_engines_alone(package: str) -> None:
    for path in FILES:
        if path.relative_to(SOURCE).parts[0] == "engines":
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
