"""Findings of an inspection: what is wrong with an environment, and what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from dqn_cli.checking.seen import Inspection, Trial
from dqn_cli.envs.env_config import Vectorization
from dqn_cli.memory import check_memory
from dqn_cli.text import one_line
from dqn_cli.training.build_run import agent_for
from dqn_cli.training.settings import Settings

SLOW_STEP = 0.01  # seconds
MANY_ACTIONS = 1_000
NEVER_ENDING, STEP_LIMIT = 5_000, 1_000  # steps without an end that suggest a limit, and that


class Level(Enum):
    """Weight of a finding: with an error, training would be wrong or impossible."""

    error = "error"
    warning = "warning"
    note = "note"


class Finding(NamedTuple):
    """A problem, what to change, and words of dqn-train that change it."""

    level: Level
    text: str
    change: str = ""
    words: tuple[str, ...] = ()


Rule = Callable[[Inspection, Settings], Iterator[Finding]]


def failures(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield why the environment can't be used at all."""
    env_id, description, trial = settings.env.id, inspection.description, inspection.trial
    if inspection.failure:
        yield Finding(Level.error, _named(inspection.failure, env_id), _mend(inspection.failure))
    if description is not None and description.observation_error:
        yield Finding(
            Level.error,
            _named(description.observation_error, env_id),
            "turn observations into numbers in a wrapper: env.wrappers=[my_package:Mine]",
        )
    if description is not None and description.action_error:
        yield Finding(
            Level.error,
            _named(description.action_error, env_id),
            "choose among a few actions in a gymnasium.ActionWrapper:"
            " env.wrappers=[my_package:Mine]",
        )
    if trial is not None and trial.failure:
        yield Finding(Level.error, _named(trial.failure, env_id), _mend(trial.failure))


def _named(failure: str, env_id: str) -> str:
    return failure if failure.startswith(f"env={env_id}") else f"env={env_id}: {failure}"


def _mend(failure: str) -> str:
    """Return what to change after a failure that does not say it."""
    if "finite number" in failure:
        return "find the division by zero or the missing value in the environment"
    if "env.mask=" in failure:  # it says so itself
        return ""
    if "action_mask" in failure:
        return "return it from every reset and step, with one legal action at least"
    if "did not answer" in failure:
        return "find out what it waits for; if it is only slow, give this check seconds=60"
    if "can't hold" in failure or "declared " in failure:
        return "correct observation_space, or what the environment returns"
    return ""


