"""What a long report consists of, and how much of each part a hit holds: for `--explain` alone, not for the ranking."""

from __future__ import annotations

from collections.abc import Mapping

from turboprop.code.terms import counted_terms
from turboprop.search.analysis import title_of
from turboprop.search.places import find_mentions

PARTS = ("title", "prose", "code", "traceback")
_FENCES = ("```", "~~~")


def parts_of(text: str) -> dict[str, str]:
    """The texts of the parts that a report has, by their names in `PARTS`.

    What is fenced or indented by four is code, a block of it that names places in files a traceback.
    """
    title = title_of(text)
    found: dict[str, list[str]] = {"title": [title]} if title else {}
    body = text.strip().partition("\n")[2] if title else text
    block: list[str] = []
    fenced = False

    def end() -> None:
        if block:
            whole = "\n".join(block)
            found.setdefault("traceback" if find_mentions(whole) else "code", []).append(whole)
            block.clear()

    for line in body.split("\n"):
        if line.lstrip().startswith(_FENCES):
            fenced = not fenced
            if not fenced:
                end()
        elif fenced or line.startswith(("    ", "\t")):
            block.append(line)
        else:
            end()
            found.setdefault("prose", []).append(line)
    end()
    return {name: "\n".join(found[name]) for name in PARTS if any(each.strip() for each in found.get(name, ()))}


def held_of(parts: Mapping[str, str], worth: Mapping[int, float], text: str) -> dict[str, float]:
    """For each part, as `in title`, the share, 0 to 1, of its words that `text` holds, each counted by its `worth`."""
    held = counted_terms(text).keys()
    shares = {}
    for name, part in parts.items():
        asked = [term for term in counted_terms(part) if worth.get(term, 0.0) > 0]
        total = sum(worth[term] for term in asked)
        shares[f"in {name}"] = sum(worth[term] for term in asked if term in held) / total if total else 0.0
    return shares
