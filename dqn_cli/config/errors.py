"""Errors in one line: what was wrong, and what would be right."""

from __future__ import annotations

import re

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.config.gymnasium_source import registered_envs
from dqn_cli.config.hints import did_you_mean, unknown_key, unknown_preset_key
from dqn_cli.config.registry import SEVERAL, is_part, part_named
from dqn_cli.config.tuned_source import LOOKUP
from dqn_cli.config.value_errors import value_error
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.runs.locks import InUse
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.storage import CheckpointError
from dqn_cli.text import one_line

EXPECTED = (
    CheckpointError,
    EnvironmentFailure,
    ImportError,
    InUse,
    OSError,
    TrainingFailure,
    ValueError,
)

# Groups with arguments that have no keys of their own, and whose they are.
KWARGS = {"env": "gymnasium.make", "eval.env": "gymnasium.make", "network": "your class"}


def explain(error: BaseException) -> str:
    """Return the error in one line that a terminal can show."""
    return one_line(_explain(error))


def _explain(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _composition(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}: it is no YAML of one document"
    message = one_line(error)
    if message.startswith("Config group override must be a string"):  # of a group without a name
        return "a group takes the name of one of its choices, as in network=mlp"
    if isinstance(error, EXPECTED) and message:
        return message
    # A bug report needs the type and place of an unexpected error.
    return f"{type(error).__name__}: {message} (HYDRA_FULL_ERROR=1 shows where)"


def _unreadable(word: str) -> str:
    """Return why a word is not of Hydra's grammar."""
    hint = f"; did you mean env={word}?" if word in registered_envs() else ""
    key, separator, value = word.partition("=")
    if separator:
        plain = re.sub(r"'[^']*'|\"[^\"]*\"", "", value)  # outside of quotes
        foreign = next((letter for letter in plain if not letter.isascii()), "")
        if not key.isascii():
            hint = ": keys have plain letters, without accents"
        elif "'" in plain or '"' in plain:
            hint = ": a quote is not closed"
        elif any(plain.count(pair[0]) != plain.count(pair[1]) for pair in ("[]", "{}", "()")):
            hint = ": a bracket is not closed"
        else:
            what = f"with {foreign} " if foreign else ""
            hint = f": put quotes around a value {what}that is text, as in '{key}=\"...\"'"
    return f"'{word}' is not of the form key=value{hint}"


def _missing_choice(error: MissingConfigException) -> str:
    name = str(error.missing_cfg_file)
    if "/" not in name:
        return f"there is no configuration {name}.yaml"
    # Ids of environments have slashes, and so have the groups of Hydra itself.
    group, _, choice = name.rpartition("/") if name.startswith("hydra/") else name.partition("/")
    options = [option for option in error.options or () if not option.startswith("base_")]
    hint = did_you_mean(choice, options)
    if group == "env":
        return f"unknown environment {choice}{hint or '; it is not registered with Gymnasium'}"
    known = f": {group} is one of {', '.join(options)}" if options else ""
    return f"unknown choice {group}={choice}{known}{hint}"


def _composition(error: Exception) -> str:
    text = str(error)
    if text.startswith(f"Error resolving interpolation '{LOOKUP}"):
        return "env, agent and tuned can't be left out with ~: use tuned=none for no tuned settings"
    if "Default List Overrides are not allowed in the subtree" in text:
        file = text.partition(":")[0]
        return f"{file} can't choose parts with `override`: type them, as agent=rainbow"
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if unknown := re.match(r"Could not override '([^']*)'", text):
        return _unknown(unknown[1], f"{cause}\n{text}")
    if sweep := re.match(r"Sweep parameters '([^']*)' requires --multirun", text):
        return f"{sweep[1]} has several values: add -m to sweep over them"
    if sweep := re.match(r"Ambiguous value for argument '([^']*)'", text):
        return f"{sweep[1]} has several values: add -m to sweep over them, or [] around a list"
    if merged := re.match(r"Error merging override (.*)", text):
        return f"{merged[1]}: {_reason(cause, merged[1])}"
    key = re.search(r"full_key: (\S+)", f"{cause}\n{text}")
    if key and re.search(r"Key '\S+' not in", f"{cause}"):  # a file sets what another choice lacks
        message = _unknown(key[1], f"{cause}\n{text}")
        return f"{message}; a file sets it, and tuned=none leaves out tuned settings"
    return f"{key[1]}: {_reason(cause)}" if key else _reason(error)


def _unknown(key: str, details: str) -> str:
    for group, owner in KWARGS.items():
        if key.startswith(f"{group}.kwargs."):
            return f"unknown key {key}: add an argument of {owner} with a plus, +{key}=..."
    part = re.search(r"object_type=(\w+)", details)
    group, _, name = key.partition(".")
    if part is None or not is_part(part[1]):
        choice, dot, _ = name.partition(".")
        hint = f": it comes with {group}={choice}, or {choice} in the list"
        if not dot:  # keys of a choice have its name
            hint = f": did you mean {group}.CHOICE.{choice}?"
        return f"unknown key {key}{hint if group in SEVERAL else ''}"
    if part[1] == "Settings" and (message := unknown_preset_key(key)):
        return message
    # At the top level the group itself is unknown, not only its key.
    return unknown_key(key.split(".")[0] if part[1] == "Settings" else key, part_named(part[1]))


def _reason(error: Exception, word: str = "") -> str:
    """Return the first line of a word's error, or the second where Hydra adds one of its own."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    wrapped = "raised while composing config" in lines[0] and len(lines) > 1
    return value_error(lines[1] if wrapped else lines[0], word)
