"""One line for each thing that can go wrong: what it was, and what would be right."""

from __future__ import annotations

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.config.registry import is_part, part_named
from dqn_cli.config.validation import near, unknown_key
from dqn_cli.envs.building import EnvironmentFailure
from dqn_cli.storage import CheckpointError
from dqn_cli.training.session import TrainingFailure

EXPECTED = (
    CheckpointError,
    EnvironmentFailure,
    ImportError,
    OSError,
    TrainingFailure,
    ValueError,
)


def explain(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error)
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not of the form key=value"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _composition(error)
    message = " ".join(str(error).split())
    if isinstance(error, EXPECTED) and message:
        return message
    # Nobody foresaw this one: its type and place are what a report of it needs.
    return f"{type(error).__name__}: {message} (HYDRA_FULL_ERROR=1 shows where)"


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
    details = f"{cause}\n{text}"
    key, part = re.search(r"full_key: (\S+)", details), re.search(r"object_type=(\w+)", details)
    if unknown := re.match(r"Could not override '([^']*)'", text):
        if part and is_part(part[1]):
            # At the top level the whole group is unknown, whatever stands behind its dot.
            name = unknown[1].split(".")[0] if part[1] == "Settings" else unknown[1]
            return unknown_key(name, part_named(part[1]))
        return f"unknown key {unknown[1]}"
    reason = str(cause) if cause is not error else text.partition("\n")[2] or text
    first_line = (reason.strip().splitlines() or [type(error).__name__])[0]
    return f"{key[1]}: {first_line}" if key else first_line
