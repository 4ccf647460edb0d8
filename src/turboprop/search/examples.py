"""What a repository could be asked, for who sees it first: sentences and names of its own code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turboprop.code.documented import documented
from turboprop.code.languages import LANGUAGES
from turboprop.index import schema
from turboprop.search.path_rules import place_of

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader

MOST = 4
"""Examples; half of them sentences at most, the rest names."""
_LOOKED_AT = 40
"""Chunks whose text is read, of all that define something: one of every so many, so that all folders have a say."""
_SENTENCE = re.compile(r"[^.!?:;\n`]{16,56}(?=[.:;,]|$)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{5,30}")


def example_queries(reader: IndexReader) -> Iterator[str]:
    """Up to `MOST` queries that the index answers, the same for the same version."""
    columns = [schema.PATH, schema.LANGUAGE, schema.SYMBOL]
    rows = [row for row in reader.rows_where(f"{schema.SYMBOL} != ''", columns) if _is_code(row)]
    rows = rows[:: -(-len(rows) // _LOOKED_AT) or 1]
    texts = reader.fetch([row["_rowid"] for row in rows], [schema.TEXT])
    said: list[str] = []
    named: list[str] = []
    for row, content in zip(rows, texts, strict=True):
        for one in documented(content[schema.TEXT], row[schema.LANGUAGE])[:1]:
            found = _SENTENCE.match(" ".join(one.text.split()))
            if found and found[0].count(" ") >= 3:
                said.append(found[0].strip())
        name = row[schema.SYMBOL].split(", ")[0].rpartition(".")[2]
        if _WORD.fullmatch(name) and not name.startswith("_") and not name.isupper():  # a constant is seldom asked for
            named.append(name)
    sentences = _spread(said, MOST // 2)
    names = _spread(list(dict.fromkeys(named)), MOST - len(sentences))
    yield from sentences
    yield from (f"where is {name} defined" if at == 0 else name for at, name in enumerate(names))


def _is_code(row: dict[str, Any]) -> bool:
    language = row[schema.LANGUAGE]
    place = place_of(row[schema.PATH], language)
    return language in LANGUAGES and bool(LANGUAGES[language].grammar) and not place.is_test and not place.is_prose


def _spread(found: list[str], most: int) -> list[str]:
    """`most` of them, from everywhere in the list."""
    return found[:: -(-len(found) // most) or 1][:most] if most else []
