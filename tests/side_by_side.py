"""State of each member at the end of a run, to compare with the same settings trained alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
from conftest import STREAMING
from torch import Tensor

from dqn_cli.agent.clock import Clock
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Settings

CLOSE = 1e-9  # in float64, over some hundred updates
SMALL = (
    "dtype=float64", "network.widths=[8]", "replay.batch_size=8", "replay.capacity=200",
    "steps=150", "learning_starts=50", "train_every=1", "updates_per_train=1",
)  # fmt: skip
PQN = (
    "agent=pqn", "env.num_envs=3", "steps=480", "train_every=48", "updates_per_train=10",
    "learning_starts=0", "exploration.unit=updates", "exploration.duration=0.5",
)  # fmt: skip
RECURRENT = ("network.units=5", "network.length=4", "network.burn_in=2", "steps=120")
RAINBOW = ("agent=rainbow", "head.atoms=7")
PICTURES = ("env=pictures:Pictures-v0", "env.preprocess.stack=2", "steps=120")
# For each case: the words that all members share, and the words of each member.
CASES: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "numbers": (
        ("target.every=7",),
        (
            ("gamma=0.9", "optimizer.lr=1e-2", "target.every=20", "exploration.duration=0.9"),
            ("gamma=0.95", "optimizer.lr=3e-3", "exploration.end=0.3"),
            ("gamma=0.5", "optimizer.lr=1e-3", "target.every=3", "exploration.start=0.6"),
        ),
    ),
    "units": (
        ("exploration=multiplicative", "exploration.decay=0.9", "exploration.end=0.1"),
        (
            ("target.unit=episodes", "target.every=2"),
            ("exploration.unit=steps", "target.unit=updates", "target.every=7"),
            ("exploration.decay=0.5", "target.every=11"),
        ),
    ),
    "constant": (
        ("target=none", "exploration=constant"),
        (("exploration.start=0.1",), ("exploration.start=0.7",)),
    ),
    "soft": (("target=soft",), (("target.tau=0.5",), ("target.tau=0.05",))),
    "piecewise": (
        ("exploration=piecewise",),
        (
            ("exploration.points=[[0,1],[30,0.1]]",),
            ("exploration.points=[[10,0.8],[20,0.3],[40,0]]",),
        ),
    ),
    "schedule": (
        ("optimizer.schedule=linear", "episodes=9"),
        (("optimizer.lr=1e-2",), ("optimizer.lr=3e-3",), ("optimizer.lr=1e-3",)),
    ),
    "munchausen": (
        ("agent=munchausen",),
        (
            ("update.temperature=0.5", "update.alpha=0.7"),
            ("update.temperature=0.1", "update.alpha=0.2", "optimizer.max_grad_norm=0.5"),
        ),
    ),
    "per": (
        ("agent=per", "replay.n_step=3"),
        (
            ("replay.alpha=0.9", "replay.beta=0.1"),
            ("replay.alpha=0.2", "replay.eps=0.1"),
            ("replay.beta=1", "replay.beta_end=0.5"),
        ),
    ),
    "per of several": (
        ("agent=per", "replay.priority=loss", "env.num_envs=3", "env=LineWorld-v0"),
        (("replay.alpha=0.9",), ("replay.alpha=0.1", "gamma=0.7"), ("replay.eps=1",)),
    ),
    "boltzmann": (
        ("exploration=boltzmann",),
        (
            ("exploration.temperature=0.02",),
            ("exploration.temperature=0.5",),
            ("exploration.temperature=9",),
        ),
    ),
    "ensemble": (
        ("agent=bootstrapped", "head.heads=3", "env.num_envs=2"),
        (("head.prior=0.5", "gamma=0.9"), ("head.prior=0", "exploration.start=0.5")),
    ),
    "mixture": (
        ("agent=drqn", *RECURRENT, "head=ensemble", "head.heads=3", "head.mixture=true"),
        (("gamma=0.9",), ("optimizer.lr=1e-2",)),
    ),
    "ladder": (
        ("exploration=ladder", "env.num_envs=3"),
        (
            ("exploration.start=0.9",),
            ("exploration.start=0.7", "exploration.spread=0"),
        ),
    ),
    "pqn": (
        PQN,
        (("replay.trace_decay=0",), ("replay.trace_decay=0.5", "gamma=0.9"),
         ("replay.trace_decay=1",)),
    ),
    "pqn that starts late": (
        (*PQN, "env=LineWorld-v0", "steps=672", "learning_starts=200", "replay.capacity=96"),
        ((), (), ()),
    ),
    "stream_q": (
        ("agent=stream_q", "env=LineWorld-v0", *STREAMING[1:]),
        (("optimizer.kappa=3",), ("optimizer.trace_decay=0.5", "gamma=0.8"), ("optimizer.lr=0.1",)),
    ),
    "adaptive_q": (
        ("agent=adaptive_q", *STREAMING[1:]),
        (("optimizer.beta2=0.9",), ("optimizer.trace_decay=0",), ("optimizer.lr=1e-2",)),
    ),
    "rainbow": (
        RAINBOW,
        (
            ("network.sigma=0.1", "optimizer.lr=1e-2", "replay.alpha=0.9"),
            ("head.v_max=10", "replay.beta=1", "gamma=0.8", "target.every=30"),
        ),
    ),
    "rainbow in lockstep": (
        (*RAINBOW, "optimizer.schedule=linear"),
        (("network.sigma=0.1", "optimizer.lr=1e-2"), ("gamma=0.8", "replay.beta=1")),
    ),
    "noisy with epsilon": (
        ("network.noisy=true", "exploration.duration=0.9"),
        (("network.sigma=0.1",), ("gamma=0.8",)),
    ),
    "resets": (
        ("agent=d3qn", "replay=prioritised", "reset.every=40", "network.widths=[6,5]"),
        (("optimizer.lr=1e-2",), ("gamma=0.9",)),
    ),
    "shrinking resets": (
        ("anneal.gamma.start=0.5", "anneal.gamma.duration=30", "anneal.n_step.start=3",
         "anneal.lr.start=1e-4", "anneal.updates_per_train.start=3",
         "replay=prioritised", "reset.every=40", "reset.shrink=0.5",
         "reset.dormant=30", "reset.threshold=0.3",
         "network.widths=[6,5]"),
        (("optimizer.lr=1e-2",), ("gamma=0.9",)),
    ),
    "iqn": (("agent=iqn", "head.atoms=3"), (("gamma=0.9",), ("optimizer.lr=1e-2",))),
    "expectile": (
        ("head=expectile", "head.atoms=5", "update=munchausen", "replay=prioritised"),
        (("gamma=0.9", "update.temperature=0.1"), ("optimizer.lr=1e-2",)),
    ),
    "fqf": (
        ("agent=fqf", "head.atoms=3", "network.widths=[6,5]", "head.entropy=0.1"),
        (("head.fraction_lr=1", "head.entropy=0.2"), ("optimizer.lr=1e-2",)),
    ),
    "drqn": (
        ("agent=drqn", *RECURRENT),
        (("gamma=0.9", "exploration.end=0.5"), ("optimizer.lr=1e-2",)),
    ),
    "lstm": (
        ("network=lstm", *RECURRENT, "env.num_envs=2", "replay=prioritised", "replay.n_step=2"),
        (("replay.alpha=0.9",), ("replay.beta=1",)),
    ),
    "minatar": (
        ("env=MinAtar/Breakout-v1", "network=minatar", "network.channels=[3]", "steps=120"),
        (("gamma=0.9",), ("optimizer.lr=1e-2", "exploration.end=0.5")),
    ),
    "nature": (
        (*PICTURES, "network=nature", "network.channels=[4,4,4]", "update=double"),
        (
            ("gamma=0.9", "optimizer.lr=1e-2"),
            ("gamma=0.5", "exploration.end=0.5"),
            ("optimizer.lr=3e-3", "optimizer.max_grad_norm=0.1"),
        ),
    ),
    "impala": (
        (*PICTURES, "agent=btr", "network=impala", "network.channels=[2]", "network.pool=2",
         "network.dueling=true", "network.noisy=true", "network.spectral_norm=true",
         "head.atoms=3", "replay.batch_size=4"),
        (("gamma=0.9", "network.sigma=0.1"), ("optimizer.lr=1e-2", "replay.alpha=0.9")),
    ),
    "self-prediction": (
        ("env=MinAtar/Breakout-v1", "network=minatar", "network.channels=[3]", "steps=120",
         "auxiliary=spr", "auxiliary.spr.steps=2", "augment=shift", "reset.every=60",
         "reset.shrink=0.5"),
        (("augment.intensity=0.1",), ("optimizer.lr=1e-2", "gamma=0.9")),
    ),
    "hadamax": (
        ("env=MinAtar/Breakout-v1", "network=hadamax_small", "network.channels=[3]",
         "steps=120", "augment=shift"),
        (("gamma=0.9",), ("optimizer.lr=1e-2", "augment.intensity=0.1")),
    ),
    "table": (
        ("env=CliffWalking-v1", "network=table", "optimizer=sgd", "optimizer.max_grad_norm=null"),
        (
            ("optimizer.lr=0.2", "exploration.start=0.3"),
            ("optimizer.lr=0.05", "optimizer.momentum=0.9"),
        ),
    ),
}  # fmt: skip


def members_of(settings_of: Callable[..., Settings], case: str) -> list[Settings]:
    """Return the settings of each member; seeds differ too."""
    shared, members = CASES[case]
    settings = settings_of(*without_twice(*SMALL, *shared))
    return [changed(settings, *words, f"seed={seed}") for seed, words in enumerate(members, 3)]


def without_twice(*words: str) -> list[str]:
    """Keep the last word for each key; a table takes no words for other networks."""
    last = {word.split("=")[0]: word for word in words}
    table = "network=table" in words
    return [word for key, word in last.items() if not (table and key.startswith("network."))]


def changed(settings: Settings, *words: str) -> Settings:
    """Return settings changed by words for numbers and units, without composing them again."""
    for word in words:
        key, _, text = word.partition("=")
        *part, name = key.split(".")
        owner = getattr(settings, part[0]) if part else settings
        before = getattr(owner, name)
        value = type(before)[text] if isinstance(before, Enum) else json.loads(text)
        if isinstance(before, float):
            value = float(value)
        new = replace(owner, **{name: value})
        settings = replace(settings, **{part[0]: new}) if part else new
    return settings


@dataclass
class Member:
    """State of a member when it finished, and its epsilons until then."""

    clock: Clock
    learning_began: Clock
    learner: dict[str, Tensor]
    random: dict[str, Any]
    stream: dict[str, Any]
    sampler: dict[str, Any]
    state: Any
    epsilons: list[list[float]]


def trained(*settings: Settings) -> list[Member]:
    """Train members in one run; return the state of each when it finished."""
    return gone_on(settings, build_run(settings)[1])


def gone_on(settings: Sequence[Settings], run: Run) -> list[Member]:
    """Continue a run to its end; return the same, with epsilons from here on."""
    ended: dict[int, Member] = {}
    epsilons: list[list[list[float]]] = []  # [steps][members][envs or 1]
    for report in train(settings, run):
        epsilons.append(report.epsilon.tolist())
        for member, is_finished in enumerate(report.finished):
            if is_finished and member not in ended:
                ended[member] = copied(run, member, [values[member] for values in epsilons])
    run.envs.close()
    return [ended[member] for member in range(len(settings))]


def copied(run: Run, member: int, epsilons: list[list[float]]) -> Member:
    """Return a copy, which the run does not change when it continues."""
    return deepcopy(
        Member(
            run.clocks[member],
            run.learning_began[member],
            {name: tensor[member] for name, tensor in run.learner.state._asdict().items()},
            {name: stream.state(member) for name, stream in run.random._asdict().items()},
            run.stream.contents(member),
            run.sampler.contents(member),
            run.state[member],
            epsilons,
        )
    )


def check_alike(one: Member, other: Member) -> None:
    """Check that states are equal to the bit, and close where their computation rounds."""
    assert (one.clock, one.learning_began) == (other.clock, other.learning_began)
    assert one.epsilons == other.epsilons
    assert one.random == other.random
    check_arrays(one.stream, other.stream, rounded=("state",))
    check_arrays(one.sampler, other.sampler, rounded=("leaves", "largest"))
    np.testing.assert_allclose(one.state, other.state, rtol=CLOSE, atol=CLOSE)
    for name, tensor in one.learner.items():
        assert tensor.dtype == other.learner[name].dtype
        torch.testing.assert_close(tensor, other.learner[name], rtol=CLOSE, atol=CLOSE)


def check_arrays(one: dict[str, Any], other: dict[str, Any], rounded: Sequence[str]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        if name in rounded:
            close = 1e-6 if array.dtype == np.float32 else CLOSE
            np.testing.assert_allclose(array, other[name], rtol=close, atol=close)
        else:
            np.testing.assert_array_equal(array, other[name], strict=True)
