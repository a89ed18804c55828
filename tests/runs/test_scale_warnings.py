from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.runs.scale_warnings import scale_warnings
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


class Sized(gymnasium.Env[Any, Any]):
    """Observes a picture, a choice and numbers of one size; rewards have a size too."""

    def __init__(self, numbers: float = 1.0, reward: float = 1.0) -> None:
        self.observation_space = spaces.Dict(
            camera=spaces.Box(0, 255, (5, 5, 3), np.uint8),
            choice=spaces.Discrete(2),
            numbers=spaces.Box(-np.inf, np.inf, (2,), np.float64),
        )
        self.action_space = spaces.Discrete(2)
        self.numbers, self.reward = numbers, reward

    def observe(self) -> dict[str, Any]:
        camera = np.full((5, 5, 3), 255, np.uint8)
        return {"camera": camera, "choice": 1, "numbers": np.array([0.0, -self.numbers])}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        return self.observe(), -self.reward, False, False, {}


@pytest.fixture
def sized() -> Iterator[None]:
    gymnasium.register("Sized-v0", Sized, max_episode_steps=10)
    yield
    del gymnasium.registry["Sized-v0"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", []),
        ("+env.kwargs.numbers=100 +env.kwargs.reward=1000", []),
        ("+env.kwargs.numbers=12500", ["part numbers of observations has numbers .* 12,500"]),
        ("+env.kwargs.numbers=12500 env.normalize=running", []),
        ("+env.kwargs.numbers=101 env.preprocess.stack=2", ["part numbers .* as large as 101,"]),
        ("+env.kwargs.reward=20000", ["rewards are as large as 20,000, .*env.reward_scale=5e-05"]),
        ("+env.kwargs.reward=20000 env.reward_scale=5e-5", []),
        ("+env.kwargs.reward=20000 env.preprocess.clip_rewards=true", []),
        ("+env.kwargs.reward=5000 +env.kwargs.numbers=1e6 env.num_envs=3", ["numbers", "rewards"]),
    ],
)
def test_large_numbers_are_warned_of_by_name(
    settings_of: Compose, sized: None, words: str, expected: list[str]
) -> None:
    settings = settings_of(
        "env=Sized-v0", "steps=30", "replay.capacity=100", "network.widths=[4]", *words.split()
    )
    _, run = build_run([settings])
    for _ in train([settings], run):
        pass
    run.envs.close()
    warnings = list(scale_warnings(settings, run))
    assert len(warnings) == len(expected)
    for warning, pattern in zip(warnings, expected, strict=True):
        assert warning.startswith("warning: ")
        assert "\n" not in warning
        assert re.search(pattern, warning)
