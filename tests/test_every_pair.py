"""Every legal pair of choices runs and learns in at least one run; all others are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import NEEDED, PRESETS
from gymnasium import spaces
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.config.validation import ConfigError
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Pair = frozenset[str]

AXES = {
    "env": ("CartPole-v1", "CliffWalking-v1", "MinAtar/Breakout-v1"),
    "network": ("mlp", "dueling", "table", "minatar", "gru", "lstm"),
    "network.layer_norm": ("false", "true"),
    "network.spectral_norm": ("false", "true"),
    "network.noisy": ("false", "true"),
    "head": ("scalar", "c51", "qr", "iqn"),
    "update": ("dqn", "double", "munchausen"),
    "update.loss": ("huber", "squared"),
    "update.max_grad_norm": ("null", "1"),
    "target": ("hard", "soft", "none"),
    "exploration": (
        "constant",
        "linear",
        "exponential",
        "multiplicative",
        "piecewise",
        "ladder",
        "boltzmann",
        "noisy",
    ),
    "replay": ("uniform", "prioritised", "rollout"),
    "replay.n_step": ("1", "3"),
    "optimizer": ("adam", "adamw", "radam", "rmsprop", "sgd"),
    "optimizer.schedule": ("constant", "linear"),
    "env.num_envs": ("1", "3"),
    "reset.every": ("null", "7"),
    "dtype": ("float32", "float64"),
}


def pairs(*patterns: tuple[str, str]) -> set[Pair]:
    """All pairs of words that these patterns mean; a word that ends in = stands for all of it."""
    words = [f"{key}={value}" for key, values in AXES.items() for value in values]

    def meant(pattern: str) -> list[str]:
        return [w for w in words if w == pattern or (pattern[-1] == "=" and w.startswith(pattern))]

    return {
        frozenset(pair) for one, other in patterns for pair in product(meant(one), meant(other))
    }


EVERY_PAIR = {
    frozenset((f"{one}={value}", f"{other}={choice}"))
    for (one, values), (other, choices) in combinations(AXES.items(), 2)
    for value, choice in product(values, choices)
}
REFUSED = pairs(
    ("network=table", "head=iqn"),
    ("network=table", "exploration=noisy"),
    ("network=table", "reset.every=7"),
    ("network=table", "network.layer_norm="),  # a table has no such keys
    ("network=table", "network.spectral_norm="),
    ("network=table", "network.noisy="),
    ("network=table", "env=CartPole-v1"),  # its bounds are infinite
    ("network=table", "env=MinAtar/Breakout-v1"),  # 20^400 cells
    ("network=minatar", "env=CartPole-v1"),
    ("network=minatar", "env=CliffWalking-v1"),
    ("network.noisy=false", "exploration=noisy"),
    ("head=c51", "update.loss=squared"),
    ("head=qr", "update.loss=squared"),
    ("head=iqn", "update.loss=squared"),
    ("exploration=ladder", "env.num_envs=1"),
    ("replay=rollout", "update=double"),
    ("replay=rollout", "update=munchausen"),
    ("replay=rollout", "target=hard"),
    ("replay=rollout", "target=soft"),
    ("replay=rollout", "network=gru"),
    ("replay=rollout", "network=lstm"),
    ("replay=rollout", "replay.n_step=3"),
)
# Words that make small and fast whatever the axes choose.
SMALL = (
    "steps=36",
    "learning_starts=6",
    "train_every=6",
    "updates_per_train=2",
    "replay.capacity=200",
    "replay.batch_size=4",
)


def covering_array() -> list[list[str]]:
    """Assignments of every axis, without refused pairs, in which all other pairs occur; greedy."""
    random = np.random.default_rng(0)
    missing = EVERY_PAIR - REFUSED
    cases = []
    while missing:
        best: list[str] = []
        for _ in range(30):
            case = min(map(sorted, missing))
            rest = [axis for axis in AXES if not any(w.startswith(f"{axis}=") for w in case)]
            for axis in random.permutation(rest):
                words = [f"{axis}={value}" for value in AXES[axis]]
                allowed = [
                    word for word in words if not any(frozenset((word, w)) in REFUSED for w in case)
                ]
                if allowed:
                    gain = [
                        sum(frozenset((word, w)) in missing for w in case) + random.random()
                        for word in allowed
                    ]
                    case.append(allowed[int(np.argmax(gain))])
            best = max(best, case, key=lambda c: len(missing & covered(c)))
        missing -= covered(best)
        cases.append(best)
    return cases


def covered(case: list[str]) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(case, 2)}


def in_order(case: list[str]) -> list[str]:
    """Choices of a group before keys of it."""
    return sorted(case, key=lambda word: "." in word.split("=")[0])


class Mixed(gymnasium.Env[Any, Any]):
    """Dict observations, actions of two parts, and a mask that forbids one of them."""

    observation_space = spaces.Dict({"place": spaces.Box(-1, 1, (2,)), "kind": spaces.Discrete(3)})
    action_space = spaces.MultiDiscrete([2, 2])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.answer()

    def step(self, action: Any) -> Any:
        assert tuple(action) != (1, 1), "an illegal action was taken"
        obs, info = self.answer()
        return obs, float(action[0]), bool(self.np_random.random() < 0.1), False, info

    def answer(self) -> Any:
        place = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        obs = {"place": place, "kind": np.int64(self.np_random.integers(3))}
        return obs, {"action_mask": np.array([1, 1, 1, 0], np.int8)}


@pytest.fixture(autouse=True)
def mixed() -> Iterator[None]:
    gymnasium.register("Mixed-v0", Mixed, max_episode_steps=9)
    yield
    del gymnasium.registry["Mixed-v0"]


def run_a_little(settings: Settings) -> None:
    _, run = build_run([settings])
    before = run.learner.state.parameters.clone()
    updates = sum(report.updates for report in train([settings], run))
    run.envs.close()
    assert updates >= 2
    assert torch.isfinite(run.learner.state.parameters).all()
    assert not torch.equal(run.learner.state.parameters, before)


CASES = covering_array()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_legal_pair_of_choices_runs(settings_of: Compose, case: list[str]) -> None:
    pytest.importorskip("minatar")
    table = "network=table" in case
    own = () if table else ("network.widths=[8,8]",)
    own += (
        ("network.length=3", "network.burn_in=1")
        if {"network=gru", "network=lstm"} & set(case)
        else ()
    )
    run_a_little(settings_of(*SMALL, *in_order(case), *own))


def test_the_cases_cover_every_pair_and_hold_none_that_is_refused() -> None:
    seen = set().union(*(covered(case) for case in CASES))
    assert EVERY_PAIR - seen == REFUSED


@pytest.mark.parametrize("pair", sorted(map(sorted, REFUSED)), ids=str)
def test_a_pair_that_makes_no_sense_is_refused_in_words(
    settings_of: Compose, pair: list[str]
) -> None:
    keys = {word.split("=")[0] for word in pair}
    table = "network=table" in pair
    # With what either of the two needs besides, so that the pair itself is what is wrong.
    needed = [
        word
        for each in pair
        for word in NEEDED.get(each, ())
        if word.split("=")[0] not in keys and not (table and word.startswith("network."))
    ]
    with pytest.raises(
        (ConfigError, ValueError, HydraException, OmegaConfBaseException)
    ) as refused:
        build_run([settings_of(*SMALL, *in_order([*pair, *needed]))])
    named = [word.split("=")[0].split(".")[-1] for word in pair]
    assert any(name in str(refused.value) for name in named)


OBSERVATIONS = {
    "vector": "env=CartPole-v1",
    "one-hot": "env=CliffWalking-v1",
    "tuple": "env=Blackjack-v1",
    "dict": "env=Mixed-v0",
    "image": "env=MinAtar/Breakout-v1",
}


@pytest.mark.parametrize("env", OBSERVATIONS.values(), ids=OBSERVATIONS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_runs_on_every_kind_of_observation(
    settings_of: Compose, preset: str, env: str
) -> None:
    pytest.importorskip("minatar")
    own = {"pqn": ("train_every=16",), "drqn": ("network.length=3", "network.burn_in=1")}.get(
        preset, ()
    )
    run_a_little(settings_of(*SMALL, f"agent={preset}", env, "network.widths=[8,8]", *own))
