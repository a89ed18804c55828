"""Trained policies: loading them from checkpoints, evaluating and recording them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dqn_cli.agent.parameters import size
from dqn_cli.agent.spaces import Spaces
from dqn_cli.config.combinations import find_conflict
from dqn_cli.config.stored_settings import acting_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.deployed_policy import Policy
from dqn_cli.envs.environments import read_spaces
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.atari_scores import human_normalised_score
from dqn_cli.evaluation.gifs import write_gif
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.play import play_episodes
from dqn_cli.evaluation.tables import REPORT_SCHEMA, summarize_episodes
from dqn_cli.evaluation.video import record_episode
from dqn_cli.fields import damage_named
from dqn_cli.runs.checkpoint_fields import check_policy
from dqn_cli.runs.checkpoints import checkpoint_in
from dqn_cli.runs.exported_files import WEIGHTS, exported_weights, is_exported, load_exported
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import CheckpointError, load_checkpoint, sha256
from dqn_cli.training.build_run import agent_for
from dqn_cli.training.devices import thread_count
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import EvaluationEnvConfig, Settings, plain


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at a path, or the `best` of a run folder, or else its `last`.

    The weights of an exported policy stand for a checkpoint.
    """
    return exported_weights(path) if is_exported(path) else checkpoint_in(path)


def load_greedy_policy(
    path: Path, modules: Sequence[str] | None = None
) -> tuple[Settings, GreedyPolicy]:
    """Load the settings and the greedy policy from a checkpoint or the weights of an export.

    Args:
        path: The checkpoint.
        modules: The user's own modules; None for all that this process has imported.

    Raises:
        CheckpointError: It can't be read, or is not a checkpoint of a run.
        ConfigError: Its network is of a module that is not named.
    """
    return greedy_policy(path, load_policy_data(path), modules)


def load_policy_data(path: Path) -> dict[str, Any]:
    """Return the checked data of a checkpoint or of the weights of an export.

    Raises:
        CheckpointError: It can't be read, or is not a checkpoint of a run.
    """
    data = load_exported(path) if path.name == WEIGHTS else load_checkpoint(path)
    with damage_named(path):
        check_policy(data)
    return data


def greedy_policy(
    path: Path, data: Mapping[str, Any], modules: Sequence[str] | None = None
) -> tuple[Settings, GreedyPolicy]:
    """Return the settings and the greedy policy of the data of a path.

    Raises:
        CheckpointError: They don't fit together.
        ConfigError: Its network is of a module that is not among `modules`.
    """
    try:
        settings = acting_settings(data["settings"])
    except ValueError as error:
        raise CheckpointError(f"{path} can't be used: {error}") from error
    known = modules
    if known is None:  # no environment is made
        known = [*sys.modules, *settings.env.modules.values()]
    check_modules(settings, known)
    try:
        model = agent_for(settings, Spaces.restore(data["spaces"])).model
        layout = model.layout
    except (ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} can't be used: {error}") from error
    parameters = data["parameters"]
    shapes = {name: list(parameter.shape) for name, parameter in layout.items()}
    fits = data.get("shapes", shapes) == shapes and parameters.shape == (size(layout),)
    if not fits or parameters.dtype != getattr(torch, settings.dtype.name):
        raise CheckpointError(
            f"{path} does not fit its own network; it may be from another version of dqn-train"
        )
    return settings, GreedyPolicy(model, parameters)


def load_policy(path: str | Path) -> Policy:
    """Load the greedy policy of a run folder or checkpoint.

    Raises:
        CheckpointError: There is no usable checkpoint.
    """
    checkpoint = find_checkpoint(Path(path))
    settings, policy = load_greedy_policy(checkpoint)
    env = settings.env
    try:
        return Policy(policy, env.drop, env.preprocess.color_axis)
    except (ValueError, AssertionError) as error:
        raise CheckpointError(f"{checkpoint} is damaged: spaces: {error}") from error


