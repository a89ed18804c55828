from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import sizes, torch_state
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm, Recurrent

ACTIONS, UNITS, BATCH, TIME = 3, 4, 5, 6
SPACES = array_spaces((3, 2), (-1,) * 6, (1,) * 6, ACTIONS)
SCALAR = Scalar(Loss.huber)
KINDS = [Gru, Lstm]
# Episodes begin at random steps: at the first and the last, in succession, and nowhere.
STARTS = torch.tensor(
    [
        [False, False, False, False, False, False],
        [True, False, False, False, False, False],
        [False, False, True, True, False, False],
        [True, False, False, True, False, True],
        [True, True, True, True, True, True],
    ]
)


def net(
    kind: type[Gru | Lstm],
    widths: list[int],
    layer_norm: bool = False,
    spectral_norm: bool = False,
    dueling: bool = False,
    noisy: bool = False,
    units: int = UNITS,
) -> Recurrent:
    return kind(widths, layer_norm, spectral_norm, dueling, noisy, 0.5, [], 4, units, 2, 3)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def parameters(network: Recurrent, head: Head) -> dict[str, Tensor]:
    layout = network.layout(SPACES, head)
    return views(drawn(size(layout), seed=1) * 0.5, layout)


def torch_cell(p: dict[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """What torch's own cell loads; its names end in `suffix`."""
    return {
        f"{kind}_{short}{suffix}": value
        for part, short in (("input", "ih"), ("state", "hh"))
        for kind, value in torch_state(p, f"cell.{part}").items()
    }


@pytest.mark.parametrize("units", [UNITS, 1])  # one unit has fewer gates than there are inputs
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_torchs_own_cell_with_the_same_weights(
    kind: type[Gru | Lstm], units: int
) -> None:
    network = net(kind, [], units=units)
    p = parameters(network, SCALAR)
    cell = (nn.GRUCell if kind is Gru else nn.LSTMCell)(6, units, dtype=torch.float64)
    cell.load_state_dict(torch_cell(p, ""))
    x, state = drawn(BATCH, 6), drawn(BATCH, network.state_size, seed=2)
    output, after = network.cell(p, layers.dense(p, "cell.input", x), state)
    if kind is Gru:
        expected = cell(x, state)
        torch.testing.assert_close(after, expected)
    else:
        expected, memory = cell(x, state.chunk(2, 1))
        torch.testing.assert_close(after, torch.cat([expected, memory], 1))
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("units", [UNITS, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_what_torchs_recurrent_layer_makes_of_it(
    kind: type[Gru | Lstm], units: int
) -> None:
    network = net(kind, [], units=units)
    p = parameters(network, SCALAR)
    layer = (nn.GRU if kind is Gru else nn.LSTM)(6, units, batch_first=True, dtype=torch.float64)
    layer.load_state_dict(torch_cell(p, "_l0"))
    obs, empty = drawn(BATCH, TIME, 3, 2), torch.zeros(BATCH, network.state_size).double()
    outputs, _ = network.run_cell(p, obs, empty, None, SPACES)
    expected = layer(obs.flatten(2))[0]
    torch.testing.assert_close(outputs.view(BATCH, TIME, units), expected)


def test_a_gru_by_hand() -> None:
    # One unit, no weights but on the input's candidate: h' = (1 - z) tanh(x) + z h.
    network = Gru([], False, False, False, False, 0.5, [], 4, 1, 0, 1)
    zeros = {"cell.state.weight": torch.zeros(1, 3), "cell.state.bias": torch.zeros(3)}
    output, after = network.cell(
        zeros, torch.tensor([[9.0, np.log(3), 0.5]]), torch.tensor([[2.0]])
    )
    # z = 3 / (1 + 3) = 0.75: 0.25 * tanh(0.5) + 0.75 * 2
    assert output.item() == pytest.approx(0.25 * np.tanh(0.5) + 1.5)
    assert after.item() == output.item()


def test_an_lstm_by_hand() -> None:
    network = Lstm([], False, False, False, False, 0.5, [], 4, 1, 0, 1)
    zeros = {"cell.state.weight": torch.zeros(1, 4), "cell.state.bias": torch.zeros(4)}
    gates = torch.tensor([[0.0, np.log(3), 0.5, -np.log(3)]], dtype=torch.float32)
    output, after = network.cell(zeros, gates, torch.tensor([[9.0, 2.0]]))
    # input 0.5, forget 0.75, output 0.25: memory = 0.75 * 2 + 0.5 * tanh(0.5)
    memory = 1.5 + 0.5 * np.tanh(0.5)
    assert after[0].tolist() == pytest.approx([0.25 * np.tanh(memory), memory])
    assert output.item() == after[0, 0].item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("head", "widths", "dueling"),
    [
        (SCALAR, [], False),
        (SCALAR, [7], True),
        (Qr(2), [7, 5], False),
        (C51(3, 0.0, 1.0), [7, 6, 5], True),
    ],
)
def test_a_sequence_is_stepped_through_with_a_state_of_zeros_where_episodes_start(
    kind: type[Gru | Lstm], head: Head, widths: list[int], dueling: bool
) -> None:
    network = net(kind, widths, layer_norm=True, dueling=dueling)
    p, obs = parameters(network, head), drawn(BATCH, TIME, 3, 2)
    state = first = drawn(BATCH, network.state_size, seed=2)
    steps = []
    for step in range(TIME):
        state = torch.where(STARTS[:, step, None], 0, state)
        z, state = network.unroll(p, obs[:, [step]], state, None, SPACES, head)
        steps.append(z)
    z, last = network.unroll(p, obs, first, STARTS, SPACES, head)
    assert z.shape == (BATCH * TIME, ACTIONS, head.outputs)
    torch.testing.assert_close(z.view(BATCH, TIME, ACTIONS, -1), torch.stack(steps, 1))
    torch.testing.assert_close(last, state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_may_be_cut_anywhere(kind: type[Gru | Lstm]) -> None:
    network = net(kind, [7, 5])
    p, obs = parameters(network, SCALAR), drawn(BATCH, TIME, 3, 2)
    state = drawn(BATCH, network.state_size, seed=2)
    whole, end = network.run_cell(p, obs, state, STARTS, SPACES)
    pieces = []
    for since, until in pairwise([0, 1, 4, TIME]):
        piece, state = network.run_cell(
            p, obs[:, since:until], state, STARTS[:, since:until], SPACES
        )
        pieces.append(piece.view(BATCH, until - since, UNITS))
    torch.testing.assert_close(torch.cat(pieces, 1), whole.view(BATCH, TIME, UNITS))
    torch.testing.assert_close(state, end)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_from_before_an_episodes_start_reaches_it(kind: type[Gru | Lstm]) -> None:
    network = net(kind, [7, 5])
    p = parameters(network, SCALAR)
    obs = drawn(1, TIME, 3, 2).requires_grad_()
    state = drawn(1, network.state_size, seed=2).requires_grad_()
    starts = torch.tensor([[False, False, False, True, False, False]])
    z, _ = network.unroll(p, obs, state, starts, SPACES, SCALAR)
    z.view(TIME, ACTIONS)[5].sum().backward()
    assert obs.grad is not None
    assert state.grad is not None
    reached = obs.grad.flatten(2).abs().sum(2)[0] > 0
    assert reached.tolist() == [False, False, False, True, True, True]
    assert not state.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_called_on_observations_a_network_takes_each_for_an_episodes_first(
    kind: type[Gru | Lstm],
) -> None:
    network = net(kind, [7, 5], dueling=True)
    p, obs = parameters(network, SCALAR), drawn(BATCH, TIME, 3, 2)
    each = network.forward(p, obs.flatten(0, 1), SPACES, SCALAR)
    garbage = drawn(BATCH, network.state_size, seed=2)
    everywhere = torch.ones(BATCH, TIME, dtype=torch.bool)
    z, _ = network.unroll(p, obs, garbage, everywhere, SPACES, SCALAR)
    torch.testing.assert_close(each, z)


@pytest.mark.parametrize(("kind", "numbers"), [(Gru, UNITS), (Lstm, 2 * UNITS)])
def test_a_grus_state_is_its_output_and_an_lstm_carries_its_cell_too(
    kind: type[Gru | Lstm], numbers: int
) -> None:
    assert net(kind, []).state_size == numbers


@pytest.mark.parametrize(("kind", "gates"), [(Gru, 3), (Lstm, 4)])
def test_the_cell_stands_between_torso_and_streams(kind: type[Gru | Lstm], gates: int) -> None:
    layout = net(kind, [7, 5], dueling=True).layout(SPACES, SCALAR)
    names = [name.removesuffix(".weight") for name in layout if name.endswith(".weight")]
    assert {name: sizes(layout, name) for name in names} == {
        "torso.0": (6, 7),
        "cell.input": (7, gates * UNITS),
        "cell.state": (UNITS, gates * UNITS),
        "advantage.hidden": (UNITS, 5),
        "advantage.out": (5, ACTIONS),
        "value.hidden": (UNITS, 5),
        "value.out": (5, 1),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_cell_is_neither_noisy_nor_normalised_nor_a_last_layer(kind: type[Gru | Lstm]) -> None:
    network = net(kind, [7, 5], True, True, False, True)
    layout = network.layout(SPACES, SCALAR)
    cell = {name for name in layout if name.startswith("cell")}
    assert cell == {
        f"cell.{part}.{what}" for part in ("input", "state") for what in ("weight", "bias")
    }
    assert not any(network.is_last(name) for name in cell)
    assert network.is_last("advantage.hidden.weight_sigma")


@pytest.mark.parametrize("kind", KINDS)
def test_implicit_quantiles_have_levels_for_each_step(kind: type[Gru | Lstm]) -> None:
    network, head = net(kind, [7, 5], dueling=True), Iqn(3, 4)
    p, obs = parameters(network, head), drawn(BATCH, TIME, 3, 2)
    taus = torch.from_numpy(np.random.default_rng(3).random((BATCH * TIME, 3)))
    state = drawn(BATCH, network.state_size, seed=2)
    z, _ = network.unroll(p | {"taus": taus}, obs, state, STARTS, SPACES, head)
    assert z.shape == (BATCH * TIME, ACTIONS, 3)
    features, _ = network.run_cell(p, obs, state, STARTS, SPACES)
    for row in (0, 7, 29):
        own = p | {"taus": taus[[row]]}
        expected = network.streams(own, features[[row]], SPACES, head)
        torch.testing.assert_close(z[[row]], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_time_are_those_of_finite_differences(kind: type[Gru | Lstm]) -> None:
    network = net(kind, [5, 4])
    layout = network.layout(SPACES, SCALAR)
    obs, starts = drawn(2, 4, 3, 2), STARTS[[0, 2], :4]

    def output(flat: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return network.unroll(views(flat, layout), obs, state, starts, SPACES, SCALAR)

    flat, state = drawn(size(layout), seed=1) * 0.5, drawn(2, network.state_size, seed=2)
    assert torch.autograd.gradcheck(output, (flat.requires_grad_(), state.requires_grad_()))
