from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import pytest

from dqn_cli.config.combinations import find_conflict
from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]

ROLLOUT = "replay=rollout target=none replay.n_step=1 "  # and train_every is CartPole's 256

# Words that are refused, what the message names, and words that each put it right.
REFUSED = [
    (
        "eval.every=null stop.at=3",
        ["stop.at need", "eval.every is null", "eval.every=N", "stop.at=null"],
        ["eval.every=7", "stop.at=null"],
    ),
    (
        "eval.every=null video=true",
        ["video=true films evaluations", "eval.every=N", "video=false"],
        ["eval.every=7", "video=false"],
    ),
    (
        "eval.every=null stop.at=3 stop.patience=2",
        ["stop.at and stop.patience", "eval.every is null", "stop.at=null stop.patience=null"],
        ["eval.every=7", "stop.at=null stop.patience=null"],
    ),
    *(
        (
            f"env=MountainCar-v0 network=table env.normalize={word}",
            ["network=table", f"env.normalize={word}", "another network", "env.normalize=none"],
            ["network=mlp", "env.normalize=none"],
        )
        for word in ("running", "bounds")
    ),
    ("threads=0", ["threads=0", "auto"], ["threads=auto", "threads=1"]),
    ("threads=-2", ["threads=-2", "at least 1"], ["threads=auto", "threads=2"]),
    ("threads=many", ["threads=many", "auto"], ["threads=auto"]),
    *(
        (
            f"compile={word}",
            [f"compile={word}", "auto, true or false"],
            ["compile=auto", "compile=true", "compile=false"],
        )
        for word in ("yes", "AUTO", "inductor")
    ),
    *(
        (
            f"compile=true device={device}",
            ["compile=true", "CPU", f"device={device}", "compile=auto or false"],
            ["compile=auto", "compile=false", "device=cpu", "device=auto"],
        )
        for device in ("cuda", "mps")
    ),
    (
        "exploration.unit=episodes",
        ["exploration.duration", "episodes is null", "episodes=N", "a duration above 1"],
        ["episodes=10", "exploration.duration=20", "exploration.unit=steps"],
    ),
    (
        "exploration.unit=episodes exploration.duration=1",
        ["exploration.duration", "episodes is null"],
        ["episodes=1", "exploration.duration=1.5"],
    ),
    (
        "exploration=noisy",
        ["exploration=noisy", "network.noisy=true", "exploration=linear"],
        ["network.noisy=true", "exploration=linear"],
    ),
    (
        "exploration=noisy network=gru",
        ["exploration=noisy", "network.noisy=true", "exploration=linear"],
        ["network.noisy=true", "exploration=linear"],
    ),
    (
        "exploration=noisy network=table",
        ["exploration=noisy", "network=mlp network.noisy=true", "exploration=linear"],
        ["exploration=linear", "network=mlp network.noisy=true"],
    ),
    (
        "reset.every=1000 network=table",
        ["reset.every", "Table", "network=mlp", "reset.every=null"],
        ["network=mlp", "reset.every=null"],
    ),
    (
        "reset.dormant=1000 network=gru",
        ["reset.dormant", "Gru", "network=multi", "reset.dormant=null"],
        ["network=multi", "reset.dormant=null"],
    ),
    (
        "exploration=ladder",
        ["exploration=ladder", "env.num_envs", "at least 2", "exploration=constant"],
        ["env.num_envs=2", "exploration=constant"],
    ),
    *(
        (f"{ROLLOUT}update={update}", ["replay=rollout", "update=dqn"], ["update=dqn"])
        for update in ("double", "munchausen")
    ),
    *(
        (
            f"replay=rollout replay.n_step=1 target={target}",
            ["replay=rollout", "target=none"],
            ["target=none"],
        )
        for target in ("hard", "soft")
    ),
    *(
        (
            f"{ROLLOUT}network={network}",
            ["replay=rollout", "sequences", "network=mlp", "replay=uniform"],
            ["replay=uniform", "network=mlp"],
        )
        for network in ("gru", "lstm")
    ),
    (
        "replay=rollout target=none replay.n_step=3",
        ["replay=rollout", "lambda returns", "replay.n_step=1"],
        ["replay.n_step=1"],
    ),
    (
        "replay=rollout",
        ["replay=rollout", "target=none replay.n_step=1"],
        ["target=none replay.n_step=1", "replay=uniform"],
    ),
    (
        f"{ROLLOUT}env.num_envs=8 train_every=7 replay.batch_size=4",
        ["replay=rollout", "train_every=7", "at least 8"],
        ["train_every=8", "env.num_envs=7"],
    ),
    (
        f"{ROLLOUT}replay.batch_size=300 train_every=299 replay.capacity=600",
        ["replay=rollout", "batch_size <= train_every", "300, 299 and 600"],
        ["train_every=300", "replay.batch_size=299"],
    ),
    (
        f"{ROLLOUT}replay.batch_size=64 train_every=200 replay.capacity=100",
        ["replay=rollout", "train_every <= half of replay.capacity", "64, 200 and 100"],
        ["train_every=50 replay.batch_size=50", "replay.capacity=400"],
    ),
]


