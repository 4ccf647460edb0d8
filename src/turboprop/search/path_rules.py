"""What a path says of a file: tests, prose. Nothing of it is fitted to one repository.

Names of tests are those of their frameworks and build tools; `tests/search/test_path_rules.py` is the table of them. A
library for testing is no test: `testing/` (Go, numpy) is left to its files' own names.

Examples and data files are not held back: it earned 0.0005 NDCG@10 on whole checkouts, less than noise.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_CAMEL = "java|kt|kts|scala|swift|cs|fs|vb|php|groovy|cpp|cc|cxx|c|hpp|hh|h|m|mm|ts|tsx|js|hs|elm|jl|hx|dart|pas|d"
_CODE = f"{_CAMEL}|py|jsx|mjs|cjs|rb|rs|go|ex|exs|lua|pl|[Rr]|ml|nim|zig|clj|cljs|sh|f90|el|lisp|scm|sql"
_TEST_FOLDER = re.compile(
    r"""
    (?:^|/)(?:
        _?(?i:(?:unit|integration|functional|acceptance|system|smoke|regression|ui|e2e|api)?[-_.]?tests?)
      | (?i:tests[-_][^/]+ | test[-_.]?(?:utils?|helpers?|data|fixtures?|support|resources|cases?|suites?|apps?|kit))
      | __(?:tests|mocks|snapshots|fixtures)__ | specs? | fixtures | mocks? | snapshots | e2e | cypress | playwright
      | step_definitions
      | [^/]*[a-z0-9.](?:Unit|Integration|Functional|UI)?(?:Tests?|Specs) | [^/]*[a-z0-9]\.Test | [^/]+\.tests?
      | src/(?:it|[a-z]\w*Test|test\w*)/(?:java|kotlin|scala|groovy|resources)
    )/
    | ^x?t/
    """,
    re.VERBOSE,
)
_TEST_NAME = re.compile(
    rf"""
    (?:^|/)(?:
        tests?\.(?:py|js|jsx|ts|tsx|mjs|cjs|rs) | conftest\.py | runtests\.jl | (?:spec|test|rails)_helper\.rb
      | (?i:test)[-_][^/]*\.(?:{_CODE}) | tst_[^/]*\.cpp | Tests\.\w+
      | [^/]*[_.](?:unit|browser|perf|g|fuzz|ui|internal)?_?(?:unit)?(?:tests?|specs?)(?:-d)?\.\w+
      | [^/]*-(?:tests?|spec)\.(?:{_CODE}) | [^/]*\.(?:e2e|cy|stories|e2e-spec|test-d)\.\w+ | [^/]*\.snap
      | [^/]*[A-Za-z0-9](?:Tests?|Spec|TestCase|TestSuite)\.(?:{_CAMEL}|phpt)
      | [^/]*[a-z0-9](?:IT\.(?:java|kt|groovy) | Suite\.scala | Fixture\.cs | Cest\.php)
      | [^/]+_SUITE\.erl | [^/]+\.(?:bats|phpt|t) | [A-Za-z][^/]*\.feature
    )$
    """,
    re.VERBOSE,
)
_TEST_FIRST = re.compile(r"(?:^|/)Test[A-Z][^/]*\.(?:java|kt|groovy|cpp|cc|mm?)$")
_MAIN = re.compile(r"(?:^|/)src/main/")

_PROSE_ENDING = re.compile(
    r"\.(?:md|mdx|markdown|rst|txt|adoc|asciidoc|org|tex|rdoc|pod|textile|mediawiki|wiki|creole)$", re.IGNORECASE
)
_PROSE_NAME = re.compile(
    r"""
    (?:^|/)(?:(?i:readme|licen[cs]e|copying|changelog|contributing|authors|todo)
      |NOTICE|CHANGES|HISTORY|CONTRIBUTORS|NEWS|INSTALL|THANKS|MAINTAINERS|SECURITY|RELEASE[-_]?NOTES|CODE_OF_CONDUCT)
    (?:[-_][^/.]*)?
    (?i:\.(?:lesser|mit|apache|bsd|gpl\w*|ja|zh|ko|es|fr|de|ru|pt|it|cn|tw|jp|kr|(?:zh|pt|es)[-_]\w{2,4}))?$
    """,
    re.VERBOSE,
)
_READ_BY_PROGRAMS = re.compile(r"(?:^|/)(?:CMakeLists|robots|[^/]*requirements[^/]*|[^/]*constraints[^/]*)\.txt$")
_PROSE_LANGUAGES = frozenset({"markdown", "rst", "text", "asciidoc", "org", "latex"})


class Place(NamedTuple):
    """What a file is besides code."""

    is_test: bool
    is_prose: bool


@lru_cache(50_000)
def place_of(path: str, language: str) -> Place:
    """Judge a path, relative to the repository's root with `/`, and its language ('' where it is not known)."""
    return Place(_is_test(path), _is_prose(path, language))


def _is_test(path: str) -> bool:
    if _TEST_FOLDER.search(path) or _TEST_NAME.search(path):
        return True
    return _TEST_FIRST.search(path) is not None and _MAIN.search(path) is None


def _is_prose(path: str, language: str) -> bool:
    if _READ_BY_PROGRAMS.search(path):
        return False
    if language:
        return language in _PROSE_LANGUAGES
    return _PROSE_ENDING.search(path) is not None or _PROSE_NAME.search(path) is not None
