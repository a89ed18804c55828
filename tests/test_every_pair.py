"""Every legal pair of choices runs and learns in at least one run; all others are refused.

A slow test runs the same cases compiled: they are traced, changed by all graph passes and
interpreted, because machine code of each would take minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import NEEDED, PRESETS, STREAMING
from gymnasium import spaces
from hydra.errors import HydraException
from interpreted import Interpreted
from numpy.typing import NDArray
from omegaconf.errors import OmegaConfBaseException
from parts import Parts

from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.recording import Recording
from dqn_cli.config.paths import config_folder
from dqn_cli.config.validation import ConfigError
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Pair = frozenset[str]
Matrix = NDArray[np.bool_]
TRIES = 10  # random cases that the best is taken of


def choices(group: str) -> tuple[str, ...]:
    """Return every choice that the group has a file of."""
    return tuple(sorted(path.stem for path in (config_folder() / group).glob("*.yaml")))


def file_of(group: str, choice: str) -> str:
    """Return the YAML of a choice, and of the choice that it extends."""
    text = (config_folder() / group / f"{choice}.yaml").read_text()
    parent = re.search(r"^defaults: \[(?!base_)(\w+)", text, re.MULTILINE)
    return text + (file_of(group, parent[1]) if parent else "")


AXES = {
    "env": (
        "CartPole-v1",
        "CliffWalking-v1",
        "MinAtar/Breakout-v1",
        "Bytes-v0",
        "Floats-v0",
        "Both-v0",
        "ALE/Pong-v5",
    ),
    "protocol": choices("protocol"),
    "network": choices("network"),
    "network.layer_norm": ("false", "true"),
    "network.spectral_norm": ("false", "true"),
    "network.skip": ("false", "true"),
    "network.noisy": ("false", "true"),
    "network.norm_axes": ("image", "pixel"),
    "network.renormalize": ("false", "true"),
    "network.initialization": ("uniform", "orthogonal"),
    "head": choices("head"),
    "update": choices("update"),
    "update.rescale": ("false", "true"),
    "head.loss": ("huber", "squared"),
    "head.pairwise": ("false", "true"),
    "head.prior": ("null", "1"),
    "head.mixture": ("false", "true"),
    "target": choices("target"),
    "exploration": choices("exploration"),
    "replay": choices("replay"),
    "replay.n_step": ("1", "3"),
    "optimizer": choices("optimizer"),
    "auxiliary": tuple(name for name in choices("auxiliary") if name != "margin"),  # needs data
    "augment": choices("augment"),
    "optimizer.schedule": ("constant", "linear"),
    "optimizer.max_grad_norm": ("null", "1"),
    "env.num_envs": ("1", "3"),
    "env.normalize": ("none", "running", "bounds"),
    "env.reward_scale": ("1", "0.1"),
    "reset.every": ("null", "7"),
    "reset.shrink": ("0", "0.5"),
    "reset.dormant": ("null", "9"),
    "anneal.gamma.start": ("null", "0.5"),
    "anneal.n_step.start": ("null", "5"),
    "anneal.lr.start": ("null", "1e-4"),
    "anneal.updates_per_train.start": ("null", "2"),
    "dtype": ("float32", "float64"),
    "device": ("auto", "cpu"),
}
ATARI = ("nature", "dopamine", "cleanrl", "btr")
PIXELS = ("image", *ATARI)
NORMALIZED = ("running", "bounds")
FRAMELESS = ("minatar", "table")
OTHER_ENVS = tuple(env for env in AXES["env"] if not env.startswith("ALE/"))
BYTE_ENVS = ("CliffWalking-v1", "Bytes-v0", "ALE/Pong-v5")  # choices and pixels
BONUSES = ("counts", "rnd")
TRACES = ("obgd", "trace_adam")
# What there is with an ensemble of heads alone.
ENSEMBLE = ("head=ensemble", "head.mixture=", "head.prior=", "exploration=bootstrapped")
WITHOUT_TRACES = (
    "auxiliary=spr",
    "replay=uniform",
    "replay=prioritised",
    "replay=rollout",
    "replay.n_step=3",
    "anneal.n_step.start=5",
    "anneal.updates_per_train.start=2",
    "env.num_envs=3",
    "exploration=ladder",
    "network=gru",
    "network=lstm",
    "head=c51",
    "head=qr",
    "head=iqn",
    "head=fqf",
    "head=expectile",
    "head.pairwise=",  # no scalar head has it
    *ENSEMBLE,
    "update.rescale=true",
    "auxiliary=counts",
    "auxiliary=cql",
    "auxiliary=rnd",
)
PICTURE_NETWORKS = ("minatar", "nature", "impala", "hadamax", "hadamax_small")


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
# A choice that lacks a key is refused with every value of the key.
LACKING = [
    (f"{group}={choice}", f"{axis}=")
    for axis in AXES
    if (group := axis.partition(".")[0]) in AXES and "." in axis and group != "env"
    for choice in AXES[group]
    if f"\n{axis.partition('.')[2]}:" not in file_of(group, choice)
]
REFUSED = pairs(
    *LACKING,
    ("head.loss=", "head.pairwise="),  # no head has both
    *((word, "head.pairwise=") for word in ENSEMBLE[1:]),
    *((word, "replay=rollout") for word in ENSEMBLE),
    *(("exploration=bootstrapped", f"head={head}") for head in AXES["head"] if head != "ensemble"),
    ("network=table", "head=iqn"),
    ("network=table", "head=fqf"),
    ("network=table", "exploration=noisy"),
    ("network=table", "reset.every=7"),
    *((f"network={net}", "reset.dormant=9") for net in ("table", "impala", "gru", "lstm")),
    ("network.skip=true", "reset.dormant=9"),
    ("network=table", "env=CartPole-v1"),  # its bounds are infinite
    ("network=table", "env=MinAtar/Breakout-v1"),  # 20^400 cells
    ("network=table", "env=Bytes-v0"),
    ("network=table", "env=ALE/Pong-v5"),
    ("network=table", "env=Floats-v0"),
    ("network=table", "env=Both-v0"),
    *(
        (f"network={net}", f"env={env}")
        for net in PICTURE_NETWORKS
        for env in ("CartPole-v1", "CliffWalking-v1", "Both-v0")
    ),
    # No pictures of bytes.
    *(("protocol=image", f"env={env}") for env in OTHER_ENVS if env != "Bytes-v0"),
    # Nothing to normalize, infinite bounds, and bins between the bounds of the environment.
    *((f"env.normalize={how}", f"env={env}") for how in NORMALIZED for env in BYTE_ENVS),
    *((f"env.normalize={how}", f"protocol={name}") for how in NORMALIZED for name in PIXELS),
    ("env.normalize=bounds", "env=CartPole-v1"),
    *((f"env.normalize={how}", "network=table") for how in NORMALIZED),
    *((f"protocol={name}", f"env={env}") for name in ATARI for env in OTHER_ENVS),
    # Stacked frames are no image [height, width, planes], and too many cells for a table.
    *((f"protocol={name}", f"network={net}") for name in PIXELS for net in FRAMELESS),
    ("network.noisy=false", "exploration=noisy"),
    ("update.rescale=true", "head=c51"),
    ("update.rescale=true", "head=expectile"),
    ("augment=shift", "network=table"),
    ("augment=shift", "env=CartPole-v1"),
    ("augment=shift", "env=CliffWalking-v1"),
    *(
        ("auxiliary=spr", f"network={net}")
        for net in ("dueling", "gru", "lstm", "mlp", "module", "multi", "table")
    ),
    # Networks with convolutions of their own refuse these.
    *(
        (word, f"env={env}")
        for word in ("auxiliary=spr", "network.renormalize=")
        for env in ("CartPole-v1", "CliffWalking-v1", "Both-v0")
    ),
    ("auxiliary=spr", "replay=rollout"),
    ("auxiliary=spr", "replay=newest"),
    ("auxiliary=rnd", "network=table"),
    ("auxiliary=rnd", "network=module"),
    *((f"auxiliary={bonus}", f"network={net}") for bonus in BONUSES for net in ("gru", "lstm")),
    *((f"auxiliary={bonus}", "replay=rollout") for bonus in BONUSES),
    ("exploration=ladder", "env.num_envs=1"),
    ("replay=rollout", "update=double"),
    ("replay=rollout", "update=munchausen"),
    ("replay=rollout", "target=hard"),
    ("replay=rollout", "target=rare"),
    ("replay=rollout", "target=soft"),
    ("replay=rollout", "network=gru"),
    ("replay=rollout", "network=lstm"),
    ("replay=rollout", "replay.n_step=3"),
    ("replay=newest", "replay.n_step=3"),
    ("replay=newest", "anneal.n_step.start=5"),
    ("replay=newest", "anneal.updates_per_train.start=2"),
    ("replay=newest", "env.num_envs=3"),
    ("replay=newest", "network=gru"),
    ("replay=newest", "network=lstm"),
    ("replay=newest", "exploration=ladder"),  # which needs several environments
    *((f"optimizer={name}", word) for name in TRACES for word in WITHOUT_TRACES),
    ("replay=rollout", "anneal.n_step.start=5"),
)
# What a choice needs to be legal, besides what the fixtures know.
NEEDS = NEEDED | {
    **{f"head.mixture={word}": ("head=ensemble",) for word in AXES["head.mixture"]},
    **{f"head.prior={word}": ("head=ensemble",) for word in AXES["head.prior"]},
    "network=nature": ("env=Bytes-v0",),
    "network=impala": ("env=Bytes-v0",),
    "network=hadamax": ("env=Bytes-v0",),
    "network=hadamax_small": ("env=Bytes-v0",),
    "protocol=image": ("env=Bytes-v0",),
    "augment=shift": ("env=Bytes-v0",),
    "auxiliary=spr": ("env=Bytes-v0",),
    **{f"protocol={name}": ("env=ALE/Pong-v5",) for name in ATARI},
}
# What a network needs to be small.
CONVOLUTIONS = ("network.widths=[8,8]", "network.channels=[2,2]", "network.features=4")
OWN = {
    "multi": CONVOLUTIONS,
    "dueling": CONVOLUTIONS,
    "minatar": ("network.widths=[8,8]", "network.channels=[2]"),
    "nature": ("network.widths=[8,8]", "network.channels=[2]"),
    "impala": ("network.widths=[8,8]", "network.channels=[2]", "network.pool=2"),
    "hadamax": (
        "network.widths=[8,8]",
        "network.channels=[2,2]",
        "network.kernels=[4,3]",
        "network.pools=[2,3]",
        "network.strides=[2,1]",
    ),
    "hadamax_small": ("network.widths=[8,8]", "network.channels=[2]"),
    "gru": (*CONVOLUTIONS, "network.length=3", "network.burn_in=1"),
    "lstm": (*CONVOLUTIONS, "network.length=3", "network.burn_in=1"),
    "module": ("network.widths=[8,8]", "network.path=own_networks:Small"),
    "table": (),
}
# Words that make a run small and fast whatever the axes choose.
SMALL = (
    "steps=36",
    "learning_starts=6",
    "train_every=6",
    "updates_per_train=2",
    "replay.capacity=200",
    "replay.batch_size=4",
    "env.vectorization=sync",
    "env.min_return=-100",
    "env.max_return=100",
)


def covering_array() -> list[list[str]]:
    """Return cases without refused pairs in which all other pairs occur; greedy."""
    random = np.random.default_rng(0)
    words = [f"{axis}={value}" for axis, values in AXES.items() for value in values]
    axes = [[words.index(f"{axis}={value}") for value in values] for axis, values in AXES.items()]
    missing, refused = (
        np.array([[frozenset((word, other)) in pairs for other in words] for word in words])
        for pairs in (EVERY_PAIR - REFUSED, REFUSED)
    )
    cases = []
    while missing.any():
        tries = [_greedy_case(axes, missing, refused, random) for _ in range(TRIES)]
        best = max(tries, key=lambda case: int(missing[np.ix_(case, case)].sum()))
        missing[np.ix_(best, best)] = False
        cases.append([words[index] for index in best])
    return cases


def _greedy_case(
    axes: list[list[int]], missing: Matrix, refused: Matrix, random: np.random.Generator
) -> list[int]:
    """Return a case with the first missing pair and, axis by axis, what covers most others."""
    case = list(map(int, np.argwhere(missing)[0]))
    for axis in random.permutation(len(axes)):
        if set(axes[axis]) & set(case):
            continue
        values = np.array(axes[axis])
        gain = missing[np.ix_(values, case)].sum(1) + random.random(len(values))
        gain[refused[np.ix_(values, case)].any(1)] = -1
        if gain.max() >= 0:
            case.append(int(values[gain.argmax()]))
    return case


def covered(case: list[str]) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(case, 2)}


def in_order(case: list[str]) -> list[str]:
    """Choices of a group before keys of it."""
    return sorted(case, key=lambda word: "." in word.split("=")[0])


class Bytes(gymnasium.Env[Any, Any]):
    """Pictures of 12 by 12 bytes in three colors."""

    observation_space = spaces.Box(0, 255, (12, 12, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.picture(), {}

    def step(self, action: Any) -> Any:
        return self.picture(), float(action), bool(self.np_random.random() < 0.1), False, {}

    def picture(self) -> Any:
        return self.np_random.integers(0, 256, (12, 12, 3), np.uint8)


class Floats(Bytes):
    """The same pictures, of floats from 0 to 1."""

    observation_space = spaces.Box(0, 1, (12, 12, 3), np.float32)

    def picture(self) -> Any:
        return self.np_random.random((12, 12, 3), np.float32)


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
        return obs, {"action_mask": np.array([[1, 1], [1, 0]], np.int8)}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register("Mixed-v0", Mixed, max_episode_steps=9)
    gymnasium.register("Bytes-v0", Bytes, max_episode_steps=9)
    gymnasium.register("Floats-v0", Floats, max_episode_steps=9)
    gymnasium.register("Both-v0", Parts, max_episode_steps=9)
    yield
    for name in ("Mixed-v0", "Bytes-v0", "Floats-v0", "Both-v0"):
        del gymnasium.registry[name]


def run_a_little(settings: Settings, make_learner: LearnerFactory) -> None:
    _, run = build_run([settings], make_learner=make_learner)
    before = run.learner.state.parameters.clone()
    updates = sum(report.updates for report in train([settings], run))
    run.envs.close()
    assert updates >= 2
    assert torch.isfinite(run.learner.state.parameters).all()
    assert not torch.equal(run.learner.state.parameters, before)


CASES = covering_array()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_legal_pair_of_choices_runs(settings_of: Compose, case: list[str]) -> None:
    recording = Recording()
    recorded = partial(CompiledLearner, compiler=recording, with_sampling=False)
    run_a_little(settings_of(*words_of(case)), recorded)
    assert not recording.refused


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_legal_pair_of_choices_can_be_compiled(settings_of: Compose, case: list[str]) -> None:
    compiled = partial(CompiledLearner, compiler=Interpreted())
    run_a_little(settings_of(*words_of(case), "compile=true"), compiled)


def words_of(case: list[str]) -> tuple[str, ...]:
    """Return the words of a small run with these choices."""
    pytest.importorskip("minatar")
    pytest.importorskip("ale_py")
    (network,) = (word.removeprefix("network=") for word in case if word.startswith("network="))
    own = OWN.get(network, ("network.widths=[8,8]",))
    # Plain SGD on squared errors diverges at the default rate; RAdam begins as it.
    plain = {"optimizer=sgd", "optimizer=radam"} & {*case}
    rate = ("optimizer.lr=1e-6",) if plain else ()
    streaming = STREAMING[1:] if "replay=newest" in case else ()
    return (*SMALL, *in_order(case), *own, *rate, *streaming)


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
        for word in NEEDS.get(each, ())
        if word.split("=")[0] not in keys and not (table and word.startswith("network."))
    ]
    with pytest.raises(
        (ConfigError, EnvironmentFailure, ValueError, HydraException, OmegaConfBaseException)
    ) as refused:
        build_run([settings_of(*SMALL, *in_order([*pair, *needed]))])
    named = [word.split("=")[0].split(".")[-1] for word in pair]
    assert any(name in str(refused.value) for name in named)


OBSERVATIONS = {
    "picture and vector": "env=Both-v0",
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
    own = {
        "pqn": ("train_every=16",),
        "drqn": ("network.length=3", "network.burn_in=1"),
        "stream_q": STREAMING[1:],
        "adaptive_q": STREAMING[1:],
    }.get(preset, ())
    settings = settings_of(*SMALL, f"agent={preset}", env, "network.widths=[8,8]", *own)
    run_a_little(settings, Learner)
