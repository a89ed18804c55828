from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recorded_envs import as_tensors

from dqn_cli.replay.sum_tree import SumTree

Array = NDArray[Any]
SIZES = [1, 31, 32, 33, 1024, 1025, 5000, 40_000]  # one level up to 1024, two to 32768, then three


def tree_of(priorities: Array) -> SumTree:
    """A tree with these priorities [members, leaves]."""
    tree = SumTree.empty(*priorities.shape)
    assign(tree, np.arange(priorities.size), priorities.ravel(), priorities.shape[1])
    return tree


def assign(tree: SumTree, leaf: Array, value: Array, leaves: int) -> None:
    """Sets leaves that are counted through all members, of `leaves` each; tensors do the same."""
    member, own = np.divmod(leaf, leaves)
    leaf, copied = member * tree.size + own, as_tensors(deepcopy(tree))
    copied.set(torch.from_numpy(leaf), torch.from_numpy(value))
    tree.set(leaf, value)
    for one, other in zip(tree.levels, copied.levels, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def find(tree: SumTree, share: Array) -> Array:
    """The leaves found, counted within each member, in arrays as in tensors."""
    found = tree.find(share)
    assert (found == as_tensors(tree).find(torch.from_numpy(share)).numpy()).all()
    return np.asarray(found - np.arange(len(share))[:, None] * tree.size)


def whole_numbers(members: int, leaves: int) -> Array:
    """Priorities from 0 to 9, whose sums have no rounding; the last of each member is not 0."""
    priorities = np.random.default_rng(leaves).integers(0, 10, (members, leaves)).astype(float)
    priorities[:, -1] = 3
    return priorities


def slowly_found(priorities: Array, share: float) -> int:
    """Walks along one member's leaves until their sum is above that share of the total."""
    rest = share * priorities.sum()
    for leaf, priority in enumerate(priorities.tolist()):
        rest -= priority
        if rest < 0:
            return leaf
    raise AssertionError("a share of 1 or more")


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("leaves", SIZES)
def test_a_share_finds_the_leaf_where_the_running_sum_passes_it(leaves: int, members: int) -> None:
    priorities = whole_numbers(members, leaves)
    totals = priorities.sum(1, keepdims=True)
    # The middles of units, from all over the line, where rounding can't matter.
    units = np.random.default_rng(1).integers(0, totals, (members, 60))
    share = (units + 0.5) / totals
    expected = [
        [slowly_found(mine, each) for each in row]
        for mine, row in zip(priorities, share, strict=True)
    ]
    assert find(tree_of(priorities), share).tolist() == expected


@pytest.mark.parametrize("leaves", SIZES)
def test_every_unit_of_the_line_belongs_to_the_leaf_that_it_lies_in(leaves: int) -> None:
    priorities = whole_numbers(1, leaves)
    total = int(priorities.sum())
    share = (np.arange(total) + 0.5) / total
    expected = np.repeat(np.arange(leaves), priorities[0].astype(int))
    assert (find(tree_of(priorities), share[None]) == expected).all()


@pytest.mark.parametrize("leaves", SIZES)
def test_the_ends_of_the_line_are_the_first_and_the_last_leaf_with_any_priority(
    leaves: int,
) -> None:
    priorities = np.zeros((2, leaves))
    priorities[0] = 0.1
    priorities[1, leaves // 2] = 0.1
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    found = find(tree_of(priorities), np.stack([ends, ends]))
    assert found.tolist() == [[0, leaves - 1], [leaves // 2, leaves // 2]]


def chi_square(counts: Array, expected: Array) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def limit(degrees: int) -> float:
    """Chi-square is above this with p < 1e-4 (Laurent & Massart 2000, lemma 1, x = 9.21)."""
    return degrees + 2 * (9.21 * degrees) ** 0.5 + 2 * 9.21


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("leaves", SIZES)
def test_leaves_are_drawn_in_proportion_to_their_priorities(leaves: int, members: int) -> None:
    random = np.random.default_rng([leaves, members])
    priorities = random.uniform(0.5, 2, (members, leaves))
    priorities *= random.random((members, leaves)) < 0.8
    priorities[:, 0] = 1
    tree, counts = tree_of(priorities), np.zeros((members, leaves))
    draws, size = 10 * leaves + 1000, 5000
    for begin in range(0, draws, size):
        drawn = find(tree, random.random((members, min(size, draws - begin))))
        counts += [np.bincount(mine, minlength=leaves) for mine in drawn]
    for mine, drawn in zip(priorities, counts, strict=True):
        expected = draws * mine / mine.sum()
        assert not drawn[mine == 0].any()
        statistic = chi_square(drawn[mine > 0], expected[mine > 0])
        assert statistic < limit(np.count_nonzero(mine) - 1)


@pytest.mark.parametrize("spread", [0, 6])  # powers of ten to either side of 1
@pytest.mark.parametrize("leaves", SIZES)
def test_a_priority_of_zero_is_never_found(leaves: int, spread: int) -> None:
    random = np.random.default_rng(leaves)
    for density in (0.5, 0.02):
        priorities = 10 ** random.uniform(-spread, spread, (2, leaves)) * random.random(leaves)
        priorities *= random.random((2, leaves)) < density
        priorities[:, leaves // 2] = [10.0**-spread, 10.0**spread]
        tree = tree_of(priorities)
        # The edges between leaves are where rounding hurts most.
        edges = (priorities.cumsum(1) / priorities.sum(1, keepdims=True))[:, :5000]
        near = [np.nextafter(edges, 0), edges, np.nextafter(edges, 2), random.random((2, 5000))]
        found = find(tree, np.clip(np.concatenate(near, 1), 0, np.nextafter(1, 0)))
        assert found.min() >= 0
        assert found.max() < leaves
        assert (np.take_along_axis(priorities, found, 1) > 0).all()


@pytest.mark.parametrize("draws", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("leaves", [32, 2000, 40_000])
def test_the_largest_share_finds_the_last_leaf_with_any_priority(leaves: int, draws: int) -> None:
    # Zeros stand before and behind them in their block; how a sum is rounded depends on `draws`.
    random, tree = np.random.default_rng(draws), SumTree.empty(1, leaves)
    begin = leaves // 64 * 32
    for _ in range(500):
        tree.set(np.arange(begin + 1, begin + 20), random.random(19))
        assert (tree.find(np.full((1, draws), 1 - 2.0**-53)) == begin + 19).all()


@pytest.mark.parametrize("leaves", SIZES)
def test_tiny_priorities_are_found_where_nothing_else_has_any(leaves: int) -> None:
    share = np.random.default_rng(0).random((1, 5000))
    found = find(tree_of(np.full((1, leaves), 1e-300)), share)
    assert np.abs((found + 0.5) / leaves - share).max() <= 0.501 / leaves


@pytest.mark.parametrize("leaves", SIZES)
def test_sums_after_many_updates_are_exactly_those_of_a_fresh_tree(leaves: int) -> None:
    random = np.random.default_rng(leaves)
    tree, known = SumTree.empty(2, leaves), np.zeros((2, leaves))
    for _ in range(500):
        leaf = random.integers(0, known.size, 20)
        value = 10 ** random.uniform(-6, 6, 20) * (random.random(20) < 0.8)
        assign(tree, leaf, value, leaves)
        known.ravel()[leaf] = value  # of equal ones the last
    fresh = tree_of(known)
    assert (tree.leaves[:, :leaves] == known).all()
    for level, expected in zip(tree.levels, fresh.levels, strict=True):
        assert (level == expected).all()
    assert tree.total.tolist() == fresh.total.tolist()
    assert tree.total.tolist() == pytest.approx(known.sum(1).tolist(), rel=1e-12)


@pytest.mark.parametrize("leaves", [40, 4000, 40_000])
def test_the_last_value_of_a_leaf_that_is_set_twice_stays(leaves: int) -> None:
    tree = SumTree.empty(1, leaves)
    tree.set(np.array([3, 35, 3, 35, 3]), np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert np.flatnonzero(tree.leaves).tolist() == [3, 35]
    assert tree.leaves[0, [3, 35]].tolist() == [16, 8]
    assert tree.total.tolist() == [24]
    # 16 / 24 of the line is the first leaf's
    assert tree.find(np.array([[0.66, 0.67]])).tolist() == [[3, 35]]


@pytest.mark.parametrize("leaves", [40, 4000, 40_000])
def test_members_have_lines_of_their_own(leaves: int) -> None:
    tree = SumTree.empty(2, leaves)
    assert tree.size >= leaves
    assert tree.leaves.shape == (2, tree.size)
    tree.set(np.array([0, 32, tree.size + 5]), np.array([1.0, 3.0, 7.0]))
    assert tree.total.tolist() == [4, 7]
    # 0.2 of 4 is in the first leaf, 0.3 in the second; all of 7 is one leaf
    found = tree.find(np.array([[0.2, 0.3], [0.2, 0.3]]))
    assert found.tolist() == [[0, 32], [tree.size + 5] * 2]


@pytest.mark.parametrize("leaves", SIZES)
def test_all_priorities_may_be_taken_back(leaves: int) -> None:
    tree = tree_of(np.ones((1, leaves)))
    assert tree.total.tolist() == [leaves]
    tree.set(np.arange(leaves), np.zeros(leaves))
    assert tree.total.tolist() == [0]
    assert not any(level.any() for level in tree.levels)


def test_shapes_follow_what_is_asked_and_memory_counts_every_level() -> None:
    tree = tree_of(np.ones((3, 5000)))
    assert tree.find(np.zeros((3, 7))).shape == (3, 7)
    # 157 blocks of 32 make 5024 leaves, in float64.
    assert tree.nbytes == 3 * (157 + 157 * 32) * 8
