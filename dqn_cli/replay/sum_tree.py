"""A sum tree of few, wide levels: sampling in proportion to priorities, on arrays or tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Values, array_namespace, first_above, searched

TOP = 1024
WIDTH = 32
ALMOST_ALL = 1 - 2.0**-52


class SumTree(NamedTuple):
    """Priorities of the leaves of each member, and the sums above them.

    The top level has at most 1024 sums and each sum has 32 children, so two levels below are enough
    for a million leaves. Each step down is a few operations on a whole batch. Sums are computed
    from the values below, never by adding differences, so rounding errors don't accumulate. The top
    level is [members, sums]; a level below has the blocks of all members, [blocks, 32].
    """

    levels: tuple[Values, ...]

    @classmethod
    def empty(cls, members: int, leaves: int) -> SumTree:
        """Return a tree of zeros in arrays; a member's leaves are rounded up to whole blocks."""
        tops, depth = leaves, 0
        while tops > TOP:
            tops, depth = -(-tops // WIDTH), depth + 1
        below = [(members * tops * WIDTH**level, WIDTH) for level in range(depth)]
        return cls(tuple(np.zeros(shape) for shape in [(members, tops), *below]))

    @property
    def size(self) -> int:
        """Number of leaves of a member."""
        top, *below = self.levels
        return int(top.shape[1] * WIDTH ** len(below))

    @property
    def leaves(self) -> Values:
        """Priorities of the leaves, [members, size]."""
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
        """Set priorities [n] of leaves [n]; where a leaf occurs twice, the last one counts.

        Leaf i of member m has the number m * size + i.
        """
        top, *below = self.levels
        node = leaf
        for level in reversed(below):
            level.reshape(-1)[node] = value  # [leaves or sums of all members]
            node = node // WIDTH  # the block's sum in the level above
            value = level[node].sum(1)
        top.reshape(-1)[node] = value  # [members * sums]

    def find(self, share: Values) -> Values:
        """Return the leaves [members, n] at shares in [0, 1) of each member's total priority.

        Leaves lie side by side, each as wide as its priority; a leaf of priority 0 is never found.
        Leaf i of member m has the number m * size + i.
        """
        top, *below = self.levels
        arange = array_namespace(share).arange
        sums = top.cumsum(1)
        rest = share.clip(0, ALMOST_ALL) * sums[:, -1:]  # [members, n]
        first = (
            arange(top.shape[0])[:, None] * top.shape[1]
        )  # [members, 1], number of its first sum
        node = (searched(sums, rest) + first).reshape(-1)  # [members * n]
        rest = rest.reshape(-1) - (sums.take(node) - top.take(node))  # [members * n]
        row = arange(node.shape[0]) * WIDTH
        for level in below:
            values = level[node]  # [members * n, WIDTH]
            sums = values.cumsum(1)
            # The remainder was rounded on the way down; it must stay inside the block.
            rest = array_namespace(rest).minimum(rest, sums[:, -1] * ALMOST_ALL).clip(0)
            child = first_above(sums, rest)
            rest = rest - (sums.take(row + child) - values.take(row + child))
            node = node * WIDTH + child
        return node.reshape(share.shape)  # [members, n]


class Priorities(NamedTuple):
    """Storage of prioritised replay, in arrays that keep their place."""

    tree: SumTree
    largest: Values  # [members], of all priorities seen, to the power of alpha
    alpha: Values  # [members, 1], as are those below
    eps: Values
    beta: Values
    beta_end: Values
