"""One line for each thing that can go wrong: what it was, and what would be right."""

from __future__ import annotations

import re

import gymnasium
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.config.hints import near, unknown_key
from dqn_cli.config.paths import config_folder
from dqn_cli.config.registry import is_part, part_named
from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.runs.locks import InUse
from dqn_cli.runs.session import TrainingFailure
from dqn_cli.storage import CheckpointError

EXPECTED = (
    CheckpointError,
    EnvironmentFailure,
    ImportError,
    InUse,
    OSError,
    TrainingFailure,
    ValueError,
)


def explain(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error)
    if isinstance(error, OverrideParseException):
        return _no_assignment(str(error.override))
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _composition(error)
    message = " ".join(str(error).split())
    if message.startswith("Config group override must be a string"):  # Hydra does not say which
        return "a group takes the name of one of its choices, as in network=mlp"
    if isinstance(error, EXPECTED) and message:
        return message
    # Nobody foresaw this one: its type and place are what a report of it needs.
    return f"{type(error).__name__}: {message} (HYDRA_FULL_ERROR=1 shows where)"


def _no_assignment(word: str) -> str:
    hint = f"; did you mean env={word}?" if word in gymnasium.registry else ""
    return f"'{word}' is not of the form key=value{hint}"


def _missing_choice(error: MissingConfigException) -> str:
    group, _, choice = str(error.missing_cfg_file).partition("/")
    options = [option for option in error.options or () if not option.startswith("base_")]
    hint = near(choice, options)
    if group == "env":
        return f"unknown environment {choice}{hint or '; it is not registered with Gymnasium'}"
    known = f"; {group} is one of {', '.join(options)}" if options else ""
    return f"unknown choice {group}={choice}{hint or known}"


def _composition(error: Exception) -> str:
    text = str(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if unknown := re.match(r"Could not override '([^']*)'", text):
        return _unknown(unknown[1], f"{cause}\n{text}")
    if several := re.match(r"Ambiguous value for argument '([^']*)'", text):
        return f"{several[1]} has several values: add -m to sweep over them, or [] around a list"
    if merged := re.match(r"Error merging override (.*)", text):
        return f"{merged[1]}: {_reason(cause)}"
    key = re.search(r"full_key: (\S+)", f"{cause}\n{text}")
    if key and re.search(r"Key '\S+' not in", f"{cause}"):  # a file sets what another choice lacks
        return _unknown(key[1], f"{cause}\n{text}")
    return f"{key[1]}: {_reason(cause)}" if key else _reason(error)


def _unknown(key: str, details: str) -> str:
    if key.startswith("env.kwargs."):
        return f"unknown key {key}: what gymnasium.make is to get is added with +{key}=..."
    if (config_folder() / key).is_dir():  # a group that is not among the defaults
        return f"unknown key {key}: what is added wants a plus, as in +{key}=NAME"
    part = re.search(r"object_type=(\w+)", details)
    if part is None or not is_part(part[1]):
        return f"unknown key {key}"
    # At the top level the whole group is unknown, whatever stands behind its dot.
    return unknown_key(key.split(".")[0] if part[1] == "Settings" else key, part_named(part[1]))


def _reason(error: Exception) -> str:
    """What an error says in its first line; Hydra's wrappers say where, and then what."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    wrapped = "raised while composing config" in lines[0] and len(lines) > 1
    said = lines[1] if wrapped else lines[0]
    return "it must be a list, as in [1,2]" if said.endswith("ListConfig, list or tuple.") else said
