"""A sum tree of few, wide levels: draws in proportion to priorities, in NumPy."""

from __future__ import annotations

import numpy as np

from dqn_cli.arrays import Array

TOP = 1024
WIDTH = 32
ALMOST_ALL = 1 - 2.0**-52


class SumTree:
    """Non-negative priorities of `leaves` for each of `members`, and the sums above them.

    At most 1024 sums stand at the top and each has 32 children, so that two levels below are enough
    for a million leaves, and each step down is a few operations on a whole batch. Sums are computed
    anew from the values below, never by adding differences, so rounding can't pile up.
    """

    def __init__(self, members: int, leaves: int) -> None:
        tops, depth = leaves, 0
        while tops > TOP:
            tops, depth = -(-tops // WIDTH), depth + 1
        self.size = tops * WIDTH**depth  # leaves of a member, rounded up to whole blocks
        self._members = np.arange(members)[:, None]
        # From the top down, each level has the blocks of all members, [blocks, siblings].
        below = [(members * tops * WIDTH**level, WIDTH) for level in range(depth)]
        self._levels = [np.zeros(shape) for shape in [(members, tops), *below]]

    @property
    def leaves(self) -> Array:
        """The priorities themselves, [members, size]."""
        return self._levels[-1].reshape(-1, self.size)

    @property
    def total(self) -> Array:
        """Sum of all priorities, [members]."""
        return np.asarray(self._levels[0].sum(1))

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes."""
        return sum(level.nbytes for level in self._levels)

    def set(self, node: Array, value: Array) -> None:
        """Sets priorities [n] of leaves [n], counted through all members; of equal ones the last.

        Leaf i of member m is m * size + i.
        """
        top, *below = self._levels
        for level in reversed(below):
            level.put(node, value)
            node = node // WIDTH  # the block's own place in the level above
            value = level.take(node, axis=0).sum(1)
        top.put(node, value)

    def find(self, share: Array) -> Array:
        """The leaves [members, n] at these shares in [0, 1) of each member's total priority.

        Leaves lie side by side, each as wide as its priority; one of priority 0 is never found.
        Like in `set`, leaf i of member m is m * size + i.
        """
        top, *below = self._levels
        sums = top.cumsum(1)
        rest = np.minimum(share, ALMOST_ALL) * sums[:, -1:]  # [members, n]
        child = np.array([row.searchsorted(r, "right") for row, r in zip(sums, rest, strict=True)])
        node = (child + self._members * top.shape[1]).ravel()  # among those of all members
        rest = rest.ravel() - (sums.take(node) - top.take(node))
        rows = np.arange(node.size) * WIDTH
        for level in below:
            values = level.take(node, axis=0)  # [members * n, WIDTH]
            sums = values.cumsum(1)
            # What is left was rounded on the way down, and must stay inside the block.
            rest = np.minimum(np.maximum(rest, 0), sums[:, -1] * ALMOST_ALL)
            child = (sums > rest[:, None]).argmax(1)
            at = rows + child
            rest = rest - (sums.take(at) - values.take(at))
            node = node * WIDTH + child
        return np.asarray(node.reshape(share.shape))
