"""Places that a query names: files with lines, as people, tracebacks, compilers and hosting sites write them.

Two steps, since only the index knows where a path begins in a line of text. `find_mentions` looks for what stands
beside a path (`:12`, `#L12`, `", line 12`, `(3,5)`); `match_files` compares what stands before that with the paths
that are indexed, from their ends. So a machine's own folders before a path do not matter, and `localhost:8080` or a
time of day is no place.

Every expression is linear: all repeats are bounded, and none can share its characters with the next one.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import islice
from urllib.parse import unquote

from turboprop.code.walk import shown
from turboprop.errors import UsageError
from turboprop.printable import printable_name

MOST_BEFORE = 400
"""Characters of a line before its number that are compared with paths."""
MOST_MENTIONS = 20_000
MOST_COMPARISONS = 100_000
"""Comparisons of what is written with indexed paths for one query, about 0.4 s: each mention is compared with all files
of its name, and a repository may hold thousands of `__init__.py`."""
_READING_COSTS = 20
"""What reading one mention costs beside its comparisons, in comparisons."""
MOST_FILES = 5
"""Files that one mention may mean where several fit it equally well (`utils.py:3`)."""

_QUOTES = "\"'`\u2019\u201d»\u300d\u300f\u300b"
_N = r"(\d{1,7})(?!\d)"
_AFTER_A_PATH = tuple(
    re.compile(pattern)
    for pattern in (
        rf":(?:L|line )?{_N}(?:-(\d{{1,7}})(?!\d))?",
        rf"#(?:L|n|lines-|line-|line=|L=|[\w.]{{1,80}}\.\w{{1,8}}-)?{_N}(?:C\d{{1,7}})?(?:[-:,]L?(\d{{1,7}})(?!\d))?",
        rf"[?&;,](?:L|l=|line=|lines=|L=)L?{_N}(?:[-,:]L?(\d{{1,7}})(?!\d))?",
        rf":? ?\((?:line )?{_N}(?:[,:] ?\d{{1,7}})?(?:-\d{{1,7}})?\)(?:-\((\d{{1,7}}),\d{{1,7}}\))?",
        (
            rf"[{_QUOTES}]?[,:]? {{1,3}}(?:on |at |in |\()?[Ll]ines?(?: no\.?|:)? {{1,2}}{_N}"
            r"(?: ?(?:-|to) ?(\d{1,7})(?!\d))?"
        ),
        rf" {_N}:\d{{1,5}}(?=\)|\s|-\d|$)",
        rf":\[{_N}[,;]\d{{1,5}}\]",
        rf"\|{_N}(?: col \d{{1,5}}(?:-\d{{1,5}})?)?\|",
        rf": {_N}(?=\s{{0,9}}$)",
        rf" \+{_N}(?!\S)",
        rf"[\"']?\}}?, ?\{{line, ?{_N}",
    )
)
"""What follows a path: the first group is the line, the second the last line."""
_BEFORE_A_PATH = tuple(
    re.compile(pattern)
    for pattern in (
        rf"[Ll]ine {_N} (?:of|in|from)(?: the)?(?: file)?:? [\"'`]?([^\s\"'`]{{1,{MOST_BEFORE}}})",
        rf"(?<!\S)\+{_N} {{1,4}}(\S{{1,{MOST_BEFORE}}})",
    )
)
_LINE = (
    r"(?:[Ll]ines?|LINE|L\.|[Zz]eilen?|Z\.|[Ll][ií]neas?|[Ll]inhas?|[Ll]ignes?|[Rr]ig(?:a|he)|[Rr]egels?|[Rr]ad|[Ll]inj[ae]"
    r"|[Ww]iersz[ua]?|[Ll]ini[aię]|[Řř]ád(?:ek|ku|ce)|[Ss]or|[Rr]ivi(?:llä)?|[Dd]òng|[Ss]atır"  # noqa: RUF001
    r"|[Сс]трок[аиеу]|[Рр]яд(?:ок|ку)|[Γγ]ραμμή|שורה|السطر|سطر|บรรทัด(?:ที่)?|줄)"  # noqa: RUF001
)
"""What a line is called, as people write it before its number."""
_TO_IT = r"(?:[^\W\d_]{1,5} ){0,2}"
"""The words between a path and its line: `on`, `in der`, `en la`."""
_FROM_IT = (
    r"(?:(?:of|in|from|the|file|de|del|do|da|du|dans|en|el|la|le|il|di|der|den|das|aus|von|van|Datei|fichier|archivo|"
    r"arquivo|в|из|файл[аеу]?) ){1,4}"  # noqa: RUF001
)
_TYPED_AFTER = tuple(
    re.compile(pattern)
    for pattern in (
        rf"： ?(?:L|line )?{_N}(?:[-～~](\d{{1,7}})(?!\d))?",  # noqa: RUF001
        rf"[{_QUOTES}]? ?@ ?(?:L|line )?{_N}(?!\.?\w)",
        (
            rf"[{_QUOTES}]?[,:]? {{1,3}}{_TO_IT}{_LINE}(?: (?:no|nr|n)[.º°]?|:)? {{1,2}}{_N}"
            r"(?: ?(?:-|to|bis|a|à|до) ?(\d{1,7})(?!\d))?"
        ),
        (
            rf"[{_QUOTES}]? ?[,，、：:]? ?(?:的|の|에서|의)? ?第? ?{_N} ?"  # noqa: RUF001
            r"(?:[-～~到至から]{1,2} ?(\d{1,7}) ?)?(?:行|번째 줄|줄|행)"  # noqa: RUF001
        ),
        rf"（(?:line |第 ?)?{_N}(?: ?行目?)?）",  # noqa: RUF001
    )
)
"""As `_AFTER_A_PATH`, in the words and signs of people."""
_TYPED_BEFORE = (re.compile(rf"{_LINE} {_N} {_FROM_IT}[\"'`]?([^\s\"'`]{{1,{MOST_BEFORE}}})"),)
_NOTHING_ELSE = re.compile(rf"\s{{0,9}}[\"'`]?([^\s,\"'`]{{1,{MOST_BEFORE}}})[\"'`]?,? {{1,4}}{_N}\s{{0,9}}$")
"""A line of a path and a number alone. In a sentence (`cart.js, 2 tests fail`) the number is of anything."""
_MOST_TYPED = 2_000
"""Characters of a text that a person may have typed: in longer ones, from programs, none of these is looked for."""
_FUNCTION_AFTER = re.compile(r"(?:,|:| ) ?in [`']?(?:block (?:\(\d{1,3} levels\) )?in )?([^\s'`(]{1,200})")
_FUNCTION_BEFORE = re.compile(r"(?:\bat|\bin|#\d{1,5}) {1,8}(?:async |new )?([A-Za-z_$][\w$.:<>]{0,200})(?: ?\(| /)")
_FUNCTION_ABOVE = re.compile(r"(?:\s{0,8}\d{1,5}: )?([\w$.:<>/*()-]{1,300}?)(?:\([^()]{0,200}\))?$")
_LONGEST_ABOVE = 500
_LAST_NAME = re.compile(r"[A-Za-z_$]\w{0,200}(?=\W{0,8}$)")
_TEST_ID = re.compile(r"(\.\w{1,8})::([A-Za-z_]\w{0,200})(?:::([A-Za-z_]\w{0,200}))?")
_TOLD_LATER = re.compile(r"\((\d{1,7}):\d{1,5}\)\s{0,9}$")
"""Babel tells the file first, then what is wrong, then the line."""
_ANY_PLACE = re.compile(
    "|".join(
        [rf"(?<=[^ \t:])(?:{each.pattern})" for each in _AFTER_A_PATH]
        + [each.pattern for each in (*_BEFORE_A_PATH, _TOLD_LATER, _TEST_ID)]
    )
)
"""Whether a line has any of them: trying each expression on each of 500,000 short lines takes 3 s, this one 0.1 s."""
_HUNK = re.compile(r"@@ -\d{1,7}(?:,\d{1,7})? \+(\d{1,7})(?:,(\d{1,7}))? @@")
_UNDER_A_HEADING = re.compile(rf"[ \t]{{0,12}}{_N} ?[:|]")
_BARE_PATH = re.compile(r"\S*[\w\])}]\.\w{1,12}:?")

_LAST_CALL_LAST = re.compile(
    r"""most\ recent\ call\ last | File\ "[^"\n]{1,400}",\ line\ \d{1,7},\ in\ | ^E\ {3,}\S | ^\.{3}\ from\ """,
    re.VERBOSE | re.MULTILINE,
)
"""Python (pytest too), Nim and some Ruby tell the innermost frame last; all others tell it first."""
_CAUSE = re.compile(r"^[ \t]{0,8}(?:Caused by:|\[cause\]:|\S{0,3} ?Suppressed:)", re.MULTILINE)
_INCLUDED = re.compile(r"\s{0,30}(?:In file included from|from) (?=\S{1,400}:\d{1,7}(?::\d{1,7})?[,:]\s{0,3}$)")

