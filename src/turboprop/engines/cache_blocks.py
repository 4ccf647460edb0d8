"""Which block of the key-value cache belongs to whom, and which hold beginnings that may be shared.

Blocks hold a fixed number of tokens. A full block is remembered under its tokens and the block before it
(its `node`), so a chain of nodes is a prefix and equality is exact: no hash can collide. A block that
nobody uses keeps its contents until it is needed; the one unused longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = 0
"""The node before every first block."""
_Key = tuple[int, tuple[int, ...]]


@dataclass(slots=True)
class _Block:
    users: int = 0
    node: int | None = None
    key: _Key | None = None


class CacheBlocks:
    """`count` blocks of `size` tokens. Not thread-safe: one loop owns it."""

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self._blocks = [_Block() for _ in range(count)]
        self._free = list(range(count - 1, -1, -1))  # low numbers first: pages never touched cost nothing
        self._unused: OrderedDict[int, None] = OrderedDict()
        self._known: dict[_Key, int] = {}
        self._next_node = ROOT + 1

    @property
    def available(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._unused)

    def prefix(self, ids: Sequence[int]) -> list[int]:
        """Blocks that hold the beginning of `ids`, taken for the caller. The last id is never among them: its
        logits are still to be computed."""
        found: list[int] = []
        node = ROOT
        for start in range(0, len(ids) - self.size, self.size):
            number = self._known.get((node, tuple(ids[start : start + self.size])))
            if number is None:
                break
            node = self._node(number)
            found.append(number)
        for number in found:
            self._blocks[number].users += 1
            self._unused.pop(number, None)
        return found

    def take(self) -> int:
        """An empty block. Raises IndexError where `available` is 0."""
        if self._free:
            number = self._free.pop()
        else:
            if not self._unused:
                raise IndexError("no block is left")
            number, _ = self._unused.popitem(last=False)
            self._forget(number)
        self._blocks[number].users = 1
        return number

    def remember(self, before: int | None, number: int, ids: Sequence[int]) -> None:
        """The block `number` is full of `ids` and follows the block `before` (None: it is the first).

        Where an equal block is known already, or the one before is not, the block stays its user's own.
        """
        node = ROOT if before is None else self._blocks[before].node
        block = self._blocks[number]
        if node is None or block.node is not None:
            return
        key = (node, tuple(ids))
        if key not in self._known:
            self._known[key] = number
            block.key, block.node = key, self._next_node
            self._next_node += 1

    def release(self, numbers: Sequence[int]) -> None:
        """The caller is done with these, given in their order."""
        for number in reversed(numbers):  # of one chain the end is dropped first
            block = self._blocks[number]
            block.users -= 1
            if block.users == 0:
                if block.node is None:
                    self._free.append(number)
                else:
                    self._unused[number] = None

    def _node(self, number: int) -> int:
        node = self._blocks[number].node
        assert node is not None
        return node

    def _forget(self, number: int) -> None:
        block = self._blocks[number]
        if block.key is not None:
            del self._known[block.key]
        block.key = block.node = None
