from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqn_cli.agent.networks import Mlp, Table
from dqn_cli.agent.parameters import initial, views
from dqn_cli.agent.spaces import Spaces

OBS_SHAPE, ACTIONS = (3, 2), 4  # 6 elements
ONE_HOT = Spaces((5,), (0,) * 5, (1,) * 5, True, (2,), (0,), False)


def box(low: tuple[float, ...], high: tuple[float, ...]) -> Spaces:
    return Spaces((len(low),), low, high, False, (2,), (0,), False)


SPACES = Spaces(OBS_SHAPE, (-1,) * 6, (1,) * 6, False, (ACTIONS,), (0,), False)


def random_parameters(network: Mlp, atoms: int) -> dict[str, Tensor]:
    layout = network.layout(SPACES, atoms)
    flat = initial(layout, np.random.default_rng(0))
    flat += torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, len(flat)))
    return views(flat, layout)


def reference(network: Mlp, p: dict[str, Tensor], name: str, inputs: int) -> nn.Sequential:
    """The layers called `name.*`, built of torch's own modules."""
    layers: list[nn.Module] = []
    for key in [key.removesuffix(".weight") for key in p if key.endswith(".weight")]:
        if not key.startswith(name):
            continue
        weight = p[f"{key}.weight"]
        layer = nn.Linear(inputs, weight.shape[1], dtype=torch.float64)
        layer.load_state_dict({"weight": weight.T, "bias": p[f"{key}.bias"]})
        layers.append(layer)
        inputs = layer.out_features
        if key.endswith(".out"):
            continue
        if network.layer_norm:
            norm = nn.LayerNorm(inputs, dtype=torch.float64)
            norm.load_state_dict({"weight": p[f"{key}.scale"], "bias": p[f"{key}.shift"]})
            layers.append(norm)
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


@pytest.mark.parametrize("atoms", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("widths", [[], [5], [5, 7], [5, 7, 6]])
def test_an_mlp_computes_what_the_same_layers_of_torch_compute(
    widths: list[int], dueling: bool, layer_norm: bool, atoms: int
) -> None:
    network = Mlp(widths, layer_norm, dueling)
    p = random_parameters(network, atoms)
    obs = torch.from_numpy(np.random.default_rng(2).normal(size=(8, *OBS_SHAPE)))
    shared = widths[: len(widths) - dueling] if widths else []
    features = reference(network, p, "torso", 6)(obs.reshape(8, 6))
    inputs = shared[-1] if shared else 6
    advantage = reference(network, p, "advantage", inputs)(features).reshape(8, ACTIONS, atoms)
    expected = advantage
    if dueling:
        value = reference(network, p, "value", inputs)(features).reshape(8, 1, atoms)
        expected = value + advantage - advantage.mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(p, obs, SPACES, atoms), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dueling", [False, True])
def test_an_mlp_has_the_layers_of_its_widths(dueling: bool) -> None:
    layout = Mlp([5, 7], True, dueling).layout(SPACES, 3)
    shapes = {name: parameter.shape for name, parameter in layout.items()}
    assert shapes["torso.0.weight"] == (6, 5)
    assert shapes["torso.0.scale"] == shapes["torso.0.shift"] == (5,)
    assert shapes["advantage.out.weight"] == (7, 12)  # 4 actions of 3 atoms
    if dueling:
        assert shapes["advantage.hidden.weight"] == shapes["value.hidden.weight"] == (5, 7)
        assert shapes["value.out.weight"] == (7, 3)
        assert "torso.1.weight" not in shapes
    else:
        assert shapes["torso.1.weight"] == (5, 7)
        assert not [name for name in shapes if name.startswith("value")]


def test_the_mean_over_actions_of_a_dueling_network_is_its_value_stream() -> None:
    network = Mlp([5, 7], False, True)
    p = random_parameters(network, 2)
    obs = torch.from_numpy(np.random.default_rng(2).normal(size=(8, *OBS_SHAPE)))
    features = reference(network, p, "torso", 6)(obs.reshape(8, 6))
    value = reference(network, p, "value", 5)(features)
    torch.testing.assert_close(network(p, obs, SPACES, 2).mean(1), value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "change"), [("advantage.out.bias", 0.0), ("value.out.bias", 7.0)])
