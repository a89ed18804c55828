"""Traces against numbers worked by hand, the authors' pseudo-code and the forward view."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, RandomInputs
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.optimizers import OptimizerState, Schedule
from dqn_cli.agent.table import Table
from dqn_cli.agent.traces import ObGd, TraceAdam, TraceInputs, TraceOptimizer, trace_inputs
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.arrays import Array

CONSTANT = Schedule.constant
SQUARED, HUBER = Scalar(Loss.squared), Scalar(Loss.huber)
ONE = torch.tensor(1.0, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def inputs(error: float, keep: float = 1, decay: float = 0.5) -> TraceInputs:
    return TraceInputs(number(error), number(keep), number(decay))


def start(optimizer: TraceOptimizer, *parameters: float) -> OptimizerState:
    values = torch.tensor(parameters, dtype=torch.float64)
    zeros = tuple(torch.zeros_like(values) for _ in range(optimizer.moments))
    return OptimizerState(values, zeros, torch.zeros(optimizer.moments, dtype=torch.float64))


def step(
    optimizer: TraceOptimizer, state: OptimizerState, gradient: list[float], given: TraceInputs
) -> OptimizerState:
    return optimizer.step_on_trace(state, torch.tensor(gradient, dtype=torch.float64), ONE, given)


def test_obgd_steps_by_hand() -> None:
    optimizer = ObGd(0.1, CONSTANT, None, 0.8, kappa=2.0)
    # Trace (-1, 2); M = 0.1 * 2 * 1 * 3 = 0.6, so the step is 0.1 * 0.5.
    state = step(optimizer, start(optimizer, 1.0, 1.0), [-1.0, 2.0], inputs(0.5))
    assert state.parameters.tolist() == pytest.approx([1.05, 0.9])
    assert state.moments[0].tolist() == pytest.approx([-0.5, 1.0])
    # Trace (-1.5, 1); M = 0.1 * 2 * 4 * 2.5 = 2, so the step is 0.05 * -4.
    state = step(optimizer, state, [-1.0, 0.0], inputs(-4.0))
    assert state.parameters.tolist() == pytest.approx([0.75, 1.1])
    # The trace is cut: (1, 0) alone, and it does not go on.
    state = step(optimizer, state, [1.0, 0.0], inputs(1.0, keep=0, decay=0))
    assert state.parameters.tolist() == pytest.approx([0.65, 1.1])
    assert state.moments[0].tolist() == [0, 0]


@pytest.mark.parametrize("lr", [1.0, 0.01])
def test_obgd_equals_its_authors_pseudo_code(lr: float) -> None:
    random, kappa, gamma, trace_decay = np.random.default_rng(0), 2.0, 0.99, 0.8
    optimizer = ObGd(lr, CONSTANT, None, trace_decay, kappa)
    state, weights, trace = start(optimizer, *[0.5] * 6), np.full(6, 0.5), np.zeros(6)
    for _ in range(50):
        gradient, error, ends = random.normal(size=6), random.normal() * 3, random.random() < 0.2
        trace = gamma * trace_decay * trace + gradient
        bound = lr * kappa * max(abs(error), 1) * np.abs(trace).sum()
        weights = weights + min(1 / bound, 1) * lr * error * trace
        given = inputs(error, decay=0 if ends else gamma * trace_decay)
        # Our gradient is that of minus the action value.
        state = step(optimizer, state, (-gradient).tolist(), given)
        trace = trace * (not ends)
    np.testing.assert_allclose(state.parameters.numpy(), weights, rtol=1e-12)


def test_trace_adam_steps_by_hand() -> None:
    optimizer = TraceAdam(0.1, CONSTANT, None, 0.8, beta2=0.5, eps=0.0)
    # The first step has the size of the learning rate, whatever the error is.
    state = step(optimizer, start(optimizer, 0.0, 0.0), [-1.0, 2.0], inputs(3.0))
    assert state.parameters.tolist() == pytest.approx([0.1, -0.1])
    assert state.moments[0].tolist() == [-0.5, 1.0]
    # Trace (0.5, 1), steps (-1, -2); mean squares (9, 36) / 4 + (1, 4) / 2, over 3 / 4.
    state = step(optimizer, state, [1.0, 0.0], inputs(-2.0))
    moved = 0.1 / math.sqrt((9 / 4 + 1 / 2) / 0.75)
    assert state.parameters.tolist() == pytest.approx([0.1 + moved, -0.1 + 2 * moved / 2])


@pytest.mark.parametrize("optimizer", [ObGd(0.5, CONSTANT, None, 0.8, 2.0)], ids=["obgd"])
def test_no_transition_changes_nothing(optimizer: TraceOptimizer) -> None:
    state = step(optimizer, start(optimizer, 1.0, 1.0), [-1.0, 2.0], inputs(0.5))
    after = step(optimizer, state, [0.0, 0.0], inputs(0.0, keep=1, decay=1))
    assert torch.equal(after.parameters, state.parameters)
    assert torch.equal(after.moments[0], state.moments[0])


def transition(
    action: int,
    discount: float = 0.9,
    starts: bool = False,
    weight: float = 1,
    mask: tuple[bool, bool, bool] = (True, True, True),
    reward: float = 0.5,
    obs: int = 0,
    next_obs: int = 1,
) -> Batch:
    states = torch.eye(4, dtype=torch.float64)
    legal = torch.tensor([mask])
    return Batch(
        obs=states[[obs]],
        action=torch.tensor([action]),
        mask=legal,
        reward=number(reward)[None],
        discount=number(discount)[None],
        next_obs=states[[next_obs]],
        next_mask=torch.ones_like(legal),
        weight=number(weight)[None],
        logged=torch.tensor([False]),
        starts=torch.tensor([starts]),
    )


Z = torch.tensor([[[1.0], [3.0], [3.0]]], dtype=torch.float64)
TARGET = torch.tensor([[5.5]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (transition(1), (2.5, 1, 0.72)),
        (transition(2), (2.5, 1, 0.72)),  # one of two best actions
        (transition(0), (4.5, 0, 0.72)),  # not greedy: the trace is cut before it
        (transition(0, mask=(True, False, False)), (4.5, 1, 0.72)),  # the only legal action
        (transition(1, starts=True), (2.5, 0, 0.72)),
        (transition(1, discount=0), (2.5, 1, 0)),  # terminated
        (transition(0, starts=True, weight=0, discount=0), (0, 1, 1)),  # no transition
    ],
)
def test_inputs_of_a_step_by_hand(batch: Batch, expected: tuple[float, ...]) -> None:
    found = trace_inputs(SQUARED, Z, TARGET, batch, 0.8)
    assert [float(each) for each in found] == pytest.approx(expected)


def test_the_error_of_hubers_loss_is_clipped() -> None:
    assert float(trace_inputs(HUBER, Z, TARGET, transition(0), 0.8).error) == 1
    assert float(trace_inputs(HUBER, Z, 0.5 * TARGET, transition(1), 0.8).error) == -0.25


STATES, ACTIONS, GAMMA = 4, 3, 0.9


def episodes(random: np.random.Generator) -> list[list[tuple[int, int, float, int, bool]]]:
    """Return transitions of some episodes; half of the episodes terminate, half are truncated."""
    made = []
    for episode in range(6):
        states = random.integers(STATES, size=7)
        length = int(random.integers(1, 7))
        made.append(
            [
                (
                    int(states[t]),
                    int(random.integers(ACTIONS)),
                    float(random.normal()),
                    int(states[t + 1]),
                    episode % 2 == 0 and t == length - 1,
                )
                for t in range(length)
            ]
        )
    return made


@pytest.mark.parametrize("trace_decay", [0.0, 0.7, 1.0])
def test_steps_of_an_episode_add_up_to_the_forward_view(trace_decay: float) -> None:
    """With values held still, they are the errors of Watkins's lambda returns."""
    random = np.random.default_rng(3)
    # A step this small is never bounded, and 1 / lr makes it one of size 1.
    optimizer = ObGd(1e-9, CONSTANT, None, trace_decay, kappa=1.0)
    spaces = array_spaces((STATES,), (0,) * STATES, (1,) * STATES, ACTIONS, one_hot=True)
    agent = Agent(spaces, Table(2, None, None), SQUARED, Dqn(), optimizer)
    q = random.normal(size=(STATES, ACTIONS))
    parameters = torch.from_numpy(q.flatten())
    found, expected = torch.zeros_like(parameters), np.zeros((STATES, ACTIONS))
    trace = torch.zeros_like(parameters)
    for episode in episodes(random):
        for t, (state, action, reward, following, terminated) in enumerate(episode):
            batch = transition(
                action, GAMMA * (not terminated), t == 0, 1, (True,) * 3, reward, state, following
            )
            after = one_step(agent, parameters, trace, batch)
            found += (after.parameters - parameters) / 1e-9
            trace = after.moments[0]
        returns = watkins_returns(episode, q, trace_decay)
        for (state, action, *_), value in zip(episode, returns, strict=True):
            expected[state, action] += value - q[state, action]
    np.testing.assert_allclose(found.view(STATES, ACTIONS), expected, atol=1e-5)


def one_step(agent: Agent, parameters: Tensor, trace: Tensor, batch: Batch) -> OptimizerState:
    online = parameters.clone().requires_grad_()
    objective, _, _, given = agent.loss(online, parameters, batch, no_random())
    (gradient,) = torch.autograd.grad(objective, online)
    state = OptimizerState(parameters, (trace,), torch.zeros(1, dtype=torch.float64))
    return agent.step(state, gradient, ONE, given)[0]


def no_random() -> RandomInputs:
    return RandomInputs(torch.zeros(2, 1, 0), torch.zeros(3, 0))


def watkins_returns(
    episode: list[tuple[int, int, float, int, bool]], q: Array, trace_decay: float
) -> list[float]:
    """Return the lambda return of each step, which goes on as long as actions are greedy."""
    returns: list[float] = []
    following = 0.0
    for t in reversed(range(len(episode))):
        _, _, reward, state, terminated = episode[t]
        value = q[state].max()
        goes_on = t + 1 < len(episode) and q[state, episode[t + 1][1]] == value
        mixed = value + trace_decay * (following - value) if goes_on else value
        following = reward + GAMMA * (not terminated) * mixed
        returns.insert(0, following)
    return returns