def unread_parts(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield parts of observations that are left out."""
    description = inspection.description
    if description is None or not description.unread:
        return
    names = ",".join(description.unread)
    word = f"env.drop=[{','.join([*settings.env.drop, *description.unread])}]"
    text = f"no network reads {names}; this check went on without"
    yield Finding(Level.warning, text, f"leave it out: {word}", (word,))


def many_actions(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield the cost of a large number of actions."""
    description = inspection.description
    if description is None or description.actions is None:
        return
    count = description.actions.total
    if count > MANY_ACTIONS:
        text = f"{count:,} actions: each needs a value of its own, and tries to learn it"
        yield Finding(Level.warning, text, "fewer actions learn faster")


def memory(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield a replay buffer that does not fit into memory."""
    trial, capacity = inspection.trial, int(settings.replay.capacity)
    if trial is None or not trial.transition_bytes:
        return
    try:
        check_memory(capacity, int(capacity * trial.transition_bytes))
    except ValueError as error:
        text, _, fits = str(error).partition(": ")
        word = fits.removesuffix(" fits")
        yield Finding(Level.warning, text, word, (word,))


def unusable_network(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that the network can't read the observations."""
    spaces = inspection.trial.spaces if inspection.trial is not None else None
    if spaces is None:
        return
    try:
        agent_for(settings, spaces).layout  # noqa: B018  (which is computed only now)
    except ValueError as error:
        text = one_line(error)
        advised = re.findall(r"use (env\.normalize=\w+)", text)
        word = advised[-1] if advised else "network=multi"
        yield Finding(Level.error, text, word, (word,))


def masks(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield masks that change nothing, and what may be a mask by another name."""
    description, trial = inspection.description, inspection.trial
    if description is not None and description.mask_like and not (trial and trial.masked):
        name = description.mask_like
        yield Finding(
            Level.warning,
            f'info["{name}"] looks like a mask of legal actions, and is not read',
            f'name it action_mask: info["action_mask"] = info["{name}"]',
        )
    if description is not None and description.mask_like_part and not (trial and trial.masked):
        yield Finding(
            Level.warning,
            f"part {description.mask_like_part} of observations looks like a mask of legal"
            " actions, and is read as numbers",
            "name it action_mask, beside the other parts",
        )
    if trial is not None and trial.masked and trial.legal == _actions(trial):
        yield Finding(Level.note, f"the mask allowed every action in {trial.steps:,} steps")


def endless_episodes(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that no episode ended."""
    trial, description = inspection.trial, inspection.description
    if trial is None or description is None or trial.lengths or not trial.steps or trial.failure:
        return
    if description.step_limit is not None:
        text = f"no episode ended in {trial.steps:,} steps; the limit is {description.step_limit:,}"
        yield Finding(Level.note, text)
        return
    text = f"no episode ended in {trial.steps:,} steps, and there is no limit"
    word = f"env.max_episode_steps={STEP_LIMIT}"
    if trial.steps < NEVER_ENDING:
        yield Finding(Level.note, text, f"check longer, with seconds=60, or set {word}")
    else:
        yield Finding(Level.warning, text, f"{word} (or what fits)", (word,))


def repeated_seeds(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that a seed does not repeat an episode."""
    answer = inspection.repeats
    if answer.is_yes is False:
        yield Finding(
            Level.warning,
            f"it does not repeat its seed ({answer.reason}), so resuming is not exact",
            "call super().reset(seed=seed), and draw all random numbers from self.np_random",
        )


def single_copies(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that copies disturb each other or can't live side by side."""
    copies, independent = inspection.copies, inspection.independent
    if copies.is_yes is False:
        yield Finding(
            Level.warning,
            f"two copies can't live at once ({copies.reason})",
            "train one copy, without evaluations beside it: env.num_envs=1 eval.every=null",
            ("env.num_envs=1", "eval.every=null"),
        )
    elif independent.is_yes is False:
        word = "env.vectorization=async" if inspection.in_process.is_yes else "eval.every=null"
        yield Finding(
            Level.warning,
            f"one copy changes the other ({independent.reason}): they share a global state",
            f"keep the state in the object, or give each copy its own process: {word}",
            (word,),
        )


def other_processes(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that it can't run in other processes, or that it should."""
    answer, trial, env = inspection.in_process, inspection.trial, settings.env
    is_async = env.vectorization is Vectorization["async"]
    if answer.is_yes is False:
        if is_async or inspection.copies.is_yes is not False:
            yield Finding(
                Level.error if is_async else Level.note,
                f"two copies don't run in processes of their own ({answer.reason})",
                "env.vectorization=sync",
                ("env.vectorization=sync",) if is_async else (),
            )
    elif answer.is_yes and trial is not None and not is_async and inspection.copies.is_yes:
        step = trial.seconds / max(trial.steps, 1)
        if step > SLOW_STEP:
            text = f"a step takes {step * 1_000:.0f} ms"
            change = "several processes are faster: env.vectorization=async env.num_envs=8"
            yield Finding(Level.note, text, change)


def gymnasium_messages(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield what Gymnasium's checker says and nothing else has said."""
    for message in inspection.gymnasium:
        failure = inspection.trial.failure if inspection.trial is not None else ""
        is_known = inspection.repeats.is_yes is False and "same seed" in message
        if not is_known and message not in failure:
            yield Finding(Level.warning, f"Gymnasium's check_env: {message}")


def info_scalars(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield the numbers in `info` that can be logged."""
    description = inspection.description
    is_native = settings.env.vectorization is Vectorization.native
    if description is None or is_native or settings.log.info:
        return
    if description.info_scalars:
        names = ",".join(description.info_scalars[:6])
        yield Finding(Level.note, "info has numbers that can be logged", f"log.info=[{names}]")


def _actions(trial: Trial) -> int:
    return trial.spaces.actions if trial.spaces is not None else 0