_PACKAGES = re.compile(
    r"""
      (?:site|dist)-packages/
    | /(?:usr|opt)/(?:local/)?(?:lib|include|share)/(?:python\d[.\d]{0,5}/)?
    | (?i:python)\d[.\d]{0,5}/(?:[Ll]ib/)?(?=[\w/]{1,100}\.py)
    | node_modules/(?:@[^/]{1,100}/)?(?P<node>[^/]{1,100})/
    | node:internal/
    | pkg/mod/(?:[^@\n]{0,200}/)?(?P<go>[^/@\n]{1,100})(?:/v\d{1,4})?@[^/\n]{1,100}/
    | (?:usr/(?:local|lib)/go[^/]{0,20}|goroot|toolcache/go/[^/]{1,30}/[^/]{1,30})/src/
    | registry/src/[^/]{1,100}/(?P<crate>[\w-]{1,100}?)-\d[^/]{0,40}/
    | rustc/[0-9a-f]{1,64}/
    | gems/(?P<gem>[\w.-]{1,100}?)-\d[^/]{0,40}/
    | vendor/[^/]{1,100}/(?P<composer>[^/]{1,100})/
    | hosted/[^/]{1,100}/(?P<dart>[\w-]{1,100}?)-\d[^/]{0,40}/
    """,
    re.VERBOSE,
)
"""Where the code of others begins in a path, and what that package is called, which may be the repository's own."""
_JVM = re.compile(r"(?<![\w$])([\w$]{1,100}(?:\.[\w$<>]{1,100}){1,20})\([^()]{0,200}$")
_PLATFORM = ("java.", "javax.", "jdk.", "sun.", "kotlin.", "scala.", "android.", "clojure.")
_OPTIONS = re.compile(r"\.\w{1,12}(\?)")
_DELIMITERS = " \t\"'`\u2018\u201c«(<>[{=@:|,;?*"
_MOST_NAMES = 12
_WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uff00-\uff60"
_DELIMITER = re.compile(f"[{re.escape(_DELIMITERS)}]|(?<=[{_WIDE}])(?=[!-~])")
"""Where a name may begin: Chinese, Japanese and Korean put no blank before it."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A line number and what stands before it: the end of `before` is a path, if this is a place at all.

    `line` and `last` are 1-based, 0 for a file without a line. `symbol` is the name of what is there, and `code` the
    line itself, '' where the text does not tell: they find the place again in a file that has changed since.
    """

    before: str
    line: int
    last: int
    symbol: str = ""
    code: str = ""


