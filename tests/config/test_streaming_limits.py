from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
STREAMING = (
    "tuned=none",
    "replay=newest",
    "optimizer=obgd",
    "target=none",
)


@pytest.mark.parametrize(
    ("word", "needed"),
    [
        ("replay.n_step=3", "replay.n_step=1"),
        ("replay.capacity=50", "replay.capacity=2"),
        ("env.num_envs=2", "env.num_envs=1"),
        ("train_every=4", "train_every=1"),
        ("updates_per_train=2", "updates_per_train=1"),
        ("network=gru", "network=multi"),
        ("init_replay=true", "init_replay=false"),
        ("head=qr", "head=scalar"),
        ("update.rescale=true", "update.rescale=false"),
        ("auxiliary=counts", "auxiliary=none"),
        ("replay=uniform", "replay=newest"),
    ],
)
def test_what_streaming_needs_is_named(settings_of: Compose, word: str, needed: str) -> None:
    words = ("init=somewhere",) if word.startswith("init_") else ()
    with pytest.raises(ConfigError, match=needed.replace(".", r"\.")):
        settings_of(*STREAMING, word, *words)


def test_numbers_tuned_for_replay_are_named_as_a_cause(settings_of: Compose) -> None:
    with pytest.raises(ConfigError, match=r"train_every=1 .*tuned=none"):
        settings_of("env=CartPole-v1", "replay=newest", "target=none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.path=somewhere",), r"env\.reward_scale"),
        (("protocol=nature", "env=ALE/Pong-v5"), "use one of them"),
    ],
)
def test_rewards_are_normalized_in_one_way(
    settings_of: Compose, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of("env.normalize_reward=true", *words)