def evaluate_checkpoint(
    path: Path,
    episodes: int,
    seed: int,
    modules: Sequence[str],
    env_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint greedily and return the content of evaluation.json.

    The environment is that of the run's evaluations. If its id is `module:Id`, `modules` must name
    the module, because a file must not choose which code runs. `env_kwargs` replace arguments of
    gymnasium.make.
    """
    settings, policy = load_greedy_policy(path, modules)
    settings = with_env_kwargs(settings, env_kwargs or {})
    check_policy_fits_env(settings, policy, path)
    # Small matrix products need one thread; more would compete with training runs for the cores.
    torch.set_num_threads(thread_count(settings, 1))
    results = play_episodes(
        policy,
        settings.evaluation_env,
        episode_seeds(seed, Purpose.final_evaluation.value, 0),
        episodes,
        settings.eval.max_episode_steps,
        settings.dtype.name,
        info_names=settings.log.info,
    )
    assert results is not None
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "checkpoint": str(path),
        "checkpoint_sha256": sha256(path),
        "env": settings.env.id,
        "env_kwargs": settings.evaluation_env.kwargs,
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

    It is evaluation.json for the checkpoint that stands for its run or export, see
    `find_checkpoint`, and evaluation_NAME.json for all others.
    """
    has_best = checkpoint.with_name("best").is_file()
    is_default = checkpoint.name in ("best", WEIGHTS) or (
        checkpoint.name == "last" and not has_best
    )
    return checkpoint.with_name(f"evaluation{'' if is_default else f'_{checkpoint.name}'}.json")


def record_video(path: Path, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> Path:
    """Record the first episode of `evaluate_checkpoint` as MP4 and GIF; return the MP4's path.

    Episodes of vectorization=native are recorded with Gymnasium's wrappers, so they differ.
    """
    settings, policy = load_greedy_policy(path)
    settings = with_env_kwargs(settings, env_kwargs or {})
    seed_function = episode_seeds(seed, Purpose.final_evaluation.value, 0)
    steps = settings.eval.max_episode_steps
    folder = path.parent.absolute()
    film = record_episode(policy, settings.evaluation_env, seed_function, steps, folder)
    write_gif({"": film}, film.with_suffix(".gif"))
    return film


def with_env_kwargs(settings: Settings, env_kwargs: Mapping[str, Any]) -> Settings:
    """Return the settings with more arguments of gymnasium.make for evaluation.

    Raises:
        ConfigError: The environment takes none.
    """
    env = EvaluationEnvConfig(settings.eval.env.kwargs | dict(env_kwargs))
    changed = replace(settings, eval=replace(settings.eval, env=env))
    if reason := find_conflict(changed):
        raise ConfigError(reason)
    return changed


def is_named(module: str, modules: Iterable[str]) -> bool:
    """Return True if a module or its package is among `modules`."""
    return any(module == name or module.startswith(f"{name}.") for name in modules)


def check_modules(settings: Settings, modules: Sequence[str]) -> None:
    """Check that the user named the modules of network, environment and wrappers.

    Raises:
        ConfigError: Another module would be imported.
    """
    kinds = dict.fromkeys(settings.env.modules, "wrapper")
    kinds |= dict.fromkeys(settings.network.modules, "network")
    if settings.env.id in kinds:
        kinds[settings.env.id] = "environment"
    for name, module in settings.modules.items():
        if not is_named(module, modules):
            raise ConfigError(
                f"the {kinds[name]} {name} imports {module}, which a checkpoint may not do by"
                f" itself: add import={module}"
            )


def check_policy_fits_env(settings: Settings, policy: GreedyPolicy, path: Path) -> None:
    """Check that the environment still has the spaces that the agent was trained on.

    Raises:
        CheckpointError: The observation shape or the number of actions differs.
    """
    spaces = read_spaces(settings.evaluation_env)
    trained = policy.model.spaces
    if not trained.fits(spaces):
        raise CheckpointError(f"{path} was trained on {trained}; {settings.env.id} has {spaces}")