@lru_cache(4)  # a query is asked for its places, for its words and for what is embedded of it
def find_mentions(text: str) -> Sequence[Mention]:
    """The places that a text may name, those that help most first: the innermost frame, the root cause before what it
    led to, an error before the files that included it."""
    found = _found(text)
    if not found:
        return _whole_path(text)
    lines = text.split("\n")
    starts = _line_starts(lines)
    causes = [match.start() for match in _CAUSE.finditer(text)]
    order = {at: (_later(lines[_line_of(starts, at)], mention), -bisect_right(causes, at), at) for at, mention in found}
    backwards = _LAST_CALL_LAST.search(text) is not None
    if backwards:
        order = {at: (later, block, -place) for at, (later, block, place) in order.items()}
    return tuple(dict.fromkeys(mention for _, mention in sorted(found, key=lambda each: order[each[0]])))


def gist(text: str) -> str:
    """A text with frames in the order in which it is worth reading: what is said besides them, then the frames, the
    most telling first, each with the lines of code below it. Any other text is returned as it stands."""
    found = _found(text)
    lines = text.split("\n")
    starts = _line_starts(lines)
    frames: dict[int, list[str]] = {}
    said: list[str] = []
    at_line = {_line_of(starts, at) for at, _ in found}
    if len(at_line) < 2:
        return text
    open_frame: list[str] | None = None
    for number, line in enumerate(lines):
        if number in at_line:
            open_frame = frames[number] = [line]
        elif open_frame is not None and line[:1] in (" ", "\t"):
            open_frame.append(line)
        else:
            open_frame = None
            said.append(line)
    order: dict[int, None] = {}
    first_at = {mention: at for at, mention in reversed(found)}
    for mention in find_mentions(text):
        order.setdefault(_line_of(starts, first_at[mention]))
    return "\n".join([*said, *(line for number in order for line in frames[number])])


