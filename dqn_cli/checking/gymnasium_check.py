"""Gymnasium's own checker of environments, with its messages in one line each."""

from __future__ import annotations

import re
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.utils.env_checker import check_env

from dqn_cli.checking.tasks import MADE, Progress
from dqn_cli.envs.contract import describe_error
from dqn_cli.envs.env_config import EnvConfig

LONGEST = 150
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What matters neither to training nor to this tool, or what it says itself.
IRRELEVANT = re.compile(
    r"infinity|unwrapped version|symmetric and normalized|render|nondeterministic|deprecat"
    r"|out of date|Casting input|share an object|should be an int or np\.int64"
)
# Patterns of its messages, and what they mean for the reader.
MEANINGS = (
    (r"not a tuple of the form", "reset returned no (observation, info)"),
    (r"not a dictionary", "info is no dict"),
    (
        r"super\(\)\.reset\(seed=seed\)|random number generator|np_random|_np_random",
        "reset does not call super().reset(seed=seed), or does not use self.np_random",
    ),
    (
        r"not equivalent|not equal although similar|observations are not equal",
        "the same seed and actions lead to different results",
    ),
    (
        r"(?:not|isn't) (?:within|contained).* observation space|obs.*not within",
        "an observation lies outside observation_space: correct its bounds, shape or type",
    ),
    (
        r"does not provide a `?seed",
        "reset takes no argument seed: def reset(self, *, seed=None, ...)",
    ),
    (
        r"does not provide an `?options|can be passed `?options",
        "reset takes no argument options: def reset(self, *, seed=None, options=None)",
    ),
    (r"old step API", "step returns four values, as in the old Gym API"),
    (r"truncates after 1 step", "episodes are truncated after one step"),
    (r"default seed argument", "reset has a default seed; it should be None"),
    (r"`?(terminated|truncated)`? signal", r"\1 is no bool"),
    (r"inherit from the gymnasium\.Env", "the class does not inherit from gymnasium.Env"),
    (r"maximum and minimum values are equal", "a bound of a space equals the other"),
    (r"reward .*must be a float", "the reward is no float or int"),
)


def check_by_gymnasium(config: EnvConfig, masked: bool, progress: Progress) -> tuple[str, ...]:
    """Return what Gymnasium's checker says of the bare environment, each once.

    Args:
        config: The environment.
        masked: True if it masks actions. The checker takes illegal ones too, so an error of the
            environment's own code is no news then.
        progress: Progress of this task.
    """
    progress.report(MADE)
    kwargs = config.preprocess.make_kwargs | config.kwargs
    env: gymnasium.Env[Any, Any] = gymnasium.make(
        config.id, disable_env_checker=True, **kwargs
    ).unwrapped
    progress.report(1)
    messages = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            messages.append(_described(error, masked))
    messages = [str(warning.message) for warning in caught] + messages
    with suppress(Exception):
        env.close()
    return tuple(dict.fromkeys(filter(None, map(in_one_line, messages))))


def _described(error: Exception, masked: bool) -> str:
    """Return an error that ended the check; "" if it tells nothing."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if "gymnasium" not in Path(last).parts:
        return "" if masked else describe_error(error)
    is_told = isinstance(error, (AssertionError, gymnasium.error.Error))
    return str(error) if is_told else ""


def in_one_line(message: str) -> str:
    """Return a message of the checker in plain words; "" if it does not matter here."""
    text = " ".join(ANSI.sub("", message).removeprefix("WARN:").split())
    text = text.removeprefix("WARN: ").replace("`", "")
    for pattern, meaning in MEANINGS:
        if match := re.search(pattern, text):
            return match.expand(meaning)
    if IRRELEVANT.search(text):
        return ""
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0].rstrip(".")
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 3]}..."
