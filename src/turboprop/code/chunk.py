"""Text to chunks: whole definitions, small neighbours together, large ones cut at inner boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from turboprop.code import markdown, notebook, syntax
from turboprop.code.encoding import normalise_newlines
from turboprop.code.languages import LANGUAGES
from turboprop.code.lines import cut_points, line_offsets, split_line
from turboprop.code.longlines import LONGEST_LINE, cut_long_lines
from turboprop.code.symbols import Symbols, records_of
from turboprop.code.syntax import FILE, MAX_NAMES, MAX_SIGNATURE, Mark, Owner
from turboprop.types import Chunk

# As shares of the budget. A definition over a quarter of it says enough to be found by itself;
# smaller ones share a chunk of up to half, so that a name still stands out among its neighbours.
_ALONE = 0.25
_TOGETHER = 0.5
# Without surrounding blanks, the size below which lines outside any definition join a neighbour:
# a class line without docstring, a banner comment, an assignment after a function. A definition as
# slight joins only a small neighbour.
_SCRAP = 0.13
# A bracket or a word, which may join even what belongs to another definition.
_CRUMB = 0.016


@dataclass(slots=True)
class _Piece:
    start: int
    end: int
    owner: Owner
    names: tuple[str, ...]
    kind: str
    signatures: tuple[str, ...]
    apart: bool
    own: bool  # lines of `owner` itself, not a definition inside it
    opens: bool  # the first lines of `owner`


def chunk_text(path: str, text: str, language: str, *, max_chars: int = 1500) -> list[Chunk]:
    """The chunks of one file in line order; every line is in exactly one of them.

    Joined, their texts are the text with its line ends normalised (`normalise_newlines`) and with the lines that nobody
    can read cut (`cut_long_lines`). A chunk is over `max_chars` characters only where a single line is, or where blank
    lines join it; a line of more than that and `LONGEST_LINE` is cut into parts that share its number. Of a notebook's
    text each cell has chunks of its own, named by its number. `language` is a name of `LANGUAGES`; any other, and '',
    is cut by lines. A text of white space alone has no chunks. Raises `ValueError` when `max_chars` is below 1.
    """
    if max_chars < 1:
        raise ValueError("max_chars must be at least 1")
    text = normalise_newlines(text)
    if not text or text.isspace():  # `.nojekyll`, an `__init__.py` of a line end: nothing to find
        return []
    if path.endswith(notebook.SUFFIX) and (cells := notebook.cells_of(text)):
        lines = text.split("\n")
        return [chunk for cell in cells for chunk in _cell_chunks(path, lines, language, cell, max_chars)]
    return _chunks(path, text, language, max_chars)


def _chunks(path: str, text: str, language: str, max_chars: int, above: int = 0) -> list[Chunk]:
    """The chunks of a text that has `above` lines of its file before it."""
    if not text:
        return []
    shown = cut_long_lines(text)
    offsets = line_offsets(shown)
    row = LANGUAGES.get(language)
    found: list[Mark] = []
    symbols: Symbols | None = None
    if row is not None and row.grammar:
        # A string that was cut has no end, and a parser would take the rest of the file for a part of it;
        # at a zero byte some end.
        found, symbols = syntax.outline(text.replace("\0", " "), row, offsets, max_chars, above)
    elif language == "markdown":
        found = markdown.marks(shown)
    kind = "block" if row is not None and row.grammar else "text"
    pieces = _Merge(shown, offsets, max_chars).pieces(found)
    records: list[str | None] = [None] * len(pieces)
    if symbols is not None:
        records[:] = records_of([above + piece.start + 1 for piece in pieces], symbols)
    chunks = [
        _chunk(path, shown, offsets, language, piece, kind, own) for piece, own in zip(pieces, records, strict=True)
    ]
    if above:
        chunks = [
            replace(chunk, start_line=chunk.start_line + above, end_line=chunk.end_line + above) for chunk in chunks
        ]
    longest = max(max_chars, LONGEST_LINE)
    if max(map(len, shown.split("\n"))) <= longest:
        return chunks
    # The parts of a line are one piece of code: its names are told once.
    return [
        replace(part, symbols="") if number and part.symbols else part
        for chunk in chunks
        for number, part in enumerate(split_line(chunk, longest))
    ]


def _cell_chunks(path: str, lines: list[str], language: str, cell: notebook.Cell, max_chars: int) -> list[Chunk]:
    """The chunks of one cell of a notebook with these lines, at the cell's."""
    of_cell = "\n".join(lines[cell.start : cell.end]) + "\n"
    language = language if cell.kind == "code" else "markdown" if cell.kind == "markdown" else ""
    return [
        replace(chunk, symbol=", ".join(filter(None, (f"cell {cell.number}", chunk.symbol))))
        for chunk in _chunks(path, of_cell, language, max_chars, cell.start)
    ]


