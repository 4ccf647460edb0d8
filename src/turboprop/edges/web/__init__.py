"""The page that `tp serve` shows: `index.html` and what lies under `assets/`, served as they are.

There is nothing to build and nothing that runs here: plain HTML, CSS and ES modules. A server finds the files
with `importlib.resources.files("turboprop.edges.web")`; `docs/web.md` says what it must answer.
"""