def match_files(mentions: Sequence[Mention], paths: Sequence[str], repository: str = "") -> Iterator[tuple[int, int]]:
    """The mention and the path (places in their lists) for each file that a mention means, in the mentions' order;
    what is only alike by its name follows at the end.

    `repository` is its folder's name: a package of that name, wherever it is installed, is its own code.
    """
    befores = [_comparable(mention.before) for mention in mentions]
    wanted = {before: _last_names(before) for before in befores}
    every = set().union(*wanted.values())
    by_name: dict[str, list[int]] = {}
    for at, path in enumerate(paths):
        name = path.replace("\\", "/").rpartition("/")[2].casefold()
        if name in every:
            by_name.setdefault(name, []).append(at)
    weak: list[tuple[int, int]] = []
    meant: dict[str, tuple[int, list[int]]] = {}
    compared = 0
    for number, before in enumerate(befores):
        alike = next((by_name[name] for name in wanted[before] if name in by_name), None)
        if alike is None:
            continue
        if before not in meant:
            if compared >= MOST_COMPARISONS:
                break
            compared += _READING_COSTS + len(alike)
            meant[before] = _meant(before, alike, paths, repository)
        level, chosen = meant[before]
        if level == 1:
            weak += ((number, at) for at in chosen)
        else:
            yield from ((number, at) for at in chosen)
    yield from weak


def _meant(before: str, alike: Sequence[int], paths: Sequence[str], repository: str) -> tuple[int, list[int]]:
    """Of the paths of one name those that are meant, and how well they fit (the first number of `_fit`)."""
    written = _Written.of(before, repository)
    fits = [(_fit(written, paths[at]), at) for at in alike]
    best = max(fit for fit, _ in fits)
    chosen = [at for fit, at in fits if fit == best]
    if best[0] == 0 or (best[0] == 1 and len(alike) > 1):
        return 0, []
    return best[0], sorted(chosen, key=lambda at: (paths[at].count("/"), paths[at]))[:MOST_FILES]


