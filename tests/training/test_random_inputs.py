from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.ensembles import Ensemble
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru
from dqn_cli.training.random_inputs import draw_random_inputs
from dqn_cli.training.randomness import Purpose, Randomness

SPACES = array_spaces((2,), (-3, -3), (3, 3), 3)
SEEDS = [3, 8]
BATCH, BURN_IN, LENGTH, AHEAD = 5, 2, 3, 1
LIKE = torch.zeros(2, dtype=torch.float64)
IQN, SCALAR = Iqn(4, 6), Scalar(Loss.huber)


def mlp(noisy: bool) -> Mlp:
    return Mlp([8, 6], False, False, False, noisy, 0.5)


def gru(noisy: bool) -> Gru:
    return Gru([8, 6], False, False, False, noisy, 0.5, [], 4, 7, BURN_IN, LENGTH)


def noise(seeds: list[int] = SEEDS) -> Randomness:
    return Randomness(seeds, Purpose.noise)


def empty(kind: type[Any], **shapes: tuple[int, ...]) -> Any:
    """Return a batch that has only these shapes."""
    nothing = dict.fromkeys(kind._fields, torch.zeros(0))
    return kind(**nothing | {name: torch.zeros(shape) for name, shape in shapes.items()})


def transitions(members: int = 2) -> Batch:
    batch: Batch = empty(Batch, action=(members, BATCH), obs=(members, BATCH, 2))
    return batch


def sequences(members: int = 2) -> Sequences:
    time = BURN_IN + LENGTH + AHEAD
    shapes = {"action": (members, BATCH, LENGTH), "obs": (members, BATCH, time, 2)}
    batch: Sequences = empty(Sequences, **shapes)
    return batch


def inputs_for(
    model: Model, batch: Batch | Sequences, random: Randomness, like: torch.Tensor
) -> RandomInputs:
    return draw_random_inputs(model, model.evaluations(batch), random, like)


def drawn(
    network: Network, head: Head, batch: Batch | Sequences, random: Randomness | None = None
) -> tuple[RandomInputs, int]:
    """Return random inputs, and how many numbers the noisy layers take."""
    model = Model(SPACES, network, head)
    return inputs_for(model, batch, random or noise(), LIKE), model.noise_size


def of_member(inputs: RandomInputs, member: int) -> RandomInputs:
    return RandomInputs(*(values[member] for values in inputs))


def by_use(inputs: RandomInputs) -> list[torch.Tensor]:
    """Return the levels of both networks and the three noises, each with an axis of members."""
    return [*inputs.taus.unbind(1), *inputs.noise.unbind(1)]


@pytest.mark.parametrize(
    ("network", "batch", "rows"),
    [
        (mlp, transitions, BATCH),
        # Every observation after the burn-in, of each sequence.
        (gru, sequences, BATCH * (LENGTH + AHEAD)),
    ],
)
@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize(("head", "samples"), [(IQN, 4), (Qr(9), 0), (SCALAR, 0)])
def test_shapes_are_those_that_network_and_head_need(
    network: Callable[[bool], Network],
    batch: Callable[[], Batch | Sequences],
    rows: int,
    noisy: bool,
    head: Head,
    samples: int,
) -> None:
    inputs, size = drawn(network(noisy), head, batch())
    assert (size > 0) is noisy
    assert inputs.taus.shape == (2, 2, rows, samples)
    assert inputs.noise.shape == (2, 3, size)
    for member in range(2):
        random = of_member(inputs, member)
        assert random.online_taus.shape == random.target_taus.shape == (rows, samples)
        for values in (random.online_noise, random.target_noise, random.selection_noise):
            assert values.shape == (size,)


@pytest.mark.parametrize(("network", "batch"), [(mlp, transitions), (gru, sequences)])
@pytest.mark.parametrize("head", [SCALAR, Qr(9)])
def test_where_nothing_is_needed_nothing_is_drawn(
    network: Callable[[bool], Network], batch: Callable[[], Batch | Sequences], head: Head
) -> None:
    random = noise()
    drawn(network(False), head, batch(), random)
    for member, _ in enumerate(SEEDS):
        assert random.state(member) == noise().state(member)


@pytest.mark.parametrize(("network", "head"), [(mlp(True), SCALAR), (mlp(False), IQN)])
def test_where_something_is_needed_it_is_new_each_time(network: Network, head: Head) -> None:
    random = noise()
    first, second = (drawn(network, head, transitions(), random)[0] for _ in range(2))
    pairs = zip(by_use(first), by_use(second), strict=True)
    changed = [not torch.equal(a, b) for a, b in pairs if a.numel()]
    assert changed
    assert all(changed)


def test_there_is_one_level_in_each_equal_part() -> None:
    inputs, _ = drawn(mlp(False), IQN, transitions())
    parts = (inputs.taus * 4).floor().int()  # [members, networks, rows, samples]
    assert parts.tolist() == [[[[0, 1, 2, 3]] * BATCH] * 2] * 2


