from __future__ import annotations

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from test_model import both, random_inputs
from torch import Tensor

from dqn_cli.agent.batch import Sequences
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm, Recurrent
from dqn_cli.agent.sequences import evaluate_sequences, sequence_errors

ACTIONS, BATCH = 3, 4
SPACES = array_spaces((2,), (-1, -1), (1, 1), ACTIONS)
LENGTH, STEPS = 3, 2
KINDS = [Gru, Lstm]
SCALAR = Scalar(Loss.huber)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def recurrent(kind: type[Gru | Lstm], burn_in: int, noisy: bool, head: Head) -> Model:
    network = kind([6, 5], False, False, True, noisy, 0.5, [], 4, 4, burn_in, LENGTH)
    return Model(SPACES, network, head)


def sequences(burn_in: int, state: int) -> Sequences:
    """Episodes begin at random, here and there an n-step return is cut short."""
    random, time = np.random.default_rng(7), burn_in + LENGTH + STEPS
    return Sequences(
        obs=drawn(BATCH, time, 2, seed=3),
        state=drawn(BATCH, state, seed=4),
        starts=torch.from_numpy(random.random((BATCH, time)) < 0.3),
        action=torch.from_numpy(random.integers(ACTIONS, size=(BATCH, LENGTH))),
        mask=torch.from_numpy(random.random((BATCH, LENGTH, ACTIONS)) < 0.7),
        reward=drawn(BATCH, LENGTH, seed=5),
        discount=torch.from_numpy(random.choice([0.0, 0.81, 0.9], (BATCH, LENGTH))),
        ahead=torch.from_numpy(random.integers(1, STEPS + 1, (BATCH, LENGTH))),
        next_mask=torch.from_numpy(random.random((BATCH, LENGTH, ACTIONS)) < 0.7),
        weight=torch.from_numpy(random.choice([0.0, 0.5, 1.5], (BATCH, LENGTH))),
        logged=torch.zeros(BATCH, LENGTH, dtype=torch.bool),
    )


def by_hand(
    model: Model, parameters: Tensor, sample: Sequences, noise: Tensor, taus: Tensor
) -> Tensor:
    """Unroll step by step, each sequence by itself: z [batch, length + n, actions, atoms]."""
    network = model.network
    assert isinstance(network, Recurrent)
    time = sample.obs.shape[1] - network.burn_in
    levels = taus.view(BATCH, time, -1)
    rows = []
    for sequence in range(BATCH):
        state = sample.state[[sequence]]
        for at in range(-network.burn_in, time):
            slot = network.burn_in + at
            if sample.starts[sequence, slot]:
                state = torch.zeros_like(state)
            # any levels will do for the burn-in, whose z is not kept
            p = model.named(parameters, noise, levels[[sequence], max(at, 0)])
            obs = sample.obs[[sequence], slot].unsqueeze(1)
            z, state = network.unroll(p, obs, state, None, SPACES, model.head)
            if at >= 0:
                rows.append(z)
            elif at == -1:
                state = state.detach()
    return torch.cat(rows).view(BATCH, time, ACTIONS, -1)