class _Merge:
    """From marks to pieces of a good size, for one text."""

    def __init__(self, text: str, offsets: Sequence[int], max_chars: int) -> None:
        self.text = text
        self.offsets = offsets
        self.lines = len(offsets) - 1
        self.max_chars = max_chars

    def size(self, start: int, end: int) -> int:
        return self.offsets[end] - self.offsets[start]

    def pieces(self, found: list[Mark]) -> list[_Piece]:
        return self.join_scraps(self.join_neighbours(self.spread(found)))

    def spread(self, found: list[Mark]) -> list[_Piece]:
        """One piece a mark; the first one starts the file."""
        marks = found or [Mark(0, FILE)]
        pieces: list[_Piece] = []
        for index, mark in enumerate(marks):
            start = mark.line if index else 0
            end = marks[index + 1].line if index + 1 < len(marks) else self.lines
            if start >= end:
                continue
            apart = mark.apart
            if apart and mark.owner.kind in ("function", "method"):
                # A small helper inside a large function is read with the code around it.
                apart = self.size(start, end) >= _ALONE * self.max_chars
            signatures = (mark.signature,) if mark.signature else ()
            pieces.append(
                _Piece(start, end, mark.owner, mark.names, mark.kind, signatures, apart, not apart, mark.opens)
            )
        return pieces

    def join_neighbours(self, pieces: list[_Piece]) -> list[_Piece]:
        """Joins small definitions of one owner, and the lines between definitions."""
        joined: list[_Piece] = []
        index = 0
        while index < len(pieces):
            piece = pieces[index]
            run = index + 1
            while (
                run < len(pieces)
                and pieces[run].owner.symbol == piece.owner.symbol
                and pieces[run].apart == piece.apart
            ):
                run += 1
            if piece.apart:
                self.join_definitions(pieces[index:run], joined)
            else:
                self.join_lines(pieces[index:run], joined)
            index = run
        return joined

    def join_definitions(self, run: list[_Piece], joined: list[_Piece]) -> None:
        small, together = _ALONE * self.max_chars, _TOGETHER * self.max_chars
        last: _Piece | None = None
        for piece in run:
            size = self.size(piece.start, piece.end)
            if size > self.max_chars:
                self.join_lines([piece], joined)
                last = None
            elif last is not None and size < small and self.size(last.start, last.end) + size <= together:
                last = joined[-1] = _joined(last, piece)
            else:
                joined.append(piece)
                last = piece

    def join_lines(self, run: list[_Piece], joined: list[_Piece]) -> None:
        """Puts a run together and cuts it again into near equal parts, if it can be where a mark was."""
        start, end = run[0].start, run[-1].end
        if self.size(start, end) <= self.max_chars:
            joined.append(_joined(*run))
            return
        begins = {piece.start for piece in run}
        cuts = [*cut_points(self.text, self.offsets, start, end, self.max_chars, begins), end]
        index = 0
        for first, last in pairwise(cuts):
            # The pieces that begin in this part; where none does, the one that reaches into it.
            while index < len(run) and run[index].end <= first:
                index += 1
            stop = index
            while stop < len(run) and run[stop].start < last:
                stop += 1
            inside = [piece for piece in run[index:stop] if piece.start >= first] or [run[index]]
            part = _joined(*inside)
            part.start, part.end = first, last
            joined.append(part)

    def join_scraps(self, pieces: list[_Piece]) -> list[_Piece]:
        """Joins what is too slight to be found by itself to a neighbour, and blank lines to any."""
        kept: list[_Piece] = []
        index = 0
        while index < len(pieces):
            piece = pieces[index]
            following = pieces[index + 1] if index + 1 < len(pieces) else None
            weight = self.weight(piece)
            if weight == 0 and kept:
                kept[-1].end = piece.end
            elif weight == 0 and following:
                following.start = piece.start
            elif weight >= _SCRAP * self.max_chars or not self.join_scrap(kept, piece, following, weight):
                kept.append(piece)
            index += 1
        return kept

    def join_scrap(self, kept: list[_Piece], piece: _Piece, following: _Piece | None, weight: int) -> bool:
        """Joins `piece` to the next or the last kept piece; False where neither takes it."""
        last = kept[-1] if kept else None
        limit = self.max_chars if piece.own else _TOGETHER * self.max_chars
        opens = following is not None and following.owner.symbol == piece.owner.symbol and bool(piece.owner.symbol)
        forward = opens or not self.touches(piece)
        for is_following in (forward, not forward):
            other = following if is_following else last
            if other is None or (other.owner.symbol != piece.owner.symbol and weight > _CRUMB * self.max_chars):
                continue
            if self.size(min(piece.start, other.start), max(piece.end, other.end)) > limit:
                continue
            if is_following:
                merged = _joined(piece, other)
                other.start, other.names, other.kind = merged.start, merged.names, merged.kind
                other.owner, other.signatures = merged.owner, merged.signatures
                other.own, other.opens, other.apart = merged.own, merged.opens, merged.apart
            else:
                kept[-1] = _joined(other, piece)
            return True
        return False

    def touches(self, piece: _Piece) -> bool:
        """Whether the line above the piece is not blank."""
        if piece.start == 0:
            return False
        above = self.text[self.offsets[piece.start - 1] : self.offsets[piece.start]]
        return not above.isspace()

    def weight(self, piece: _Piece) -> int:
        """Characters of a piece without the blanks around it."""
        return len(self.text[self.offsets[piece.start] : self.offsets[piece.end]].strip())


