from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.parameters import Layout, size
from dqn_cli.agent.quantiles import Iqn, Qr, midpoints
from dqn_cli.agent.recurrent import Gru, Lstm
from dqn_cli.agent.table import Table

ACTIONS, BATCH = 3, 5
PLANE = array_spaces((2,), (-1, -1), (1, 1), ACTIONS)
IMAGE = array_spaces((4, 4, 1), (0,) * 16, (1,) * 16, ACTIONS)
NONE = torch.zeros(0, dtype=torch.float64)
NO_STATE = torch.zeros(BATCH, 0, dtype=torch.float64)
PLAIN = Mlp([6, 5], False, False, False, False, 0.5)
NOISY = Mlp([6, 5], True, False, True, True, 0.5)
DUELING = Mlp([6, 5], False, False, True, False, 0.5)
DUELING_NOISY = Mlp([6, 5], False, False, True, True, 0.5)
GRU = Gru([6, 5], False, False, False, False, 0.5, [], 4, 4, 2, 3)
LSTM = Lstm([6, 5], False, False, True, True, 0.5, [], 4, 4, 2, 3)
SCALAR = Scalar(Loss.huber)
HEADS = [SCALAR, C51(5, -1.0, 2.0), Qr(3), Iqn(3, 4)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def parameters(model: Model) -> Tensor:
    return drawn(size(model.layout), seed=1) * 0.5


def flat(layout: Layout, **values: list[float] | list[list[float]]) -> Tensor:
    """Parameters of zeros but for those given, dots in their names as underscores."""
    pieces = {name: torch.zeros(each.shape, dtype=torch.float64) for name, each in layout.items()}
    for name, value in values.items():
        key = next(key for key in pieces if key.replace(".", "_") == name)
        pieces[key] = torch.tensor(value, dtype=torch.float64).view_as(pieces[key])
    return torch.cat([piece.flatten() for piece in pieces.values()])


def test_the_layout_is_the_networks() -> None:
    head = Iqn(3, 4)
    assert Model(PLANE, NOISY, head).layout == NOISY.layout(PLANE, head)


@pytest.mark.parametrize(
    ("network", "numbers"),
    [
        (PLAIN, 0),
        (Table(2, None, None), 0),
        (GRU, 0),
        (NOISY, 36),  # twice 6 + 5 of the hidden layers, 5 + 3 of advantages, 5 + 1 of values
        (LSTM, 32),  # twice 4 + 5, 5 + 3, 5 + 1
    ],
)
def test_noise_is_for_the_noisy_layers(network: Network, numbers: int) -> None:
    model = Model(PLANE, network, SCALAR)
    assert model.noise_size == size(model.noise_layout) == numbers


@pytest.mark.parametrize(
    ("network", "numbers"), [(PLAIN, 0), (Table(2, None, None), 0), (GRU, 4), (LSTM, 8)]
)
def test_only_recurrent_networks_have_a_state(network: Network, numbers: int) -> None:
    assert Model(PLANE, network, SCALAR).state_size == numbers


def test_random_numbers_are_named_beside_the_parameters() -> None:
    model = Model(PLANE, NOISY, Iqn(3, 4))
    noise, taus = drawn(model.noise_size), drawn(BATCH, 3)
    p = model.named(parameters(model), noise, taus)
    assert set(p) == {*model.layout, *model.noise_layout, "taus"}
    assert torch.equal(p["taus"], taus)
    # the first noisy layer, of 6 inputs and 5 outputs, takes the first numbers
    assert torch.equal(p["advantage.hidden.noise_in"], noise[:6])
    assert torch.equal(p["advantage.hidden.noise_out"], noise[6:11])


def test_random_numbers_that_are_not_there_have_no_name() -> None:
    model = Model(PLANE, NOISY, SCALAR)
    assert set(model.named(parameters(model), NONE, NO_STATE)) == set(model.layout)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", [PLAIN, NOISY, GRU, LSTM])
def test_q_is_what_the_head_reads_from_the_networks_z(network: Network, head: Head) -> None:
    model, obs = Model(PLANE, network, head), drawn(BATCH, 2)
    noise = drawn(model.noise_size, seed=2)
    p = model.named(parameters(model), noise, head.taus(obs))
    q = model.q(parameters(model), obs, noise)
    assert q.shape == (BATCH, ACTIONS)
    assert torch.equal(q, head.q(network.forward(p, obs, PLANE, head)))


def test_implicit_quantiles_are_averaged_over_the_midpoints() -> None:
    model, obs = Model(PLANE, PLAIN, Iqn(4, 8)), drawn(BATCH, 2)
    levels = torch.tensor([[0.125, 0.375, 0.625, 0.875]], dtype=torch.float64).expand(BATCH, -1)
    z = model.z(model.named(parameters(model), NONE, levels), obs)
    assert torch.equal(midpoints(4, obs), levels[0])
    torch.testing.assert_close(model.q(parameters(model), obs, NONE), z.mean(2))


def test_q_of_a_table_by_hand() -> None:
    model = Model(array_spaces((2,), (0, 0), (1, 1), 2, one_hot=True), Table(1, None, None), SCALAR)
    states = torch.eye(2, dtype=torch.float64)[[1, 0, 1]]
    values = torch.tensor([1.0, 2.0, 5.0, 1.0], dtype=torch.float64)
    assert model.q(values, states, NONE).tolist() == [[5, 1], [1, 2], [5, 1]]


@pytest.mark.parametrize("network", [NOISY, LSTM])
def test_without_noise_only_the_mean_weights_count(network: Network) -> None:
    model, obs = Model(PLANE, network, SCALAR), drawn(BATCH, 2)
    start = parameters(model)
    zeroed = model.named(start, NONE, NO_STATE)
    without_sigma = torch.cat(
        [
            (value * 0 if name.endswith("_sigma") else value).flatten()
            for name, value in zeroed.items()
        ]
    )
    noise = drawn(model.noise_size, seed=2)
    quiet = model.q(start, obs, NONE)
    torch.testing.assert_close(quiet, model.q(without_sigma, obs, noise))
    assert (quiet - model.q(start, obs, noise)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("network", "head"),
    [*product([PLAIN, NOISY], HEADS), *product([Table(2, None, None)], HEADS[:3])],
)
def test_a_network_without_a_state_acts_by_q_and_hands_the_state_on(
    network: Network, head: Head
) -> None:
    model, obs = Model(PLANE, network, head), drawn(BATCH, 2)
    noise = drawn(model.noise_size, seed=2)
    q, state = model.act(parameters(model), obs, NO_STATE, noise)
    assert torch.equal(q, model.q(parameters(model), obs, noise))
    assert state is NO_STATE


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", [GRU, LSTM])
def test_a_recurrent_network_acts_step_by_step_as_along_a_sequence(
    network: Gru | Lstm, head: Head
) -> None:
    model, obs = Model(PLANE, network, head), drawn(BATCH, 4, 2)
    start, noise = parameters(model), drawn(model.noise_size, seed=2)
    state = first = drawn(BATCH, model.state_size, seed=3)
    values = []
    for step in range(4):
        q, state = model.act(start, obs[:, step], state, noise)
        values.append(q)
    taus = head.taus(obs.flatten(0, 1))
    p = model.named(start, noise, taus)
    z, last = network.unroll(p, obs, first, None, PLANE, head)
    torch.testing.assert_close(torch.stack(values, 1).flatten(0, 1), head.q(z))
    torch.testing.assert_close(state, last)
    assert state.shape == (BATCH, model.state_size)


@pytest.mark.parametrize("network", [GRU, LSTM])
def test_from_a_state_of_zeros_acting_is_q(network: Gru | Lstm) -> None:
    model, obs = Model(PLANE, network, SCALAR), drawn(BATCH, 2)
    empty = torch.zeros(BATCH, model.state_size, dtype=torch.float64)
    noise = drawn(model.noise_size, seed=2)
    q, _ = model.act(parameters(model), obs, empty, noise)
    torch.testing.assert_close(q, model.q(parameters(model), obs, noise))


def one_layer() -> tuple[Model, Tensor]:
    """Four units on states [2, 0] and [0, -1]."""
    model = Model(PLANE, Mlp([4], False, False, False, False, 0.5), SCALAR)
    start = flat(
        model.layout,
        advantage_hidden_weight=[[1.0, -1.0, -1.0, 0.1], [0.0, -4.0, 0.0, 0.0]],
        advantage_hidden_bias=[0.0, 0.0, 0.0, 0.0],
    )
    return model, start


@pytest.mark.parametrize(
    ("threshold", "share"),
    [(0.0, 0.25), (0.025, 0.25), (0.128, 0.25), (0.13, 0.5), (1.3, 0.75), (2.6, 1.0)],
)
def test_a_unit_is_dormant_if_its_share_of_the_layers_activity_is_small(
    threshold: float, share: float
) -> None:
    model, start = one_layer()
    obs = torch.tensor([[2.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    # activations [2, 0, 0, 0.2] and [0, 4, 0, 0]: means [1, 2, 0, 0.1], over all of them 0.775;
    # scores [1.290, 2.581, 0, 0.129]
    assert model.dormant(start, obs, threshold).item() == share


def test_the_usual_threshold_is_a_fortieth() -> None:
    model, start = one_layer()
    obs = torch.tensor([[2.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    assert model.dormant(start, obs).item() == model.dormant(start, obs, 0.025).item() == 0.25


def test_a_unit_that_reacts_to_any_observation_is_awake() -> None:
    model, start = one_layer()
    obs = torch.tensor([[2.0, 0.0]] * 9 + [[0.0, -1.0]], dtype=torch.float64)
    # means [1.8, 0.4, 0, 0.18], over all of them 0.595
    assert model.dormant(start, obs).item() == 0.25
    assert model.dormant(start, obs[:9]).item() == 0.5  # the second reacts to the last alone


def test_all_units_of_a_silent_layer_are_dormant() -> None:
    model, start = one_layer()
    assert model.dormant(start, torch.zeros(3, 2, dtype=torch.float64)).item() == 1


def test_units_of_all_hidden_layers_count() -> None:
    model = Model(PLANE, Mlp([4, 2], False, False, True, False, 0.5), SCALAR)
    start = flat(
        model.layout,
        torso_0_bias=[1.0, 0.0, -1.0, 0.0],
        advantage_hidden_bias=[1.0, -1.0],
        value_hidden_bias=[3.0, 2.0],
    )
    # three of the torso's four, one of the advantages' two, none of the value's two
    assert model.dormant(start, drawn(BATCH, 2)).item() == 0.5


def test_each_layer_has_its_own_scale() -> None:
    model = Model(PLANE, Mlp([2, 2], False, False, False, False, 0.5), SCALAR)
    start = flat(model.layout, torso_0_bias=[100.0, 100.0], advantage_hidden_bias=[0.001, 0.001])
    assert model.dormant(start, drawn(BATCH, 2)).item() == 0


def test_noise_wakes_no_unit() -> None:
    model = Model(PLANE, Mlp([4], False, False, False, True, 0.5), SCALAR)
    loud = [9.0, 9.0, 9.0, 9.0]
    start = flat(
        model.layout,
        advantage_hidden_bias=[1.0, -1.0, -1.0, -1.0],
        advantage_hidden_bias_sigma=loud,
        advantage_hidden_weight_sigma=[loud, loud],
    )
    assert model.dormant(start, drawn(BATCH, 2)).item() == 0.75


def test_a_channel_is_one_unit() -> None:
    model = Model(IMAGE, MinAtarCnn([], False, False, False, False, 0.5, [3]), SCALAR)
    # the first channel sees the top left pixel of a window; the others nothing, the third reacts
    weight = torch.zeros(3, 1, 3, 3)
    weight[0, 0, 0, 0] = 1
    start = flat(model.layout, convolution_0_weight=weight.tolist(), convolution_0_bias=[0, -1, 2])
    obs = torch.zeros(2, 4, 4, 1, dtype=torch.float64)
    assert model.dormant(start, obs).item() == pytest.approx(2 / 3)
    obs[1, 0, 0] = 8  # 1 of 2 * 2 * 2 pixels: means [1, 0, 2]
    assert model.dormant(start, obs).item() == pytest.approx(1 / 3)
    obs[1, 0, 0] = 0
    obs[1, 3, 3] = 8  # out of every window's top left pixel
    assert model.dormant(start, obs).item() == pytest.approx(2 / 3)


def test_a_table_has_no_units_that_could_be_dormant() -> None:
    model = Model(PLANE, Table(2, None, None), SCALAR)
    assert model.dormant(parameters(model), drawn(BATCH, 2)).item() == 0


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", [PLAIN, NOISY, GRU, LSTM])
def test_the_dormant_share_of_any_network_is_a_share(network: Network, head: Head) -> None:
    model = Model(PLANE, network, head)
    share = model.dormant(parameters(model), drawn(BATCH, 2))
    assert share.shape == ()
    assert 0 <= share <= 1


def both(model: Model) -> tuple[Tensor, Tensor]:
    online, target = (drawn(size(model.layout), seed=seed) * 0.5 for seed in (1, 2))
    return online.requires_grad_(), target


def random_inputs(model: Model, rows: int) -> RandomInputs:
    """Different numbers for each purpose."""
    random = np.random.default_rng(9)
    taus = torch.from_numpy(random.random((2, rows, model.head.samples)))
    return RandomInputs(taus, torch.from_numpy(random.normal(size=(3, model.noise_size))))


def batch() -> Batch:
    return Batch(
        obs=drawn(BATCH, 2, seed=3),
        action=torch.tensor([0, 2, 1, 2, 0]),
        mask=torch.ones(BATCH, ACTIONS, dtype=torch.bool),
        reward=drawn(BATCH, seed=4),
        discount=torch.full((BATCH,), 0.9, dtype=torch.float64),
        next_obs=drawn(BATCH, 2, seed=5),
        next_mask=torch.ones(BATCH, ACTIONS, dtype=torch.bool),
        weight=torch.ones(BATCH, dtype=torch.float64),
        logged=torch.zeros(BATCH, dtype=torch.bool),
        starts=torch.zeros(BATCH, dtype=torch.bool),
    )


@pytest.mark.parametrize("head", [SCALAR, Qr(3), Iqn(3, 4)])
@pytest.mark.parametrize("noisy", [False, True])
def test_each_output_has_its_own_network_observations_and_random_inputs(
    noisy: bool, head: Head
) -> None:
    model, sample = Model(PLANE, DUELING_NOISY if noisy else DUELING, head), batch()
    (online, target), random = both(model), random_inputs(model, BATCH)
    outputs = model.evaluate(online, target, sample, random)

    z = model.z(model.named(online, random.online_noise, random.online_taus), sample.obs)
    assert torch.equal(outputs.z, z)
    assert torch.equal(outputs.taus, random.online_taus)
    next_z = model.z(model.named(target, random.target_noise, random.target_taus), sample.next_obs)
    assert torch.equal(outputs.next_z, next_z)
    next_q = model.q(online, sample.next_obs, random.selection_noise)
    assert torch.equal(outputs.next_q(), next_q)
    target_q = model.q(target, sample.obs, random.target_noise)
    assert torch.equal(outputs.target_q(), target_q)


def test_gradients_of_a_batch_flow_through_the_online_network_at_obs_alone() -> None:
    model, sample = Model(PLANE, DUELING_NOISY, Iqn(3, 4)), batch()
    online, target = both(model)
    outputs = model.evaluate(online, target.requires_grad_(), sample, random_inputs(model, BATCH))
    assert outputs.z.requires_grad
    assert not outputs.next_z.requires_grad


@pytest.mark.parametrize("head", [SCALAR, Qr(3), Iqn(3, 4)])
def test_without_next_observations_next_z_is_zero(head: Head) -> None:
    model, sample = Model(PLANE, DUELING, head), batch()
    (online, target), random = both(model), random_inputs(model, BATCH)
    nothing = sample._replace(next_obs=sample.obs.new_zeros(BATCH, 0))
    outputs = model.evaluate(online, target, nothing, random)
    assert torch.equal(outputs.next_z, torch.zeros_like(outputs.z))
    assert torch.equal(outputs.z, model.evaluate(online, target, sample, random).z)
    assert not outputs.next_z.requires_grad


@pytest.mark.parametrize("network", [PLAIN, Table(2, None, None)])
def test_each_transition_of_each_member_is_one_evaluation(network: Network) -> None:
    member = batch()
    of_members = Batch(*(values.expand(3, *values.shape) for values in member))
    assert Model(PLANE, network, SCALAR).evaluations(of_members) == BATCH


@pytest.mark.parametrize("network", [GRU, LSTM])
def test_each_slot_of_a_sequence_after_its_burn_in_is_one_evaluation(network: Gru | Lstm) -> None:
    burn_in, length, steps, shape = network.burn_in, network.length, 2, (3, BATCH)
    flags = torch.ones(*shape, length, ACTIONS, dtype=torch.bool)
    numbers = torch.ones(*shape, length)
    sample = Sequences(
        obs=torch.ones(*shape, burn_in + length + steps, 2),
        state=torch.ones(*shape, network.state_size),
        starts=torch.zeros(*shape, burn_in + length + steps, dtype=torch.bool),
        action=numbers.long(),
        mask=flags,
        reward=numbers,
        discount=numbers,
        ahead=numbers.long(),
        next_mask=flags,
        weight=numbers,
        logged=torch.zeros(numbers.shape, dtype=torch.bool),
    )
    assert Model(PLANE, network, SCALAR).evaluations(sample) == BATCH * (length + steps)