def key(word: str) -> str:
    return word.partition("=")[0]


@pytest.mark.parametrize(("words", "named", "remedies"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_conflict_names_its_settings_and_remedies_that_are_accepted(
    settings_of: Compose, words: str, named: list[str], remedies: list[str]
) -> None:
    check_conflict(settings_of, words, named, remedies)


def check_conflict(settings_of: Compose, words: str, named: list[str], remedies: list[str]) -> None:
    typed = words.split()
    with pytest.raises(ConfigError) as caught:
        settings_of(*typed)
    line = str(caught.value)
    assert [name for name in named if name not in line] == []
    assert "\n" not in line
    for remedy in remedies:
        keys = [key(word) for word in remedy.split()]
        assert settings_of(*[word for word in typed if key(word) not in keys], *remedy.split())


@pytest.mark.parametrize(
    "words",
    [
        "compile=true steps=1",
        "compile=true dtype=float64 threads=2 device=cpu",
        "compile=true network=gru replay=prioritised",
        "exploration.unit=updates",
        "exploration.unit=episodes episodes=10",
        "exploration=exponential exploration.unit=episodes",
        "head.loss=squared update=munchausen",
        "head=c51 head.v_min=-0.5 head.v_max=-0.25",
        "head=iqn network=gru",
        "head=iqn network=minatar",
        "exploration=noisy network=minatar network.noisy=true",
        "reset.every=100 network=lstm",
        "exploration=ladder env.num_envs=2 exploration.start=1",
        f"{ROLLOUT}network=table",
        f"{ROLLOUT}head=iqn exploration=noisy network.noisy=true reset.every=100",
        f"{ROLLOUT}env.num_envs=64 train_every=64 replay.batch_size=64 replay.capacity=128",
        "replay=uniform target=none network=gru replay.n_step=3",
    ],
)
def test_settings_that_only_look_like_a_conflict_are_accepted(
    settings_of: Compose, words: str
) -> None:
    assert settings_of(*words.split())


def test_every_other_pair_goes_together(settings_of: Compose) -> None:
    choices = {
        "network": ("mlp", "minatar", "gru", "lstm"),
        "head": ("scalar", "c51", "qr", "iqn", "fqf", "expectile", "ensemble"),
        "update": ("dqn", "double", "munchausen"),
        "target": ("hard", "soft", "none"),
        "replay": ("uniform", "prioritised"),
        "exploration": ("constant", "linear", "exponential", "boltzmann", "noisy", "ladder"),
    }
    common = ("network.noisy=true", "env.num_envs=2", "episodes=10", "reset.every=100")
    base = settings_of(*common)
    parts = {
        group: [getattr(settings_of(f"{group}={name}", *common), group) for name in names]
        for group, names in choices.items()
    }
    for first, second in combinations(parts, 2):
        for one, other in product(parts[first], parts[second]):
            assert find_conflict(replace(base, **{first: one, second: other})) is None