def test_a_constant_counts_in_the_value_stream_and_not_in_the_advantages(
    name: str, change: float
) -> None:
    network = Mlp([5], False, True)
    p = random_parameters(network, 1)
    obs = torch.from_numpy(np.random.default_rng(2).normal(size=(8, *OBS_SHAPE)))
    before = network(p, obs, SPACES, 1)
    after = network(p | {name: p[name] + 7}, obs, SPACES, 1)
    torch.testing.assert_close(after - before, torch.full_like(before, change))


@pytest.mark.parametrize("dueling", [False, True])
def test_initial_values_lie_within_the_bounds_of_torchs_linear(dueling: bool) -> None:
    widths = [40, 50]
    layout = Mlp(widths, True, dueling).layout(SPACES, 1)
    named = views(initial(layout, np.random.default_rng(0)), layout)
    for name, values in named.items():
        if name.endswith(".scale"):
            assert (values == 1).all()
        elif name.endswith(".shift"):
            assert (values == 0).all()
        else:
            inputs = named[f"{name.rsplit('.', 1)[0]}.weight"].shape[0]
            assert inputs in (6, *widths)
            assert values.abs().max() <= inputs**-0.5
            assert values.abs().max() > 0.3 * inputs**-0.5


def test_a_table_starts_at_zero_for_every_cell_and_action() -> None:
    layout = Table(10, None, None).layout(box((0, 0), (1, 1)), 3)
    assert layout["table"].shape == (100, 6)  # 10^2 cells, 2 actions of 3 atoms
    assert initial(layout, np.random.default_rng(0)).abs().max() == 0


def test_a_one_hot_observation_is_its_own_cell() -> None:
    table = Table(10, None, None)
    assert table.layout(ONE_HOT, 1)["table"].shape == (5, 2)
    p = {"table": torch.arange(10.0).view(5, 2)}
    z = table(p, torch.eye(5)[[3, 0, 4]], ONE_HOT, 1)
    assert z.tolist() == [[[6], [7]], [[0], [1]], [[8], [9]]]


def cell(table: Table, spaces: Spaces, *obs: float) -> float:
    cells, columns = table.layout(spaces, 1)["table"].shape
    p = {"table": torch.arange(float(cells)).repeat_interleave(columns).view(cells, columns)}
    return float(table(p, torch.tensor([obs]), spaces, 1)[0, 0, 0])


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


def test_a_table_keeps_the_atoms_of_an_action_together() -> None:
    p = {"table": torch.arange(30.0).view(5, 6)}
    z = Table(1, None, None)(p, torch.eye(5)[[1]], ONE_HOT, 3)
    assert z.tolist() == [[[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("low", "high", "element"),
    [((-1, -np.inf), (1, 1), 1), ((-1, -1), (np.inf, 1), 0), ((2, 0), (2, 1), 0)],
)
def test_bounds_between_which_there_are_no_bins_are_refused(
    low: tuple[float, ...], high: tuple[float, ...], element: int
) -> None:
    with pytest.raises(ValueError, match=rf"element {element} .*set network.low and network.high"):
        Table(10, None, None).layout(box(low, high), 1)


def test_as_many_bounds_as_elements_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"need 2 numbers each.*they have 3 and 2"):
        Table(10, [0, 0, 0], [1, 1]).layout(box((0, 0), (1, 1)), 1)


def test_a_huge_table_is_refused_with_its_size_and_a_way_out() -> None:
    # 100^4 cells * 2 actions = 2e8 values
    with pytest.raises(ValueError, match=r"2e\+08 values.*1e\+08.*fewer network.bins"):
        Table(100, None, None).layout(box((0,) * 4, (1,) * 4), 1)


def test_the_largest_table_is_just_possible() -> None:
    (rows, columns) = Table(50_000_000, None, None).layout(box((0,), (1,)), 1)["table"].shape
    assert rows * columns == 10**8
