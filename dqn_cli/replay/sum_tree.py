"""A sum tree of few, wide levels: draws in proportion to priorities, on arrays or tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Values, first_above, library, searched

TOP = 1024
WIDTH = 32
ALMOST_ALL = 1 - 2.0**-52


class SumTree(NamedTuple):
    """Non-negative priorities of the leaves of each member, and the sums above them.

    At most 1024 sums stand at the top and each has 32 children, so that two levels below are enough
    for a million leaves, and each step down is a few operations on a whole batch. Sums are computed
    anew from the values below, never by adding differences, so rounding can't pile up. Levels go
    from the top [members, sums] down; each below has the blocks of all members, [blocks, 32].
    """

    levels: tuple[Values, ...]

    @classmethod
    def empty(cls, members: int, leaves: int) -> SumTree:
        """Priorities of 0, in arrays; the leaves of a member are rounded up to whole blocks."""
        tops, depth = leaves, 0
        while tops > TOP:
            tops, depth = -(-tops // WIDTH), depth + 1
        below = [(members * tops * WIDTH**level, WIDTH) for level in range(depth)]
        return cls(tuple(np.zeros(shape) for shape in [(members, tops), *below]))

    @property
    def size(self) -> int:
        """Leaves of a member."""
        top, *below = self.levels
        return int(top.shape[1] * WIDTH ** len(below))

    @property
    def leaves(self) -> Values:
        """The priorities themselves, [members, size]."""
        return self.levels[-1].reshape(-1, self.size)  # [members, size]

    @property
    def total(self) -> Values:
        """Sum of all priorities, [members]."""
        return self.levels[0].sum(1)

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes."""
        return sum(level.nbytes for level in self.levels)

    def set(self, leaf: Values, value: Values) -> None:
        """Sets priorities [n] of leaves [n], counted through all members; of equal ones the last.

        Leaf i of member m is m * size + i.
        """
        top, *below = self.levels
        node = leaf
        for level in reversed(below):
            level.reshape(-1)[node] = value  # [leaves or sums of all members]
            node = node // WIDTH  # the block's own place in the level above
            value = level[node].sum(1)
        top.reshape(-1)[node] = value  # [members * sums]

    def find(self, share: Values) -> Values:
        """The leaves [members, n] at these shares in [0, 1) of each member's total priority.

        Leaves lie side by side, each as wide as its priority; one of priority 0 is never found.
        Like in `set`, leaf i of member m is m * size + i.
        """
        top, *below = self.levels
        arange = library(share).arange
        sums = top.cumsum(1)
        rest = share.clip(0, ALMOST_ALL) * sums[:, -1:]  # [members, n]
        first = arange(top.shape[0])[:, None] * top.shape[1]  # [members, 1], among those of all
        node = (searched(sums, rest) + first).reshape(-1)  # [members * n]
        rest = rest.reshape(-1) - (sums.take(node) - top.take(node))  # [members * n]
        row = arange(node.shape[0]) * WIDTH
        for level in below:
            values = level[node]  # [members * n, WIDTH]
            sums = values.cumsum(1)
            # What is left was rounded on the way down, and must stay inside the block.
            rest = library(rest).minimum(rest, sums[:, -1] * ALMOST_ALL).clip(0)
            child = first_above(sums, rest)
            rest = rest - (sums.take(row + child) - values.take(row + child))
            node = node * WIDTH + child
        return node.reshape(share.shape)  # [members, n]
