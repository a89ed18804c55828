from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.parameters import initial
from dqn_cli.agent.quantiles import Qr
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.table import Table

SCALAR = Scalar(Loss.huber)
ONE_HOT = array_spaces((5,), (0,) * 5, (1,) * 5, 2, one_hot=True)


def box(low: tuple[float, ...], high: tuple[float, ...]) -> Spaces:
    return array_spaces((len(low),), low, high, 2)


def test_a_table_starts_at_zero_for_every_cell_and_action() -> None:
    layout = Table(10, None, None).layout(box((0, 0), (1, 1)), Qr(3))
    assert layout["table"].shape == (100, 6)  # 10^2 cells, 2 actions of 3 atoms
    assert initial(layout, np.random.default_rng(0)).abs().max() == 0


def test_a_one_hot_observation_is_its_own_cell() -> None:
    table = Table(10, None, None)
    assert table.layout(ONE_HOT, SCALAR)["table"].shape == (5, 2)
    p = {"table": torch.arange(10.0).view(5, 2)}
    z = table.forward(p, torch.eye(5)[[3, 0, 4]], ONE_HOT, SCALAR)
    assert z.tolist() == [[[6], [7]], [[0], [1]], [[8], [9]]]


def cell(table: Table, spaces: Spaces, *obs: float) -> float:
    cells, columns = table.layout(spaces, SCALAR)["table"].shape
    p = {"table": torch.arange(float(cells)).repeat_interleave(columns).view(cells, columns)}
    return float(table.forward(p, torch.tensor([obs]), spaces, SCALAR)[0, 0, 0])


def test_cells_count_through_the_elements_the_last_fastest() -> None:
    table, spaces = Table(4, None, None), box((0, -2), (4, 2))
    cells = [cell(table, spaces, i + 0.5, j - 1.5) for i in range(4) for j in range(4)]
    assert cells == list(range(16))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1.0, 0), (-0.51, 0), (-0.49, 1), (0.0, 2), (0.49, 2), (0.5, 3), (0.99, 3), (1.0, 3)],
)
def test_bins_are_equally_wide_and_hold_their_lower_edge(value: float, expected: int) -> None:
    assert cell(Table(4, None, None), box((-1,), (1,)), value) == expected


@pytest.mark.parametrize("beyond", [1.5, 1e6, 1e30, float("inf")])
def test_values_beyond_the_bounds_fall_into_the_outermost_bins(beyond: float) -> None:
    table, spaces = Table(4, None, None), box((-1,), (1,))
    assert (cell(table, spaces, -beyond), cell(table, spaces, beyond)) == (0, 3)


def test_bounds_of_ones_own_replace_those_of_the_environment() -> None:
    table, spaces = Table(2, [0.0], [10.0]), box((-np.inf,), (np.inf,))
    assert [cell(table, spaces, value) for value in (-1.0, 4.9, 5.1, 11.0)] == [0, 0, 1, 1]


def test_one_bound_may_be_that_of_all_elements() -> None:
    table, one = Table(4, None, None), array_spaces((2,), (0,), (4,), 2)
    corners = [(i + 0.5, j + 0.5) for i in range(4) for j in range(4)]
    assert [cell(table, one, *corner) for corner in corners] == list(range(16))


@pytest.mark.parametrize("head", [Qr(3), C51(3, 0.0, 1.0)])
def test_a_table_keeps_the_atoms_of_an_action_together(head: Head) -> None:
    p = {"table": torch.arange(30.0).view(5, 6)}
    z = Table(1, None, None).forward(p, torch.eye(5)[[1]], ONE_HOT, head)
    assert z.tolist() == [[[6, 7, 8], [9, 10, 11]]]


def test_only_the_cell_that_was_read_gets_a_gradient() -> None:
    table = torch.zeros(5, 2, requires_grad=True)
    Table(1, None, None).forward({"table": table}, torch.eye(5)[[1]], ONE_HOT, SCALAR)[
        0, 1
    ].backward()
    assert table.grad is not None
    assert table.grad.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]]


def test_a_table_has_neither_features_nor_noise_nor_last_layers() -> None:
    table = Table(10, None, None)
    assert (table.has_features, table.is_noisy, table.is_last("table")) == (False, False, False)


@pytest.mark.parametrize(
    ("low", "high", "element"),
    [((-1, -np.inf), (1, 1), 1), ((-1, -1), (np.inf, 1), 0), ((2, 0), (2, 1), 0)],
)
def test_bounds_between_which_there_are_no_bins_are_refused(
    low: tuple[float, ...], high: tuple[float, ...], element: int
) -> None:
    with pytest.raises(ValueError, match=rf"element {element} .*set network.low and network.high"):
        Table(10, None, None).layout(box(low, high), SCALAR)


def test_as_many_bounds_as_elements_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"need 2 numbers each.*they have 3 and 2"):
        Table(10, [0, 0, 0], [1, 1]).layout(box((0, 0), (1, 1)), SCALAR)


@pytest.mark.parametrize(
    ("bins", "elements", "head", "shown"),
    [
        (100, 4, SCALAR, "2e+08"),  # 100^4 cells * 2 actions = 2e8 values
        (100, 4, Qr(51), "1e+10"),  # ... * 51 atoms = 1.02e10
        (10, 400, SCALAR, "1e+300"),  # more than a float can hold
    ],
)
def test_a_huge_table_is_refused_with_its_size_and_a_way_out(
    bins: int, elements: int, head: Head, shown: str
) -> None:
    spaces = box((0,) * elements, (1,) * elements)
    with pytest.raises(ValueError, match=f"{re.escape(shown)} values.*1e.08.*fewer network.bins"):
        Table(bins, None, None).layout(spaces, head)


def test_the_largest_table_is_just_possible() -> None:
    layout = Table(50_000_000, None, None).layout(box((0,), (1,)), SCALAR)
    rows, columns = layout["table"].shape
    assert rows * columns == 10**8