@pytest.mark.parametrize("head", [SCALAR, Qr(3), Iqn(3, 4)])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("burn_in", [0, 1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_sequences_are_those_of_stepping_through_each_by_itself(
    kind: type[Gru | Lstm], burn_in: int, noisy: bool, head: Head
) -> None:
    model = recurrent(kind, burn_in, noisy, head)
    sample, (online, target) = sequences(burn_in, model.state_size), both(model)
    random = random_inputs(model, BATCH * (LENGTH + STEPS))
    transitions, outputs = evaluate_sequences(model, online, target, sample, random)

    here = by_hand(model, online, sample, random.online_noise, random.online_taus)
    there = by_hand(model, target, sample, random.target_noise, random.target_taus)
    q, target_q = head.q(here), head.q(there)
    for row in range(BATCH * LENGTH):
        sequence, slot = divmod(row, LENGTH)
        following = slot + int(sample.ahead[sequence, slot])
        torch.testing.assert_close(outputs.z[row], here[sequence, slot])
        torch.testing.assert_close(outputs.next_z[row], there[sequence, following])
        torch.testing.assert_close(outputs.next_q()[row], q[sequence, following])
        torch.testing.assert_close(outputs.target_q()[row], target_q[sequence, slot])
    assert len(transitions.action) == len(outputs.z) == BATCH * LENGTH


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_sequences_are_those_of_the_slots_that_are_learned_from(
    kind: type[Gru | Lstm],
) -> None:
    model = recurrent(kind, 1, False, Iqn(3, 4))
    random = random_inputs(model, BATCH * (LENGTH + STEPS))
    _, outputs = evaluate_sequences(model, *both(model), sequences(1, model.state_size), random)
    levels = random.online_taus.view(BATCH, LENGTH + STEPS, 3)
    for row, taus in enumerate(outputs.taus):
        assert torch.equal(taus, levels[divmod(row, LENGTH)])


def test_the_slots_of_sequences_become_transitions() -> None:
    model = recurrent(Gru, 2, False, SCALAR)
    sample = sequences(2, model.state_size)
    transitions, outputs = evaluate_sequences(
        model, *both(model), sample, random_inputs(model, BATCH * LENGTH)
    )
    assert outputs.taus.shape == (BATCH * LENGTH, 0)
    for name in ("action", "mask", "reward", "discount", "next_mask", "weight"):
        of_slots, of_rows = getattr(sample, name), getattr(transitions, name)
        for row, value in enumerate(of_rows):
            assert torch.equal(value, of_slots[divmod(row, LENGTH)])
        assert len(of_rows) == BATCH * LENGTH


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_flows_through_the_burn_in(kind: type[Gru | Lstm], burn_in: int) -> None:
    model = recurrent(kind, burn_in, False, SCALAR)
    sample, (online, target) = sequences(burn_in, model.state_size), both(model)
    never = torch.zeros_like(sample.starts)
    sample = sample._replace(starts=never, obs=sample.obs.requires_grad_())
    random = random_inputs(model, BATCH * (LENGTH + STEPS))
    _, outputs = evaluate_sequences(model, online, target, sample, random)
    by_obs, by_online = torch.autograd.grad(outputs.z.pow(2).sum(), (sample.obs, online))
    reached = by_obs.abs().sum((0, 2)) > 0
    assert reached.tolist() == [False] * burn_in + [True] * LENGTH + [False] * STEPS
    z = by_hand(model, online, sample, random.online_noise, random.online_taus)[:, :LENGTH]
    (expected,) = torch.autograd.grad(z.pow(2).sum(), online)
    torch.testing.assert_close(by_online, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_burn_in_still_changes_the_state(kind: type[Gru | Lstm]) -> None:
    model = recurrent(kind, 2, False, SCALAR)
    sample, parameters = sequences(2, model.state_size), both(model)
    sample = sample._replace(starts=torch.zeros_like(sample.starts))
    random = random_inputs(model, BATCH * (LENGTH + STEPS))
    obs = sample.obs.clone()
    obs[:, 0] += 1
    _, before = evaluate_sequences(model, *parameters, sample, random)
    _, after = evaluate_sequences(model, *parameters, sample._replace(obs=obs), random)
    assert (before.z - after.z).abs().min() > 0


def test_gradients_of_sequences_flow_through_the_online_network_at_obs_alone() -> None:
    model = recurrent(Gru, 1, True, Iqn(3, 4))
    online, target = both(model)
    random = random_inputs(model, BATCH * (LENGTH + STEPS))
    sample = sequences(1, model.state_size)
    _, outputs = evaluate_sequences(model, online, target.requires_grad_(), sample, random)
    assert outputs.z.requires_grad
    constants = (outputs.next_z, outputs.next_q(), outputs.target_q())
    assert not any(each.requires_grad for each in constants)


@pytest.mark.parametrize(
    ("values", "weight", "expected"),
    [
        ([1.0, 2.0, 6.0], [1.0, 1.0, 1.0], 5.7),  # 0.9 * 6 + 0.1 * 3
        ([1.0, 9.0, 3.0], [1.0, 0.0, 1.0], 2.9),  # 0.9 * 3 + 0.1 * 2: the 9 does not count
        ([1.0, 9.0, 3.0], [7.0, 0.0, 0.5], 2.9),  # weights only say what counts
        ([4.0, 9.0, 3.0], [1.0, 0.0, 0.0], 4.0),
        ([4.0, 9.0, 3.0], [0.0, 0.0, 0.0], 0.0),
    ],
)
def test_the_error_of_a_sequence_is_mostly_that_of_its_worst_step(
    values: list[float], weight: list[float], expected: float
) -> None:
    sample = sequences(0, 4)._replace(weight=torch.tensor([weight, [1.0, 1.0, 1.0]]))
    both_sequences = torch.tensor([*values, 5.0, 5.0, 5.0])
    assert sequence_errors(both_sequences, sample).tolist() == pytest.approx([expected, 5.0])
