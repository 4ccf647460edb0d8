"""The pictures of the README, from real runs: docs/pictures/.

    python tools/pictures.py FOLDER [terminal|page]

terminal.svg shows commands in a copy of the repository FOLDER, page.png the page of `tp serve` over it, in Chromium.

They take the `tp` beside this Python, and need the small embedding model; nothing of yours is read or written.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent.parent / "docs/pictures"
TP = Path(sys.executable).with_name("tp")
COMMANDS = (
    "tp status",
    "tp search where are session cookies signed --filter 'src/**' --limit 2",
    "tp callers register_blueprint --limit 3",
)
QUERY = "where are session cookies signed"
COLUMNS, MOST_LINES = 96, 44
WIDTH, LINE, FONT = 8.0, 19, 13.3
"""Pixels of a column and a line: those of the size that most monospaced fonts have 0.6 of as their width."""
STYLE = (
    f"<style>text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#e5e7eb;white-space:pre}.b{font-weight:700}.d{opacity:.65}</style>"
)
COLOURS = {
    "black": "#6b7280",
    "red": "#f87171",
    "green": "#86efac",
    "yellow": "#fde047",
    "blue": "#93c5fd",
    "magenta": "#f0abfc",
    "cyan": "#67e8f9",
    "white": "#e5e7eb",
}


def main(arguments: list[str]) -> int:
    """Make the pictures; returns the exit code."""
    if len(arguments) not in (1, 2) or {*arguments[1:]} - {"terminal", "page"}:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        repository = Path(place) / Path(arguments[0]).resolve().name
        shutil.copytree(arguments[0], repository, ignore=shutil.ignore_patterns(".turboprop"), symlinks=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TP_", "XDG_", "NO_COLOR"))},
            "HOME": place,
            "TP_HOME": f"{place}/data",
            "TP_CACHE": f"{place}/cache",
            "TP_CONFIG": f"{place}/none",
            "TP_OFFLINE": "1",
            "TP_SERVER": "0",
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
            "PATH": f"{TP.parent}:{os.environ['PATH']}",
        }
        PICTURES.mkdir(exist_ok=True)
        # Not shown: how long it takes depends on what else this machine does.
        subprocess.run([TP, "index"], cwd=repository, env=environment, check=True)
        if arguments[1:] != ["page"]:
            _terminal(repository, environment)
        if arguments[1:] != ["terminal"]:
            _page(repository, environment)
    return 0


def _terminal(repository: Path, environment: dict[str, str]) -> None:
    lines: list[Text] = []
    for command in COMMANDS:
        prompt = Text("$ ", style="green")
        prompt.append(command, style="bold white")
        output = _run(command, repository, environment).replace(environment["HOME"], "~")
        lines += [prompt, *_lines(output), Text("")]
    PICTURES.joinpath("terminal.svg").write_text(svg(lines[:MOST_LINES]), "utf-8")


def _run(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints on a terminal."""
    parent, child = pty.openpty()
    os.set_inheritable(child, True)
    subprocess.run(["stty", "cols", str(COLUMNS), "rows", "50"], stdin=child, check=True)
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    parts = []
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # on Linux that is the end
            break
        if not part:
            break
        parts.append(part)
    os.close(parent)
    if process.wait():
        raise SystemExit(f"{command} ended with {process.returncode}: {b''.join(parts).decode()}")
    return b"".join(parts).decode("utf-8")


def _lines(output: str) -> list[Text]:
    """The lines that stay on the screen: of one that was written over, what was written last."""
    output = re.sub(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", "", output)  # links and titles
    kept: list[str] = []
    for line in output.replace("\r\n", "\n").rstrip("\n").split("\n"):
        for back in re.findall(r"\x1b\[(\d*)A", line):
            del kept[len(kept) - int(back or 1) :]
        kept.append(re.sub(r"\x1b\[[\d;?]*[A-LN-Za-ln-z]", "", line.rpartition("\r")[2]))
    return [Text.from_ansi(line) for line in kept]


def svg(lines: list[Text]) -> str:
    """A terminal with these lines. It names fonts that readers have, and fetches none."""
    width, height = round(COLUMNS * WIDTH) + 32, len(lines) * LINE + 56
    rows = []
    for number, line in enumerate(lines):
        line.truncate(COLUMNS)
        if spans := _styled(line):
            rows.append(f'<text x="16" y="{52 + number * LINE}">{"".join(spans)}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            "<title>tp in a terminal</title>",
            STYLE,
            f'<rect width="{width}" height="{height}" rx="8" fill="#111827"/>',
            *(f'<circle cx="{20 + at * 18}" cy="18" r="5.5" fill="#374151"/>' for at in range(3)),
            *rows,
            "</svg>\n",
        ]
    )


def _styled(line: Text) -> list[str]:
    spans = []
    console = Console(width=COLUMNS * 2, force_terminal=True, color_system="truecolor", legacy_windows=False)
    at = 0
    for segment in line.render(console):
        text = segment.text
        if not text.strip("\n"):
            continue
        style, attributes = segment.style, ""
        if style is not None:
            name = style.color.name.replace("bright_", "") if style.color and style.color.name else ""
            if name in COLOURS:
                attributes += f' fill="{COLOURS[name]}"'
            classes = " ".join(letter for letter, on in (("b", style.bold), ("d", style.dim)) if on)
            attributes += f' class="{classes}"' if classes else ""
        # Each run begins where its column is, whatever width the reader's font has.
        spans.append(f'<tspan x="{16 + at * WIDTH:g}"{attributes}>{escape(text, quote=False)}</tspan>')
        at += len(text)
    return spans


def _page(repository: Path, environment: dict[str, str]) -> None:
    from playwright.sync_api import sync_playwright

    server = subprocess.Popen(
        [TP, "serve", "--port", "0"], cwd=repository, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        address = ""
        for line in server.stderr:
            if found := re.search(r"serving at (http://[^;\s]*)", line):
                address = found[1]
            if "tp: ready" in line:
                break
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 750})
            page.goto(f"{address}/#/search?q={QUERY.replace(' ', '+')}")
            page.locator(".hit").first.wait_for(timeout=300_000)
            page.wait_for_timeout(2000)  # for what appears slowly
            page.screenshot(path=PICTURES / "page.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