def as_indexed(path: str, files: Collection[str], seen_from: str = "") -> str:
    """The indexed file that a path is, as it was printed: relative to the folder `seen_from` or to the root, with `./`,
    with the separators of Windows, its hidden characters and stray bytes by their numbers. The path itself where it is
    none of them."""
    told = shown(path)
    # A name may hold a backslash itself, or one by which a byte or a line end is shown.
    for each in dict.fromkeys((told, told.replace("\\", "/"))):
        for base in dict.fromkeys((seen_from, "")):
            if (known := posixpath.normpath(f"{base}/{each}" if base else each)) in files:
                return known
    printed = {printable_name(name): name for name in files if name != printable_name(name)}
    if printed and (known := as_indexed(told, printed.keys() - set(files), seen_from)) in printed:
        return printed[known]
    return path


def meant_file(path: str, files: Collection[str], seen_from: str = "", repository: str = "") -> str:
    """The indexed file that a path means: as it was printed (`as_indexed`), composed or decomposed (NFC, NFD), or as a
    query may name it (`match_files`): an absolute path, an ending. The path itself where it means none. Raises
    `UsageError` where it may mean several."""
    known = as_indexed(path, files, seen_from)
    if known in files:
        return known
    composed = {unicodedata.normalize("NFC", name): name for name in files}
    if (known := as_indexed(unicodedata.normalize("NFC", path), composed.keys(), seen_from)) in composed:
        return composed[known]
    if ".." in re.split(r"[/\\]", path):  # a path that leads out, if only to come back, means no file here
        return path
    names = list(composed)
    mention = Mention(unicodedata.normalize("NFC", shown(path)), 0, 0)
    typed = f"/{mention.before.removeprefix('./').removeprefix('/')}".replace("\\", "/").lower()
    found = [names[at] for _, at in match_files([mention], names, repository)]
    # A traceback may come from another machine; whoever types a path means that file and no other of its name.
    found = [name for name in found if f"/{name}".lower().endswith(typed) or typed.endswith(f"/{name}".lower())]
    if len(found) > 1:
        several = ", ".join(printable_name(name) for name in found)
        raise UsageError(f"{printable_name(shown(path))} may mean {several}; give more of the path")
    return composed[found[0]] if found else path


@lru_cache(4)  # as above
def _found(text: str) -> Sequence[tuple[int, Mention]]:
    """Mentions with where they stand, in the order of the text."""
    lines = text.split("\n")
    starts = _line_starts(lines)
    found: dict[int, Mention] = {}
    typed = len(text) <= _MOST_TYPED
    after = (*_AFTER_A_PATH, *_TYPED_AFTER) if typed else _AFTER_A_PATH
    before_it = (*_BEFORE_A_PATH, *_TYPED_BEFORE) if typed else _BEFORE_A_PATH
    for number, line in enumerate(lines):
        if len(found) >= MOST_MENTIONS:
            break
        if not typed and _ANY_PLACE.search(line) is None:
            continue
        # A text may be one line: nothing here may take a line as a whole once for each of its mentions.
        above = lines[number - 1][:_LONGEST_ABOVE] if number else ""
        below = lines[number + 1] if number + 1 < len(lines) else ""
        code = below.strip()[:MOST_BEFORE] if below.startswith("    ") else ""
        end = -1
        for match in merge(*(each.finditer(line) for each in after), key=re.Match.span):
            if len(found) >= MOST_MENTIONS:
                return sorted(found.items())
            # What stands behind a line's number is a column.
            is_column, end = match.start() <= end, max(end, match.end())
            if match.start() and line[match.start() - 1] not in " \t:" and not is_column:
                before = line[max(0, match.start() - MOST_BEFORE) : match.start()]
                first = int(match[1])
                last = int(match[2]) if match.re.groups > 1 and match[2] else first
                symbol = _function(line, match, before, above)
                mention = Mention(before, first, max(first, last), symbol, code if symbol else "")
                found.setdefault(starts[number] + match.start(), mention)
        for pattern in before_it:
            for match in islice(pattern.finditer(line), MOST_MENTIONS - len(found)):
                first = int(match[1])
                found[starts[number] + match.start()] = Mention(match[2].rstrip(".,;:)"), first, first)
        if typed and (alone := _NOTHING_ELSE.match(line)) is not None:
            found.setdefault(starts[number], Mention(alone[1], int(alone[2]), int(alone[2])))
        room = len(found) < MOST_MENTIONS
        if room and (later := _TOLD_LATER.search(line[-40:])) is not None and ": " in line[:MOST_BEFORE]:
            first = int(later[1])
            pieces = line[:MOST_BEFORE].split(": ")
            path = next((piece for piece in pieces if _BARE_PATH.fullmatch(piece)), "")
            found[starts[number] + len(line) - 1] = Mention(path, first, first)
        for match in islice(_TEST_ID.finditer(line), MOST_MENTIONS - len(found)):
            before = line[max(0, match.start() - MOST_BEFORE) : match.end(1)]
            found[starts[number] + match.start()] = Mention(before, 0, 0, match[3] or match[2])
    for number, mention in islice(_under_headings(lines), MOST_MENTIONS - len(found)):
        found.setdefault(starts[number], mention)
    return sorted(found.items())


