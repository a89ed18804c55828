"""Settings of a search's runs, as Hydra composes them, and the file that `tuned=` reads."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from dqn_cli.commands.search_jobs import trial_words
from dqn_cli.commands.search_options import SearchOptions
from dqn_cli.config.current_command import Command
from dqn_cli.config.validation import settings_from
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS
from dqn_cli.evaluation.tables import format_return
from dqn_cli.runs.provenance import git_commit, package_version, versions
from dqn_cli.searching.finalists import Finalist
from dqn_cli.searching.space import Space, first_words
from dqn_cli.searching.tuned_file import is_choice, is_in_file, tuned_text
from dqn_cli.storage import write_atomically
from dqn_cli.training.settings import Settings


def keep_plugins(config: DictConfig) -> None:
    """Let every job be composed with the sweeper and launcher of the search.

    Otherwise keys of these would be unknown in jobs, which leave out the word `+search=NAME`.
    """
    overrides = config.hydra.overrides.hydra
    for group in ("hydra/sweeper", "hydra/launcher"):
        if not any(word.startswith(f"{group}=") for word in overrides):
            overrides.insert(0, f"{group}={config.hydra.runtime.choices[group]}")


def check_keys(context: HydraContext, config: DictConfig, space: Space) -> None:
    """Let Hydra refuse an unknown key before the search leaves anything in its folder."""
    _compose(context, config, [*space.words, *first_words(space)])


def composed_settings(context: HydraContext, config: DictConfig, words: Sequence[str]) -> Settings:
    """Return the settings of a run.

    Raises:
        ConfigError: A setting is not valid.
    """
    return settings_from(_compose(context, config, words)[0])


def write_tuned(
    context: HydraContext,
    config: DictConfig,
    words: Sequence[str],
    winner: Finalist,
    sweep: Path,
    options: SearchOptions,
) -> Path:
    """Write what the winner found to tuned/ENV/AGENT.yaml in the search's folder."""
    own = [*words, *trial_words(winner.trial)]
    composed, choices = _compose(context, config, own)
    untuned = [word for word in own if word.startswith(CHOSEN)]
    found = [word for word in trial_words(winner.trial) if not is_in_file(_key(word))]
    base = composed_settings(context, config, [*untuned, "tuned=none"])
    lines = header(winner, options)
    if found:
        lines.append(f"Type these words too, which no such file can hold: {shlex.join(found)}")
    text = tuned_text(settings_from(composed), base, lines)
    env_id = str(choices["env"]).rpartition(":")[2]
    file = sweep / "tuned" / env_id / f"{choices['agent']}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda output: output.write(text.encode()))
    print(f"the winner's settings are in {file}; to train with them:")
    parts = [word for word in words if is_choice(_key(word))]
    typed = [*untuned, *parts, *found]
    print(f"  {shlex.join(['dqn-train', '--config-dir', str(sweep), *typed])}", flush=True)
    return file


def header(winner: Finalist, options: SearchOptions) -> list[str]:
    """Return the lines that say what found the settings."""
    trial, fresh = winner.trial, winner.fresh
    has_enough = winner.runs >= ENOUGH_SEEDS
    interval = f" [{', '.join(map(format_return, fresh.mean_ci95))}]" if has_enough else ""
    numbers = versions() | {"optuna": package_version("optuna")}
    packages = ", ".join(f"{name} {number}" for name, number in numbers.items())
    extra = f", and {options.extra_seeds} more at each rung" if options.extra_seeds else ""
    return [
        f"Found by a search of {options.trials} trials with {options.seeds} seeds each{extra}.",
        f"Mean return ({options.objective.name}) of trial {trial.number} on {winner.runs} fresh"
        f" seeds: {format_return(fresh.mean)}{interval}, worst"
        f" {format_return(fresh.min)}; in the search {format_return(trial.score or 0.0)}.",
        f"Command: {shlex.join(['dqn-train', *Command.words])}",
        f"{f'Commit {commit}; ' if (commit := git_commit()) else ''}{packages}.",
    ]


CHOSEN = ("env=", "agent=", "experiment=", "import=", "steps=", "episodes=")


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _compose(
    context: HydraContext, config: DictConfig, words: Sequence[str]
) -> tuple[DictConfig, DictConfig]:
    """Return a run's configuration without Hydra's own, and the choices of groups."""
    composed = context.config_loader.load_sweep_config(config, list(words))
    choices = composed.hydra.runtime.choices
    with open_dict(composed):
        del composed["hydra"]
    return composed, choices