def _joined(*pieces: _Piece) -> _Piece:
    """Neighbours as one piece.

    It is the owner's where the owner begins in it, or where no definition stands in it: a stray field
    among methods does not make them a second definition of their class.
    """
    openings = [piece for piece in pieces if piece.opens]
    # Of a namespace and the class that begins in it, the class is what one looks for.
    openings.sort(key=lambda piece: piece.owner.kind == "module")
    outer = openings[0] if openings else next((piece for piece in pieces if not piece.own), pieces[0])
    names = [piece.owner.symbol for piece in openings if piece is not outer]
    names.extend(name for piece in pieces for name in piece.names)
    return _Piece(
        start=pieces[0].start,
        end=pieces[-1].end,
        owner=outer.owner,
        names=tuple(dict.fromkeys(names))[:MAX_NAMES],
        kind=outer.kind or next((piece.kind for piece in pieces if piece.kind), ""),
        signatures=tuple(dict.fromkeys(part for piece in pieces for part in piece.signatures)),
        apart=any(piece.apart for piece in pieces),
        own=outer.own,
        opens=outer.opens,
    )


def _chunk(
    path: str,
    text: str,
    offsets: Sequence[int],
    language: str,
    piece: _Piece,
    plain_kind: str,
    symbols: str | None,
) -> Chunk:
    owner = piece.owner if piece.own else FILE
    if owner.kind == "module" and not piece.opens:
        owner = FILE  # lines somewhere in a namespace define nothing of that name
    names = (owner.symbol, *piece.names) if owner.symbol else piece.names
    names = tuple(dict.fromkeys(names))[:MAX_NAMES]
    kind = owner.kind if owner.symbol else piece.kind or plain_kind
    signatures = (owner.signature, *piece.signatures) if owner.symbol else piece.signatures
    return Chunk(
        path=path,
        language=language,
        kind=kind,
        symbol=", ".join(names),
        start_line=piece.start + 1,
        end_line=piece.end,
        text=text[offsets[piece.start] : offsets[piece.end]],
        signature="\n".join(filter(None, dict.fromkeys(signatures)))[:MAX_SIGNATURE],
        symbols=symbols,
    )
