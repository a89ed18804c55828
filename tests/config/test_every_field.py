"""Every key does something: small runs read each field of each registered dataclass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from conftest import NEEDED
from logged_data import random_log

from dqn_cli.config import registry
from dqn_cli.runs.job import Job
from dqn_cli.runs.single_run import train_alone
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Field = tuple[str, str]

SMALL = (
    "steps=48", "learning_starts=8", "train_every=4", "updates_per_train=1", "replay.capacity=64",
    "replay.batch_size=8", "eval.every=24", "eval.episodes=1", "eval.max_episode_steps=5",
    "checkpoint.every=24", "checkpoint.keep=1", "log.every=12", "threads=1", "device=cpu",
    "reset.every=32",
)  # fmt: skip
PONG = "env=ALE/Pong-v5 env.preprocess.size=40 network.widths=[4] network.channels=[2,2,2]"
# C51's support takes their values, which the configuration has put into it by then.
INTERPOLATED = {("EnvConfig", "min_return"), ("EnvConfig", "max_return")}
# Together these have every dataclass of the registry; a new choice gets a run of its own.
RUNS = [
    "env=MinAtar/Breakout-v1 network=hadamax_small network.channels=[2] network.noisy=true",
    "env=MinAtar/Breakout-v1 network=multi network.widths=[4] network.noisy=true target=hard"
    " exploration=linear env.num_envs=2 auxiliary=[cql,rnd,counts] reset.dormant=30"
    " anneal.gamma.start=0.5 anneal.n_step.start=4 anneal.lr.start=1e-3"
    " anneal.updates_per_train.start=2",
    "network=table network.bins=2 network.low=[-1,-1,-1,-1] network.high=[1,1,1,1] reset.every=null"
    " exploration=constant head=qr update=double target=none optimizer=sgd",
    "network=minatar env=MinAtar/Breakout-v1 network.channels=[2] network.widths=[4] head=c51"
    " network.noisy=true exploration=noisy replay=prioritised optimizer=adamw",
    "env=MinAtar/Breakout-v1 network=gru network.units=4 network.widths=[4] network.noisy=true"
    " network.length=4 head=iqn network.burn_in=2 exploration=exponential update=munchausen"
    " target=soft optimizer=rmsprop",
    "env=MinAtar/Breakout-v1 network=lstm network.units=4 network.widths=[4] network.noisy=true"
    " network.length=4 network.burn_in=2 exploration=multiplicative optimizer=radam"
    " head=expectile",
    "network=mlp network.widths=[4] network.noisy=true replay=rollout replay.n_step=1 target=none"
    " head=fqf exploration=ladder env.num_envs=2 train_every=16 episodes=9",
    "network=module network.path=own_networks:Small network.widths=[4,4] network.noisy=true"
    " head=ensemble head.heads=3 head.prior=1 head.mixture=true exploration=bootstrapped",
    f"{PONG} protocol=nature network=nature network.noisy=true exploration=piecewise",
    f"{PONG} protocol=image network=impala network.noisy=true exploration=boltzmann"
    " env.vectorization=sync",
]


def parts_of(settings: Any) -> Iterator[type[Any]]:
    """Yields the class of each dataclass in some settings."""
    if is_dataclass(settings):
        yield type(settings)
        for field in fields(settings):
            yield from parts_of(getattr(settings, field.name))
    elif isinstance(settings, dict):
        for part in settings.values():
            yield from parts_of(part)


CHECKS = ("__post_init__", "__eq__", "__repr__", "__hash__")


def is_use(name: str, code: CodeType, module: str) -> bool:
    """Tells code that asks for this very field from checks, and from copies of all fields."""
    is_ours = module.startswith(("dqn_cli.", __name__)) and not module.startswith("dqn_cli.config")
    return is_ours and name in code.co_names and code.co_name not in CHECKS


class Reads:
    """Reads of fields, by the name of the class and the field."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[Field] = set()
        self._monkeypatch = monkeypatch

    def watch(self, part: type[Any]) -> None:
        names = {field.name for field in fields(part)}

        def read(instance: Any, name: str) -> Any:
            if name in names and type(instance) is part:
                frame = sys._getframe(1)
                if is_use(name, frame.f_code, frame.f_globals.get("__name__", "")):
                    self.seen.add((part.__name__, name))
            return object.__getattribute__(instance, name)

        self._monkeypatch.setattr(part, "__getattribute__", read)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def test_every_field_of_every_part_is_read_by_a_run(
    settings_of: Compose, tmp_path: Path, reads: Reads
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("minatar")
    composed = [settings_of(*words.split(), *small_for(words), *norm_for(words)) for words in RUNS]
    log = random_log(tmp_path / "log.npz")
    words = (f"data.path={log}", "data.pretrain=2", "network=mlp", "auxiliary=margin")
    composed.append(settings_of(*words, *SMALL))
    names = {part.__name__ for settings in composed for part in parts_of(settings)}
    for schema, location in registry.SCHEMAS.items():
        if location.partition(":")[2] not in names:  # a choice without a run above
            choice = schema.replace("/base_", "=")
            words = " ".join((choice, *NEEDED.get(choice, ())))
            composed.append(settings_of(*words.split(), *small_for(words)))
    parts = {part for settings in composed for part in parts_of(settings)}
    registered = {registry.part_named(x.partition(":")[2]) for x in registry.SCHEMAS.values()}
    assert registered <= parts
    for part in parts:
        reads.watch(part)
    for number, settings in enumerate(composed):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert train_alone(Job(settings, folder, []))["status"] == "finished"
    every = {(part.__name__, field.name) for part in parts for field in fields(part)}
    assert sorted(every - reads.seen - INTERPOLATED) == []


def small_for(words: str) -> list[str]:
    """Returns what a run sets but for what it says itself."""
    typed = {word.partition("=")[0] for word in words.split()}
    return [word for word in SMALL if word.partition("=")[0] not in typed]


def norm_for(words: str) -> list[str]:
    """Returns a word that lets a network's LayerNorm be made, if it can have one."""
    return [] if "network=table" in words else ["network.layer_norm=true"]


@dataclass
class Part:
    used: int = 1
    unused: int = 2

    def double(self) -> int:
        return self.used * 2


def test_a_field_that_nothing_reads_is_noticed(reads: Reads) -> None:
    reads.watch(Part)
    part = Part()
    assert (part.double(), part == Part()) == (2, True)
    assert reads.seen == {("Part", "used")}