def _function(line: str, match: re.Match[str], before: str, above: str) -> str:
    """The bare name of the function that a frame says it is in, '' where it says none."""
    after = _FUNCTION_AFTER.match(line, match.end())
    name = after[1] if after is not None else ""
    if not name:
        told = _FUNCTION_BEFORE.search(before)
        name = told[1] if told is not None else ""
    if not name and line[:1].isspace() and (told := _FUNCTION_ABOVE.fullmatch(above)) is not None:
        name = told[1]  # Go and Rust
    last = _LAST_NAME.search(name[:300])
    return last[0] if last is not None else ""


def _under_headings(lines: Sequence[str]) -> Iterator[tuple[int, Mention]]:
    """What a path on a line of its own says of the numbered lines below it (ESLint, `rg --heading`, Elm, a diff)."""
    heading = ""
    for number, line in enumerate(lines):
        if line.startswith(("+++ ", "--- ")):
            path = line[4:].partition("\t")[0].strip()[:MOST_BEFORE]
            heading = heading if path == "/dev/null" else re.sub(r"^[abiwco]/", "", path)
        elif match := _HUNK.match(line):
            if heading:
                # The lines that differ lie behind three that do not.
                first, count = int(match[1]), int(match[2] or 1)
                yield number, Mention(heading, first + min(3, max(0, count - 1)), first + max(0, count - 1))
        elif heading and (match := _UNDER_A_HEADING.match(line)):
            yield number, Mention(heading, int(match[1]), int(match[1]))
        elif (name := line.strip().rpartition(" ")[2] if line.startswith("-- ") else line.strip()) and len(name) <= 400:
            if _BARE_PATH.fullmatch(name) and len(lines) > 1:
                heading = name.rstrip(":")
            elif not line[:1].isspace():
                heading = ""


def _whole_path(text: str) -> Sequence[Mention]:
    """A query that is nothing but a path with an ending."""
    name = text.strip().strip("\"'`")
    return (Mention(name, 0, 0),) if len(name) <= MOST_BEFORE and _BARE_PATH.fullmatch(name) else ()


def _later(line: str, mention: Mention) -> bool:
    """Whether a mention in a line says less than the others: who included the file, or the name of a test in a
    summary."""
    return not mention.line or (len(line) <= 500 and _INCLUDED.match(line) is not None)


