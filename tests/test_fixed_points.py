"""Every preset converges to the fixed point of its own operator, which is not always Q*."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from conftest import STREAMING
from known_mdp import (
    ACTIONS,
    ALIVE,
    CHANCE,
    GAMMA,
    LEARNED,
    LEGAL,
    LIMIT,
    NEXT,
    REWARD,
    STATES,
    Array,
    KnownMdp,
    after,
    best,
    bonus,
    fixed_point,
    n_step,
    peng,
    soft,
)
from torch import Tensor

from dqn_cli.agent.model import Model
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Operator = Callable[[Array], Array]


def optimal(q: Array) -> Array:
    return REWARD + GAMMA * after(best(q))


def munchausen(q: Array) -> Array:
    return REWARD + bonus(q, 0.9, 0.3, -1) + GAMMA * after(soft(q, 0.3))


def n_step_munchausen(q: Array) -> Array:
    return n_step(q, 3, lambda q: soft(q, 0.3)) + bonus(q, 0.9, 0.3, -1)


OPERATORS: dict[str, Operator] = {
    "dqn": optimal,
    "double": optimal,
    "dueling": optimal,
    "d3qn": optimal,
    "per": optimal,
    "n_step": lambda q: n_step(q, 3),
    "noisy": optimal,
    "c51": optimal,
    "qr": optimal,
    "iqn": optimal,
    "fqf": optimal,
    "munchausen": munchausen,
    "munchausen_iqn": munchausen,
    "rainbow": lambda q: n_step(q, 3),
    "rainbow_iqn": lambda q: n_step(q, 3),
    "data_efficient_rainbow": lambda q: n_step(q, 10),
    "btr": n_step_munchausen,
    "pqn": lambda q: peng(q, 0.65, 16),
    "drqn": optimal,
    "bootstrapped": optimal,
    "rem": optimal,
}
SETTINGS = (
    "env=KnownMdp-v0",
    f"gamma={GAMMA}",
    "steps=40000",
    "env.num_envs=16",
    "learning_starts=800",
    "train_every=16",
    "updates_per_train=1",
    "exploration=constant",
    "exploration.start=1",
    "network.widths=[64]",
    "replay.batch_size=128",
    "optimizer.lr=1e-2",
    "optimizer.schedule=linear",
    "target.every=320",
)
SQUARED = ("head.loss=squared",)  # Huber's loss has its minimum between mean and median
SUPPORT = ("head.v_min=-10", "head.v_max=10")
# Quantile Huber regression finds quantiles only for errors above 1, so rewards are large.
SCALED = ("+env.kwargs.scale=5", "optimizer.lr=2e-2")
# Implicit quantiles multiply features by an embedding, so the network must have a torso.
IMPLICIT = (*SCALED, "network.widths=[64,32]", "optimizer.lr=1e-2")
SOFT = ("update.temperature=0.3",)  # at 0.03 the policy flips where two values are almost equal
OWN: dict[str, tuple[str, ...]] = {
    "dqn": SQUARED,
    "double": SQUARED,
    "dueling": SQUARED,
    "d3qn": SQUARED,
    "per": SQUARED,
    "n_step": SQUARED,
    "noisy": SQUARED,
    "munchausen": (*SQUARED, *SOFT),
    "munchausen_iqn": (*IMPLICIT, "update.temperature=1.5", "update.clip=-5"),
    "bootstrapped": SQUARED,
    "rem": SQUARED,
    "c51": SUPPORT,
    "qr": SCALED,
    "iqn": IMPLICIT,
    "fqf": IMPLICIT,
    "rainbow": SUPPORT,
    "rainbow_iqn": IMPLICIT,
    "data_efficient_rainbow": SUPPORT,
    "btr": (*IMPLICIT, "update.temperature=1.5", "update.clip=-5"),
    "pqn": ("train_every=256", "updates_per_train=16", "replay.batch_size=64", *SQUARED),
    "drqn": (
        *SQUARED,
        "+env.kwargs.coin=true",
        "network.units=32",
        "network.length=6",
        "network.burn_in=2",
        "replay.batch_size=192",
        "optimizer.lr=4e-3",
    ),
}

# Mean and largest error over all pairs; values go up to 5.8. Eight quantiles describe a
# distribution with jumps only roughly. Munchausen's bonus magnifies small differences of two
# actions. The recurrent network gets random next states, which have a sampling error.
TOLERANCE = {
    "iqn": (0.12, 0.8),
    "fqf": (0.12, 0.5),
    "munchausen": (0.1, 0.5),
    "munchausen_iqn": (0.15, 0.8),
    "rainbow_iqn": (0.12, 0.5),
    "btr": (0.15, 0.8),
    "drqn": (0.15, 0.5),
}

NOISIEST = ("per", "munchausen_iqn", "drqn")

# Each operator and each kind of head once; the other presets combine these and are slow.
PARTS = ("dqn", "double", "n_step", "noisy", "c51", "qr", "munchausen", "pqn")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in OPERATORS if name not in PARTS]


@pytest.fixture(autouse=True)
def known_mdp() -> Iterator[None]:
    gymnasium.register("KnownMdp-v0", KnownMdp, max_episode_steps=LIMIT)
    KnownMdp.due[:] = 0
    yield
    del gymnasium.registry["KnownMdp-v0"]


def trained(settings: Settings, seeds: int) -> tuple[Model, Tensor]:
    """Train members with different seeds; return the model and parameters [seeds, size]."""
    members = [replace(settings, seed=seed) for seed in range(seeds)]
    agents, run = build_run(members)
    for _ in train(members, run):
        pass
    run.envs.close()
    return agents[0].model, run.learner.state.parameters


def learned(settings: Settings, seeds: int) -> Array:
    """Train members with different seeds; return their mean action values, [states, actions]."""
    model, parameters = trained(settings, seeds)
    states, none = torch.eye(STATES), torch.zeros(0)
    state = torch.zeros(STATES, model.state_size)
    q = torch.stack([model.act(member, states, state, none)[0] for member in parameters])
    return q.mean(0).detach().numpy().astype(float)


@pytest.mark.parametrize("preset", [*PARTS, *OTHERS])
def test_a_preset_converges_to_the_fixed_point_of_its_operator(
    settings_of: Callable[..., Settings], preset: str
) -> None:
    words = [word for word in SETTINGS if preset != "pqn" or not word.startswith("target")]
    settings = settings_of(f"agent={preset}", *words, *OWN[preset])
    # The noisiest presets are averaged over several seeds.
    q = learned(settings, 4 if preset in NOISIEST else 1) / settings.env.kwargs.get("scale", 1)
    expected = fixed_point(OPERATORS[preset])
    error = np.abs(q - expected)[LEARNED]
    mean, largest = TOLERANCE.get(preset, (0.06, 0.2))
    assert error.mean() < mean
    assert error.max() < largest
    if OPERATORS[preset] is not optimal:
        # ... and not to Q*, which differs.
        assert np.abs(q - fixed_point(optimal))[LEARNED].mean() > 3 * error.mean()


@pytest.mark.slow
def test_expectiles_converge_to_those_of_the_optimal_returns(
    settings_of: Callable[..., Settings],
) -> None:
    """Without imputation they would all converge to the mean."""
    model, parameters = trained(settings_of("agent=dqn", *SETTINGS, "head=expectile"), 1)
    none, count = torch.zeros(0), model.head.outputs
    z = model.z(model.named(parameters[0], none, none), torch.eye(STATES))
    learned_ones = z.detach().numpy().astype(float)[LEARNED]  # [pairs, levels]
    error = np.abs(learned_ones[:, count // 2] - fixed_point(optimal)[LEARNED])
    assert error.mean() < 0.06
    assert error.max() < 0.3
    levels = (np.arange(count) + 0.5) / count
    true_ones = np.stack([expectiles(returns, levels) for returns in optimal_returns()[LEARNED]])
    spread, true_spread = np.ptp(learned_ones, 1), np.ptp(true_ones, 1)
    assert true_spread.mean() > 2
    assert np.abs(spread - true_spread).mean() < 0.1
    assert np.abs(learned_ones - true_ones).mean() < 0.1


def optimal_returns(samples: int = 1000) -> Array:
    """Returns of each pair, if optimal actions follow, [states, actions, samples]."""
    random, best_action = np.random.default_rng(0), fixed_point(optimal)
    best_action = np.where(LEGAL, best_action, -np.inf).argmax(1)
    pairs = np.indices((STATES, ACTIONS, samples))
    state, action = pairs[0], pairs[1]
    total, factor = np.zeros(state.shape), np.ones(state.shape)
    for _ in range(80):  # 0.9^80 is 2e-4
        total += factor * REWARD[state, action]
        state = NEXT[state, action, np.where(random.random(state.shape) < CHANCE, 0, 1)]
        factor = factor * GAMMA * ALIVE[state]
        action = best_action[state]
    return total


def expectiles(samples: Array, levels: Array) -> Array:
    """Expectiles by halving an interval."""
    low, high = np.full(len(levels), samples.min()), np.full(len(levels), samples.max())
    for _ in range(50):
        middle = (low + high) / 2
        error = samples - middle[:, None]
        pull = (np.where(error < 0, 1 - levels[:, None], levels[:, None]) * error).mean(1)
        low, high = np.where(pull > 0, middle, low), np.where(pull > 0, high, middle)
    return (low + high) / 2


TABLE = ("network=table", "network.bins=2", "target=none", "env.num_envs=1", "learning_starts=0")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("optimizer", "lr"), [("obgd", 0.5), ("trace_adam", 3e-2)], ids=["obgd", "trace_adam"]
)
def test_streaming_converges_to_the_optimal_values(
    settings_of: Callable[..., Settings], optimizer: str, lr: float
) -> None:
    """The trace is cut before actions that are not greedy, so its fixed point is Q*."""
    words = [word for word in SETTINGS if not word.startswith(("target", "network", "env.num"))]
    own = (
        *TABLE,
        f"optimizer={optimizer}",
        *STREAMING,
        *SQUARED,
        f"optimizer.lr={lr}",
        "steps=16000",
    )
    q = learned(settings_of(*words, *own, "tuned=none"), 1)
    error = np.abs(q - fixed_point(optimal))[LEARNED]
    assert error.mean() < 0.1
    assert error.max() < 0.4
