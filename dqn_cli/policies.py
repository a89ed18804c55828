"""Trained policies, opened from the checkpoints that runs leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dqn_cli.agent.model import Model
from dqn_cli.agent.parameters import size
from dqn_cli.agent.spaces import Spaces
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.envs.env_config import make
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.atari_scores import human_normalised
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.play import play
from dqn_cli.evaluation.tables import SCHEMA, report_of
from dqn_cli.evaluation.video import film
from dqn_cli.runs.checkpoints import FOLDER
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import CheckpointError, load_checkpoint, sha256
from dqn_cli.training.build_run import thread_count
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings, plain


def checkpoint_at(path: Path) -> Path:
    """The checkpoint meant by a path: itself, or a run folder's `best`, or else its `last`."""
    if path.is_file():
        return path
    for folder in (path / FOLDER, path):
        for name in ("best", "last"):
            if (folder / name).is_file():
                return folder / name
    if path.is_dir():
        raise CheckpointError(f"{path} holds no checkpoint yet ({FOLDER}/best or {FOLDER}/last)")
    raise CheckpointError(f"no checkpoint or run at {path}")


def open_policy(path: Path) -> tuple[Settings, GreedyPolicy]:
    """The settings and the greedy policy of a checkpoint; CheckpointError if it has none."""
    return policy_in(load_checkpoint(path), path)


def policy_in(data: Mapping[str, Any], path: Path) -> tuple[Settings, GreedyPolicy]:
    """The settings and the greedy policy in a checkpoint's content."""
    try:
        settings = stored_settings(data["settings"])
        spaces = Spaces(*data["spaces"])
        parameters = data["parameters"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no checkpoint of a run: {error} is missing") from error
    model = Model(spaces, settings.network, settings.head)
    if parameters.shape != (size(model.layout),):
        raise CheckpointError(f"{path} does not fit its own network: it may be of another version")
    return settings, GreedyPolicy(model, parameters)


class Policy:
    """What `load_policy` returns: the greedy policy, from one observation to one action.

    Tuple and Dict observations are given flattened, as `gymnasium.spaces.flatten` does it. A
    recurrent policy remembers what it saw: call `reset` when an episode begins.
    """

    def __init__(self, policy: GreedyPolicy) -> None:
        self._policy = policy
        self._fresh = True

    def reset(self) -> None:
        """Begins a new episode."""
        self._fresh = True

    def __call__(self, observation: Any, action_mask: Any = None) -> int | NDArray[np.int64]:
        """The best legal action, as the environment takes it.

        `action_mask` [actions] says what is legal. ValueError if the observation has another shape
        than those that it was trained on.
        """
        spaces = self._policy.model.spaces
        obs = np.asarray(observation, np.float32)
        if spaces.one_hot and obs.ndim == 0:
            obs = np.eye(spaces.observation_size, dtype=np.float32)[int(observation)]
        mask = np.ones((1, spaces.actions), bool)
        if action_mask is not None:
            mask = np.asarray(action_mask, bool).reshape(mask.shape)
        shape = spaces.observation_shape
        if obs.size != math.prod(shape) or (obs.ndim == len(shape) and obs.shape != shape):
            raise ValueError(f"the observation has shape {obs.shape}; this policy takes {shape}")
        row = obs.reshape(1, *shape)  # [1, *shape]
        index = self._policy(row, mask, np.array([self._fresh]))[0]
        self._fresh = False
        return spaces.action(int(index))


def load_policy(path: str | Path) -> Policy:
    """The greedy policy of a run folder or checkpoint; CheckpointError if there is none."""
    _, policy = open_policy(checkpoint_at(Path(path)))
    return Policy(policy)


def evaluate_checkpoint(
    path: Path, episodes: int, seed: int, modules: Sequence[str]
) -> dict[str, Any]:
    """Plays fresh episodes greedily and says what came of them, as evaluation.json has it.

    The environment is the checkpoint's own; one of a `module:Id` is only made if `modules` names
    that module, since a file must not choose what code runs.
    """
    settings, policy = open_policy(path)
    check_imported(settings, modules)
    check_spaces(settings, policy, path)
    # Beside a training run, threads that small products don't need would wait for each other.
    torch.set_num_threads(thread_count(settings, 1))
    played = play(
        policy,
        settings.env.in_one_process,
        episode_seeds(seed, Purpose.final_evaluation.value, 0),
        episodes,
        settings.eval.max_episode_steps,
        settings.dtype.name,
    )
    assert played is not None
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "checkpoint": str(path),
        "checkpoint_sha256": sha256(path),
        "env": settings.env.id,
        "env_kwargs": settings.env.kwargs,
        "protocol": {
            "policy": "greedy",
            "epsilon": 0.0,
            "max_episode_steps": settings.eval.max_episode_steps,
            "preprocess": plain(settings.env.preprocess),
        },
        "seed": seed,
        "versions": versions(),
    } | report_of(played)
    report["human_normalised"] = human_normalised(settings.env.id, report["mean"])
    return report


def report_path(checkpoint: Path) -> Path:
    """Where its evaluation is written: evaluation.json is of the one that a run's folder means."""
    is_best = checkpoint.name == "best" or not checkpoint.with_name("best").is_file()
    meant = is_best and checkpoint.name in ("best", "last")
    return checkpoint.with_name(f"evaluation{'' if meant else f'_{checkpoint.name}'}.json")


def record(path: Path, seed: int) -> Path:
    """Films the first of the episodes that `judge` plays (of native games: one like it)."""
    settings, policy = open_policy(path)
    seed_of = episode_seeds(seed, Purpose.final_evaluation.value, 0)
    return film(policy, settings.env, seed_of, settings.eval.max_episode_steps, path.parent)


def check_imported(settings: Settings, modules: Sequence[str]) -> None:
    """ConfigError if the environment's id names a module that the user did not."""
    module, separator, _ = settings.env.id.rpartition(":")
    if separator and module not in modules:
        raise ConfigError(
            f"the environment {settings.env.id} imports {module}, which a checkpoint may not do by"
            f" itself: add import={module}"
        )


def check_spaces(settings: Settings, policy: GreedyPolicy, path: Path) -> None:
    """CheckpointError if the environment is not the one that the agent was trained in."""
    env, found = make(settings.env)
    env.close()
    trained = policy.model.spaces
    if (found.observation_shape, found.actions) != (trained.observation_shape, trained.actions):
        raise CheckpointError(
            f"{path} was trained on observations {trained.observation_shape} and {trained.actions}"
            f" actions; {settings.env.id} has {found.observation_shape} and {found.actions}"
        )
