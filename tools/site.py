"""The documentation site, from docs/ and from the code: `scripts/docs` runs this.

    python tools/site.py FOLDER        write the pages to FOLDER/docs, and the site to FOLDER/site
    python tools/site.py FOLDER --pages       the pages alone, which needs no generator

The pages are those of docs/, and a reference that is made from the commands, the settings and the docstrings.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from manual import commands, description, options, usage

from turboprop import __all__ as public_names
from turboprop.edges.cli.entry import GROUPS, tp
from turboprop.settings.schema import KEYS

PROJECT = Path(__file__).parent.parent
BESIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security-policy.md"}
"""Pages at the top of the repository, and what they are called on the site."""
NAV: list[tuple[str, str | list[str]]] = [
    ("Home", "index.md"),
    ("First five minutes", "first-five-minutes.md"),
    (
        "Guides",
        [
            "search.md",
            "mcp.md",
            "models.md",
            "remote.md",
            "generation.md",
            "server.md",
            "server-warm.md",
            "web.md",
            "python.md",
            "tuning.md",
        ],
    ),
    (
        "Reference",
        ["commands.md", "reference/options.md", "settings.md", "reference/settings.md", "reference/python.md"],
    ),
    ("How it works", ["how-it-works.md", "indexing.md", "embedding.md", "architectures.md"]),
    ("Benchmarks", "benchmarks.md"),
    ("Security", ["security.md", "security-policy.md"]),
    ("Troubleshooting", ["troubleshooting.md", "platforms.md", "uninstall.md"]),
    ("Project", ["changelog.md", "contributing.md"]),
]


def main(arguments: list[str]) -> int:
    """Write the pages, and build the site; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", action="store_true", help="write the pages, and build nothing")
    given = parser.parse_args(arguments)
    write_pages(given.folder / "docs")
    if given.pages:
        return 0
    shutil.rmtree(given.folder / "site", ignore_errors=True)
    (given.folder / "zensical.toml").write_text(configuration(), "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=given.folder, check=False
    ).returncode


def configuration() -> str:
    """`zensical.toml` with the navigation; a JSON string is one of TOML, too."""
    rows = []
    for title, pages in NAV:
        if title == "How it works":
            pages = [*pages, *(f"decisions/{path.name}" for path in sorted((PROJECT / "docs/decisions").glob("*.md")))]
        rows.append(f"  {{ {json.dumps(title)} = {json.dumps(pages)} }},")
    text = (Path(__file__).parent / "zensical.toml").read_text("utf-8")
    return text.replace("[project]\n", "[project]\nnav = [\n" + "\n".join(rows) + "\n]\n", 1)


def write_pages(folder: Path) -> None:
    """Every page of the site as Markdown."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PROJECT / "docs", folder)
    for path in folder.rglob("*.md"):
        depth = "../" * (len(path.relative_to(folder).parts) - 1)
        text = path.read_text("utf-8")
        for name, page in BESIDE.items():
            text = re.sub(rf"\]\((?:\.\./)+{re.escape(name)}", f"]({depth}{page}", text)
        path.write_text(text, "utf-8")
    for name, page in BESIDE.items():
        text = (PROJECT / name).read_text("utf-8")
        (folder / page).write_text(text.replace("](docs/", "]("), "utf-8")
    (folder / "reference").mkdir()
    (folder / "reference/options.md").write_text("\n".join(options_page()), "utf-8")
    (folder / "reference/settings.md").write_text("\n".join(settings_page()), "utf-8")
    (folder / "reference/python.md").write_text("\n".join(python_page()), "utf-8")


def options_page() -> Iterator[str]:
    """Every command with its help."""
    yield "# Every option\n"
    yield "Made from the commands, as `tp help COMMAND` shows them. [Commands](../commands.md) says more of each.\n"
    everything = {path.partition(" ")[2]: (command, context) for path, command, context in commands(tp, "tp")}
    for title, names in GROUPS.items():
        yield f"## {title}\n"
        for name, (command, context) in everything.items():
            if name.partition(" ")[0] not in names:
                continue
            yield f"### `tp {name}`\n"
            yield f"```\n{usage(command, context)}\n```\n"
            yield "\n\n".join(map(_markdown, description(command))) + "\n"
            if rows := options(command, context):
                yield "| option | meaning |\n|---|---|"
                yield from (f"| `{_cell(option)}` | {_cell(_markdown(what))} |" for option, what in rows)
                yield ""


def settings_page() -> Iterator[str]:
    """Every setting, as the code knows it."""
    yield "# Every setting\n"
    yield "Made from the code. [Settings](../settings.md) says what each does.\n"
    yield "| setting | kind | default | in your file | in a repository's file | variable |\n|---|---|---|---|---|---|"
    for key in KEYS.values():
        kind = ", ".join(f"`{choice}`" for choice in key.choices) or key.kind
        default = "none" if key.default in (None, ()) else f"`{json.dumps(key.default)}`"
        project = "with trust" if key.trust else "yes" if key.project else "no"
        yield f"| `{key.name}` | {kind} | {default} | {'yes' if key.user else 'no'} | {project} | `{key.variable}` |"
    yield ""


def python_page() -> Iterator[str]:
    """Every public name with its signature and docstring."""
    import turboprop

    yield "# Python, name by name\n"
    yield "Made from the docstrings. [From Python](../python.md) is the way in.\n"
    errors, others = [], []
    for name in sorted(public_names):
        found = getattr(turboprop, name)
        is_error = inspect.isclass(found) and issubclass(found, Exception)
        (errors if is_error else others).append((name, found))
    for title, rows in (("Names", others), ("Errors", errors)):
        yield f"## {title}\n"
        for name, found in rows:
            if name.startswith("__"):
                continue
            yield f"### `{name}`\n"
            yield from _documented(name, found, signature=title == "Names")
            if title == "Names" and inspect.isclass(found):
                for method, value in vars(found).items():
                    plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
                    if method.startswith("_") or not (inspect.isfunction(plain) or isinstance(plain, property)):
                        continue
                    if not plain.__doc__:
                        continue
                    yield f"#### `{name}.{method}`\n"
                    yield from _documented(f"{name}.{method}", plain, signature=inspect.isfunction(plain))


def _documented(name: str, found: object, *, signature: bool) -> Iterator[str]:
    if signature and callable(found):
        yield f"```python\n{name}{inspect.signature(found)}\n```\n"
    text = inspect.cleandoc(found.__doc__ or "") if isinstance(found.__doc__, str) else ""
    yield f"{_markdown(text)}\n"


def _markdown(text: str) -> str:
    """Text with what Markdown would take for tags in another form, outside of code."""
    return "".join(
        part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(re.split(r"(`[^`]*`)", text))
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
