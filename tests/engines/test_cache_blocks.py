"""The book of the cache's blocks: whatever happens, no block has two masters and every prefix is true."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from turboprop.engines.cache_blocks import CacheBlocks

SIZE, COUNT = 2, 6


class Book(RuleBasedStateMachine):
    """Sequences over three ids come and go; `written` is what each block would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = CacheBlocks(COUNT, SIZE)
        self.sequences: list[tuple[list[int], list[int]]] = []
        self.written: dict[int, list[int]] = {}

    @rule(ids=st.lists(st.integers(0, 2), min_size=1, max_size=9))
    def begin(self, ids: list[int]) -> None:
        found = self.blocks.prefix(ids)
        assert len(found) * SIZE < len(ids)
        for number, block in enumerate(found):
            assert self.written[block] == ids[: (number + 1) * SIZE]
        needed = -(-len(ids) // SIZE) - len(found)
        if needed > self.blocks.available:
            self.blocks.release(found)
            return
        mine = found + [self.blocks.take() for _ in range(needed)]
        for number in range(len(found), len(mine)):
            self.written[mine[number]] = ids[: (number + 1) * SIZE]
            if (number + 1) * SIZE <= len(ids):
                before = mine[number - 1] if number else None
                self.blocks.remember(before, mine[number], ids[number * SIZE : (number + 1) * SIZE])
        self.sequences.append((ids, mine))

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.sequences) - 1))
        self.blocks.release(self.sequences.pop(index)[1])

    @invariant()
    def every_block_is_somewhere_once(self) -> None:
        used = {block for _, mine in self.sequences for block in mine}
        assert len(used) + self.blocks.available == COUNT

    @invariant()
    def what_is_used_is_not_written_over(self) -> None:
        for ids, mine in self.sequences:
            for number, block in enumerate(mine):
                assert self.written[block] == ids[: (number + 1) * SIZE]


Book.TestCase.settings = settings(deadline=None)
TestBook = Book.TestCase


def test_the_block_unused_longest_goes_first() -> None:
    blocks = CacheBlocks(2, 1)
    for ids in ([1], [2]):
        number = blocks.take()
        blocks.remember(None, number, ids)
        blocks.release([number])
    assert len(blocks.prefix([2, 0])) == 1
    blocks.take()
    assert blocks.prefix([1, 0]) == []
