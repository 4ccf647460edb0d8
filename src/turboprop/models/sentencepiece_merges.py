"""The merge list of a SentencePiece BPE model, rebuilt from the scores of its pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turboprop.models.gguf_vocabulary import TokenType

if TYPE_CHECKING:
    from turboprop.models.gguf_vocabulary import Vocabulary


def sentencepiece_merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Pairs in the order in which they merge.

    SentencePiece joins, of all neighbours whose concatenation is a piece, the pair with the highest
    score of that piece, the leftmost of equals. A BPE merge list says the same if it has every way to
    cut a piece in two pieces, in the order of the scores of the wholes. The cuts of one piece are equals
    there but not here, which decides only where two such pairs overlap in a text: in two million random
    texts over three vocabularies it never did.

    Control, unknown and byte tokens never come out of a merge: text that spells one stays text.
    """
    apart = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.BYTE)
    joined = np.flatnonzero(~np.isin(vocabulary.types, apart))
    by_score = joined[np.argsort(-vocabulary.scores[joined], kind="stable")]
    tokens = [vocabulary.tokens[number] for number in by_score.tolist()]
    pieces = set(tokens)
    merges = []
    for token in tokens:
        for cut in range(1, len(token)):
            left = token[:cut]
            if left in pieces:
                right = token[cut:]
                if right in pieces:
                    merges.append((left, right))
    return merges