def test_levels_are_uniform_over_their_parts_and_independent() -> None:
    model = Model(SPACES, mlp(False), Iqn(8, 6))
    batch: Batch = empty(Batch, action=(2, 1500), obs=(2, 1500, 2))
    within = inputs_for(model, batch, noise(), LIKE).taus.numpy() * 8 % 1
    assert np.unique(within).size == within.size
    counts = np.histogram(within, bins=10, range=(0, 1))[0]
    expected = within.size / 10
    # the 0.1 % point of chi-square with 9 degrees of freedom
    assert ((counts - expected) ** 2 / expected).sum() < 27.9
    correlation = np.corrcoef(within.reshape(4, -1)) - np.eye(4)
    assert np.abs(correlation).max() < 4 / 12_000**0.5  # four deviations


def test_noise_is_standard_normal_and_independent_for_each_of_its_three_uses() -> None:
    model = Model(SPACES, Mlp([60, 60], False, False, True, True, 0.5), SCALAR)
    random = noise()
    several = [inputs_for(model, transitions(), random, LIKE) for _ in range(20)]
    stacked = torch.stack([inputs.noise for inputs in several]).numpy()  # [20, 2, 3, size]
    assert np.unique(stacked).size == stacked.size
    assert stacked.size > 20_000
    assert abs(stacked.mean()) < 4 / stacked.size**0.5
    assert abs(stacked.var() - 1) < 4 * (2 / stacked.size) ** 0.5
    rows = stacked.transpose(1, 2, 0, 3).reshape(6, -1)
    correlation = np.corrcoef(rows) - np.eye(6)
    assert np.abs(correlation).max() < 4 / rows.shape[1] ** 0.5


@pytest.mark.parametrize(("network", "batch"), [(mlp, transitions), (gru, sequences)])
def test_a_members_random_inputs_do_not_depend_on_the_other_members(
    network: Callable[[bool], Network], batch: Callable[[int], Batch | Sequences]
) -> None:
    model = Model(SPACES, network(True), IQN)
    together = inputs_for(model, batch(2), noise(), LIKE)
    for member, seed in enumerate(SEEDS):
        alone = inputs_for(model, batch(1), noise([seed]), LIKE[:1])
        for values, expected in zip(together, alone, strict=True):
            assert torch.equal(values[member], expected[0])
    for values in by_use(together):
        assert not torch.equal(values[0], values[1])


def test_each_use_has_its_own_part_of_the_numbers() -> None:
    model = Model(SPACES, mlp(True), IQN)
    inputs = draw_random_inputs(model, BATCH, noise(), LIKE)
    assert inputs.taus.shape == (2, 2, BATCH, 4)
    assert inputs.noise.shape == (2, 3, model.noise_size)
    for member in range(2):
        random = of_member(inputs, member)
        for nth, levels in enumerate((random.online_taus, random.target_taus)):
            assert torch.equal(levels, inputs.taus[member, nth])
        noises = (random.online_noise, random.target_noise, random.selection_noise)
        for nth, values in enumerate(noises):
            assert torch.equal(values, inputs.noise[member, nth])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_random_inputs_have_the_learners_precision(dtype: torch.dtype) -> None:
    model, like = Model(SPACES, mlp(True), IQN), torch.zeros(2, dtype=dtype)
    inputs = inputs_for(model, transitions(), noise(), like)
    assert {values.dtype for values in inputs} == {dtype}


def test_augmentation_takes_numbers_for_both_observations_of_each_row() -> None:
    model = Model(SPACES, mlp(False), SCALAR)
    inputs = draw_random_inputs(model, BATCH, noise(), LIKE, augment=3)
    assert inputs.augment.shape == (len(LIKE), 2, BATCH, 3)
    assert ((inputs.augment >= 0) & (inputs.augment < 1)).all()
    assert len(inputs.augment.unique()) == inputs.augment.numel()
    assert draw_random_inputs(model, BATCH, noise(), LIKE).augment.numel() == 0


def test_the_weights_of_a_mixture_are_drawn_for_each_update_and_sum_to_one() -> None:
    random = noise()
    model = Model(SPACES, mlp(False), Ensemble(6, Loss.huber, None, True))
    first, second = (draw_random_inputs(model, BATCH, random, LIKE).mixture for _ in range(2))
    assert first.shape == (len(LIKE), 6)
    for weights in (first, second):
        torch.testing.assert_close(weights.sum(1), torch.ones_like(LIKE))
        assert (weights > 0).all()
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    model = Model(SPACES, mlp(False), Ensemble(6, Loss.huber, 1.0, False))
    assert draw_random_inputs(model, BATCH, random, LIKE).mixture.shape == (len(LIKE), 0)