def _line_starts(lines: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    return starts


def _line_of(starts: Sequence[int], at: int) -> int:
    return bisect_right(starts, at) - 1


def _comparable(before: str) -> str:
    before = before.replace("\\", "/").rstrip(_QUOTES + ")]")
    # Behind a name webpack puts a hash, hosting sites put options.
    if match := _OPTIONS.search(before, before.rfind("/") + 1):
        before = before[: match.start(1)]
    return unquote(before) if "%" in before else before


def _last_names(before: str) -> list[str]:
    """What the file may be called: all behind the last slash, then less and less of it."""
    tail = before.rpartition("/")[2].casefold()
    begins = [match.end() for match in _DELIMITER.finditer(tail)][: -_MOST_NAMES - 1 : -1]
    names = [tail, *(tail[at:] for at in begins)]
    return [name for name in names if name]


@dataclass(frozen=True, slots=True)
class _Written:
    """What stands before a line's number, taken apart once for all paths that it is compared with.

    `qualified` is the method of a frame of the JVM, '' for other frames. `rest` is how many parts of an installed
    package's path must be shared to mean a file of this repository, None outside of packages.
    """

    parts: Sequence[str]
    qualified: str
    rest: int | None

    @classmethod
    def of(cls, before: str, repository: str) -> _Written:
        parts = [part for part in before.split("/") if part not in (".", "")]
        if (jvm := _JVM.search(before)) is not None and "/" not in jvm[0]:
            return cls(parts, jvm[1], None)
        outside = max(_PACKAGES.finditer(before), key=re.Match.start, default=None)
        if outside is None:
            return cls(parts, "", None)
        package = next((name for name in outside.groupdict().values() if name), "")
        ours = not package or package.casefold() == repository.casefold()
        rest = len([part for part in before[outside.end() :].split("/") if part])
        return cls(parts, "", rest + (0 if ours else 1))


_Fit = tuple[int, int, int]


def _fit(written: _Written, path: str) -> _Fit:
    """How well a path fits what is written: first 3 where one is an ending of the other, 2 where they share more than
    the name, 1 where they share the name alone, 0 where the file is somebody else's; then how much they share."""
    own = path.replace("\\", "/").split("/")
    if written.qualified:
        return _jvm_fit(written.qualified, own)
    shared, begins = _shared_ending(written.parts, own)
    exact = sum(path.endswith("/".join(written.parts[-count:])) for count in range(1, shared + 1))
    if written.rest is not None:
        return (3 if shared >= written.rest else 0), shared, exact
    if shared == len(own) or begins:
        return (2 if shared == 1 and not begins else 3), shared, exact
    return (2 if shared > 1 else 1), shared, exact


def _shared_ending(written: Sequence[str], own: Sequence[str]) -> tuple[int, bool]:
    """How many parts are the same from the end on, and whether all that is written is."""
    shared = 0
    for mine, theirs in zip(reversed(own), reversed(written), strict=False):
        mine, theirs = mine.casefold(), theirs.casefold()
        if mine == theirs:
            shared += 1
            continue
        if theirs.endswith(mine) and _may_begin(theirs, len(theirs) - len(mine)):
            return shared + 1, True
        break
    rest = written[: len(written) - shared]
    return shared, shared > 0 and (not rest or rest[-1] == "..")


def _may_begin(text: str, at: int) -> bool:
    return not at or text[at - 1] in _DELIMITERS or _DELIMITER.match(text, at) is not None


def _jvm_fit(qualified: str, own: Sequence[str]) -> _Fit:
    """A frame of the JVM has the file's name alone; its class says in which package it lies."""
    package = [part.casefold() for part in qualified.split(".")[:-2]]
    folders = [part.casefold() for part in own[:-1]]
    shared = 0
    while shared < min(len(package), len(folders)) and package[-1 - shared] == folders[-1 - shared]:
        shared += 1
    if qualified.startswith(_PLATFORM):
        return (3 if package and shared == len(package) else 0), shared, 0
    # A file without folders, or a class without a package, says nothing against it.
    return (3 if shared or not package or not folders else 1), shared, 0
