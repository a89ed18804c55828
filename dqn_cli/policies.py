"""Trained policies: loading them from checkpoints, evaluating and recording them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import flatten
from numpy.typing import NDArray

from dqn_cli.agent.model import Model
from dqn_cli.agent.parameters import size
from dqn_cli.agent.spaces import Spaces
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.envs.contract import misfit
from dqn_cli.envs.env_config import make_env
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.envs.masks import KEY
from dqn_cli.envs.space_adapter import restore_space
from dqn_cli.evaluation.atari_scores import human_normalised_score
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.play import play_episodes
from dqn_cli.evaluation.tables import REPORT_SCHEMA, summarize_episodes
from dqn_cli.evaluation.video import record_episode
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import CheckpointError, load_checkpoint, sha256
from dqn_cli.training.devices import thread_count
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings, plain


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at a path, or the `best` of a run folder, or else its `last`."""
    if path.is_file():
        return path
    for folder in (path / CHECKPOINTS_DIR, path):
        for name in ("best", "last"):
            if (folder / name).is_file():
                return folder / name
    if path.is_dir():
        names = f"{CHECKPOINTS_DIR}/best or {CHECKPOINTS_DIR}/last"
        raise CheckpointError(f"{path} holds no checkpoint yet ({names})")
    raise CheckpointError(f"no checkpoint or run at {path}")


def load_greedy_policy(path: Path) -> tuple[Settings, GreedyPolicy]:
    """Load the settings and the greedy policy from a checkpoint.

    Raises:
        CheckpointError: It can't be read, or is not a checkpoint of a run.
    """
    data = load_checkpoint(path)
    try:
        settings = stored_settings(data["settings"])
        spaces = Spaces(*data["spaces"])
        parameters = data["parameters"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of a run: {error} is missing") from error
    model = Model(spaces, settings.network, settings.head)
    if parameters.shape != (size(model.layout),):
        raise CheckpointError(
            f"{path} does not fit its own network; it may be from another version of dqn-train"
        )
    return settings, GreedyPolicy(model, parameters)


class Policy:
    """A greedy policy for one environment, returned by `load_policy`.

    It takes observations as the environment gives them, or as one array. A recurrent policy has a
    state: call `reset` when an episode begins.
    """

    def __init__(self, policy: GreedyPolicy) -> None:
        self._policy = policy
        self._episode_start = True
        source = policy.model.spaces.source
        self._own_space = restore_space(source) if source else None  # of nested observations

    def reset(self) -> None:
        """Begin a new episode."""
        self._episode_start = True

    def __call__(self, observation: Any, action_mask: Any = None) -> int | NDArray[np.int64]:
        """Return the best legal action in the form that the environment takes.

        Args:
            observation: One observation of the environment.
            action_mask: Legal actions [actions]; None takes the mask in a Dict observation, or
                allows all.

        Raises:
            ValueError: The observation differs from those in training.
        """
        spaces = self._policy.model.spaces
        if isinstance(observation, dict) and KEY in observation and action_mask is None:
            action_mask = observation[KEY]
        obs = np.asarray(self._flattened(observation), np.float32)
        mask = np.ones((1, spaces.actions), bool)
        if action_mask is not None:
            mask = np.asarray(action_mask, bool).reshape(mask.shape)  # [1, actions]
        shape = spaces.observation_shape
        if obs.size != math.prod(shape) or (obs.ndim == len(shape) and obs.shape != shape):
            raise ValueError(f"the observation has shape {obs.shape}; this policy takes {shape}")
        row = obs.reshape(1, *shape)  # [1, *shape]
        index = self._policy(row, mask, np.array([self._episode_start]))[0]
        self._episode_start = False
        return spaces.action(int(index))

    def _flattened(self, observation: Any) -> Any:
        """Return an observation as one array, if it is not one already."""
        space, shape = self._own_space, self._policy.model.spaces.observation_shape
        if space is None or (isinstance(observation, np.ndarray) and observation.shape == shape):
            return observation
        if isinstance(observation, dict) and KEY in observation:
            observation = {key: part for key, part in observation.items() if key != KEY}
        if reason := misfit(space, observation):
            raise ValueError(f"the observation {reason}")
        return flatten(space, observation)


def load_policy(path: str | Path) -> Policy:
    """Load the greedy policy of a run folder or checkpoint.

    Raises:
        CheckpointError: There is no usable checkpoint.
    """
    _, policy = load_greedy_policy(find_checkpoint(Path(path)))
    return Policy(policy)


def evaluate_checkpoint(
    path: Path, episodes: int, seed: int, modules: Sequence[str]
) -> dict[str, Any]:
    """Evaluate a checkpoint greedily and return the content of evaluation.json.

    The environment is the one in the checkpoint. If its id is `module:Id`, `modules` must name the
    module, because a file must not choose which code runs.
    """
    settings, policy = load_greedy_policy(path)
    check_env_module(settings, modules)
    check_spaces(settings, policy, path)
    # Small matrix products need one thread; more would compete with training runs for the cores.
    torch.set_num_threads(thread_count(settings, 1))
    results = play_episodes(
        policy,
        settings.env.in_one_process,
        episode_seeds(seed, Purpose.final_evaluation.value, 0),
        episodes,
        settings.eval.max_episode_steps,
        settings.dtype.name,
    )
    assert results is not None
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
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
    } | summarize_episodes(results)
    report["human_normalised"] = human_normalised_score(settings.env.id, report["mean"])
    return report


def evaluation_path(checkpoint: Path) -> Path:
    """Return the file for a checkpoint's evaluation.

    It is evaluation.json for the checkpoint that stands for its run, see `find_checkpoint`, and
    evaluation_NAME.json for all others.
    """
    has_best = checkpoint.with_name("best").is_file()
    is_default = checkpoint.name == "best" or (checkpoint.name == "last" and not has_best)
    return checkpoint.with_name(f"evaluation{'' if is_default else f'_{checkpoint.name}'}.json")


def record_video(path: Path, seed: int) -> Path:
    """Record the first episode of `evaluate_checkpoint` and return the video's path.

    Episodes of vectorization=native are recorded with Gymnasium's wrappers, so they differ.
    """
    settings, policy = load_greedy_policy(path)
    seed_function = episode_seeds(seed, Purpose.final_evaluation.value, 0)
    return record_episode(
        policy, settings.env, seed_function, settings.eval.max_episode_steps, path.parent
    )


def check_env_module(settings: Settings, modules: Sequence[str]) -> None:
    """Check that the user named the module in the environment's id.

    Raises:
        ConfigError: Another module would be imported.
    """
    module, separator, _ = settings.env.id.rpartition(":")
    if separator and module not in modules:
        raise ConfigError(
            f"the environment {settings.env.id} imports {module}, which a checkpoint may not do by"
            f" itself: add import={module}"
        )


def check_spaces(settings: Settings, policy: GreedyPolicy, path: Path) -> None:
    """Check that the environment still has the spaces that the agent was trained on.

    Raises:
        CheckpointError: The observation shape or the number of actions differs.
    """
    env, spaces = make_env(settings.env)
    env.close()
    trained = policy.model.spaces
    if not trained.fits(spaces):
        raise CheckpointError(
            f"{path} was trained on observations {trained.observation_shape} and {trained.actions}"
            f" actions; {settings.env.id} has {spaces.observation_shape} and {spaces.actions}"
        )
