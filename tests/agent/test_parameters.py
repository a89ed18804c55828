from __future__ import annotations

import numpy as np
import pytest
import torch

from dqn_cli.agent.parameters import Layout, Parameter, initial, size, views

LAYOUT: Layout = {
    "matrix": Parameter((2, 3), -1.0, 1.0),
    "constant": Parameter((4,), 1, 1),
    "number": Parameter((), 5.0, 6.0),
}


def test_size_counts_every_number() -> None:
    assert size(LAYOUT) == 11  # 2 * 3 + 4 + 1


def test_views_lie_in_the_order_of_the_layout_row_by_row() -> None:
    named = views(torch.arange(11.0), LAYOUT)
    assert named["matrix"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert named["constant"].tolist() == [6, 7, 8, 9]
    assert named["number"].item() == 10


def test_views_share_the_vectors_memory() -> None:
    flat = torch.zeros(11)
    views(flat, LAYOUT)["matrix"][1, 2] = 9
    assert flat.tolist() == [0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0]


def test_gradients_flow_through_views_to_the_vector() -> None:
    flat = torch.arange(11.0, requires_grad=True)
    named = views(flat, LAYOUT)
    (named["matrix"].sum() * 2 + named["number"] ** 2).backward()
    # d/dx of 2x is 2 for the matrix; of x^2 at 10 it is 20; the constant takes no part.
    assert flat.grad is not None
    assert flat.grad.tolist() == [2] * 6 + [0] * 4 + [20]


def test_initial_values_lie_in_their_own_intervals_and_fill_them() -> None:
    layout = {"low": Parameter((40, 50), -3, -1), "one": Parameter((7,), 1, 1)}
    named = views(initial(layout, np.random.default_rng(0)), layout)
    low = named["low"]
    assert low.min() >= -3
    assert low.max() < -1
    assert low.min() < -2.99
    assert low.max() > -1.01
    assert abs(low.mean() + 2) < 0.05  # 2000 draws with deviation 2 / sqrt(12): error 0.013
    assert named["one"].tolist() == [1] * 7


def test_initial_values_are_float64_and_follow_the_generator_alone() -> None:
    first, again, other = (initial(LAYOUT, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.dtype == torch.float64
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_parameters_are_drawn_in_the_order_of_the_layout() -> None:
    named = views(initial(LAYOUT, np.random.default_rng(8)), LAYOUT)
    random = np.random.default_rng(8)
    assert named["matrix"].tolist() == random.uniform(-1, 1, (2, 3)).tolist()
    assert named["constant"].tolist() == random.uniform(1, 1, 4).tolist()
    assert named["number"].item() == random.uniform(5, 6)


def test_an_empty_layout_has_no_numbers() -> None:
    assert size({}) == 0


def test_parameters_of_another_size_than_the_layouts_are_refused() -> None:
    with pytest.raises(RuntimeError, match="split_with_sizes"):
        views(torch.zeros(12), LAYOUT)
