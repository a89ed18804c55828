"""Inspections of strange environments, made in this process."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from typing import Any

from strange_envs import Strange

from dqn_cli.checking.description import describe
from dqn_cli.checking.seen import UNKNOWN, Inspection
from dqn_cli.checking.tasks import Progress
from dqn_cli.checking.trial import try_out
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.preprocessing import Preprocess

SECONDS = 0.1


def config_of(kind: str = "", env_id: str = "Strange-v0", **keys: Any) -> EnvConfig:
    """The configuration of a strange environment."""
    Strange.alive = 0
    kwargs = {"kind": kind} | keys.pop("kwargs", {})
    plain = Preprocess(stack=1, clip_rewards=False)
    fields = {"num_envs": 1, "vectorization": Vectorization.sync, "mask": MaskSource.auto}
    return EnvConfig(id=env_id, kwargs=kwargs, preprocess=plain, **fields | keys)


def new_progress() -> Progress:
    return Progress(multiprocessing.get_context())


def inspected(config: EnvConfig) -> Inspection:
    """An inspection without the questions that need other copies or processes."""
    description, trial = describe(config, new_progress()), None
    if not (description.observation_error or description.action_error):
        config = replace(config, drop=[*config.drop, *description.unread])
        trial = try_out(config, "float32", SECONDS, new_progress())
    return Inspection(description, trial, "", (), UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
