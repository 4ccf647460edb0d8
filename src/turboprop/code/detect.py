"""Which language a file is written in: by name without reading, then by its first line or content."""

from __future__ import annotations

import re

from turboprop.code.exclude import extension_of
from turboprop.code.languages import LANGUAGES

_BY_EXTENSION = {extension: row.name for row in LANGUAGES.values() for extension in row.extensions}
_BY_FILENAME = {name: row.name for row in LANGUAGES.values() for name in row.filenames}
_BY_INTERPRETER = {name: row.name for row in LANGUAGES.values() for name in row.interpreters}

# Compiled when they are first used: 1 ms that a run without changes does without.
# `python3.11`, `ruby2`, `lua5.4`: the version is no part of the interpreter's name.
_SHEBANG = r"#!\s*(?:\S*/)?env\s+(?:-\S+\s+|\w+=\S*\s+)*(\S+)|#!\s*(\S+)"
_VERSION = r"[\d.]+$"

# What C cannot contain at the start of a line. `class` and `template` alone decide most headers.
_CPP = (
    r"(?m)^\s*(?:class\s+\w+[^;]*$|template\s*<|namespace\b|using\s+\w|(?:public|private|protected)\s*:"
    r"|#\s*include\s*<(?:c?(?:string|vector|memory|map|functional|utility|algorithm|type_traits|iostream))>"
    r"|virtual\s|constexpr\s|explicit\s)|\bstd::"
)
_OBJC = r"(?m)^\s*(?:@interface|@implementation|@protocol|@class|@import|#\s*import)\b"
_EXTERN_C = r"(?s)#\s*ifdef\s+__cplusplus.*?#\s*endif"
_SAMPLE = 64_000
# What tells languages apart that share an extension, in order; where nothing does, the name's own language holds.
_BY_CONTENT: dict[str, tuple[tuple[str, str], ...]] = {
    ".h": ((_OBJC, "objc"), (_CPP, "cpp")),
    ".m": (
        (_OBJC, "objc"),
        (r"(?m)^\s*#\s*(?:include|define|ifn?def)\b", "objc"),
        (r"(?m)^:-\s*(?:module|interface|import_module)\b", "mercury"),
        (r"(?m)^\s*(?:BeginPackage|Begin)\[|^\(\*", "mathematica"),
        (r"(?m)^\s*(?:function\b|classdef\b|%|end\s*;?\s*$|\w+\s*=[^;{]*;\s*$)", "matlab"),
    ),
    ".pl": (
        (r"(?m)^\s*(?:use\s+[\w:]+|package\s+\w|sub\s+\w+|my\s*[$@%(]|#!.*perl)|^=\w+", "perl"),
        (r"(?m)^:-\s*\w|^[a-z]\w*(?:\([^)\n]*\))?\s*(?::-|-->|\.\s*$)", "prolog"),
    ),
    ".v": (
        (r"(?m)^\s*(?:module\s+\w+|`(?:include|timescale|define))", "verilog"),
        (r"(?m)^\s*(?:Require|From\s+\w+\s+Require|Theorem|Lemma|Definition|Inductive|Fixpoint|Proof\b)", "coq"),
    ),
    ".fs": ((r"(?m)^\s*(?:#version\b|precision\s+\w+p\s+float|void\s+main\s*\()", "glsl"),),
    ".ts": ((r"(?:<\?xml[^>]*>\s*)?<!DOCTYPE TS>", "xml"),),
    ".sig": ((r"-----BEGIN |untrusted comment:", ""),),
    ".inc": (
        (r"(?i)<\?(?:php|=)", "php"),
        (_CPP + r"|(?m:^\s*#\s*(?:include|define|ifn?def|pragma)\b)", "cpp"),
        (r"(?m)^[\w.-]+\s*[+:?]?=", "make"),
        (r"", ""),
    ),
}


def language_by_name(name: str, extension: str) -> str:
    """The language that a file name promises ('' for plain or unknown text).

    `name` is without folders, `extension` in lower case with its dot. A `.h` is `c` here: its content
    decides, in `refine_language`.
    """
    found = _BY_EXTENSION.get(extension)
    if found is not None and name not in _BY_FILENAME:
        return found
    return _BY_FILENAME.get(name) or _BY_FILENAME.get(name.lower()) or _by_prefix(name)


def _by_prefix(name: str) -> str:
    # Dockerfile.dev, Makefile.in
    stem = name.partition(".")[0]
    return _BY_FILENAME.get(stem, "") if stem else ""


def refine_language(language: str, path: str, text: str) -> str:
    """The final language, once the text is at hand: a shebang tells, or what a file of an ambiguous name holds."""
    if not language:
        return _by_shebang(text) if text.startswith("#!") else ""
    rules = _BY_CONTENT.get(extension_of(path))
    if rules is None:
        return language
    sample = text[:_SAMPLE]
    if language == "c":
        sample = re.sub(_EXTERN_C, "", sample)
    for pattern, found in rules:
        if re.search(pattern, sample):
            return found
    return language


def _by_shebang(text: str) -> str:
    found = re.match(_SHEBANG, text[:200].partition("\n")[0])
    if found is None:
        return ""
    program = (found[1] or found[2]).rpartition("/")[2]
    return _BY_INTERPRETER.get(program) or _BY_INTERPRETER.get(re.sub(_VERSION, "", program), "")
