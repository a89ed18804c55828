"""Questions about an environment's copies: repeated seeds, shared state, other processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from dqn_cli.checking.seen import Answer, Record
from dqn_cli.checking.tasks import IN_RESET, MADE, Progress
from dqn_cli.checking.trial import digest_of, make_envs, random_actions
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments

STEPS = 20  # in another process


def repeats_seeds(
    config: EnvConfig, dtype: str, records: Sequence[Record], progress: Progress
) -> Answer:
    """Return whether new environments repeat the records, as resuming needs."""
    for record in records:
        progress.report(MADE)
        try:
            envs = make_envs(config, dtype, record.seed_number)
            difference = _difference(envs, record, progress)
        except EnvironmentFailure as failure:  # an action may be illegal in another state
            difference = str(failure)
        if difference:
            return Answer(False, difference)
        with suppress(Exception):
            envs.close()
    return Answer(True)


def copies_are_independent(
    config: EnvConfig, dtype: str, records: Sequence[Record], progress: Progress
) -> tuple[Answer, Answer]:
    """Return whether two copies can live at once, and whether neither changes the other."""
    progress.report(MADE)
    first = make_envs(config, dtype, records[0].seed_number)
    try:
        second = make_envs(config, dtype, seed=1)
    except Exception as error:
        reason = str(error).removeprefix(f"env={config.id}: ")
        return Answer(False, reason), Answer(None, "only one copy can exist")
    rng = np.random.default_rng(1)

    def disturb() -> None:
        second.step(random_actions(second, rng))

    try:
        difference = _difference(first, records[0], progress, disturb)
    except EnvironmentFailure as failure:
        difference = str(failure)
    return Answer(True), Answer(not difference, difference)


def runs_in_process(config: EnvConfig, dtype: str, progress: Progress) -> Answer:
    """Return whether two copies run in processes of their own, as with `async`."""
    progress.report(MADE)
    parallel = replace(config, vectorization=Vectorization["async"], num_envs=2)
    envs = make_envs(parallel, dtype)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        progress.report(step or IN_RESET)
        envs.step(random_actions(envs, rng))
    envs.close()
    return Answer(True)


def _difference(
    envs: Environments,
    record: Record,
    progress: Progress,
    disturb: Callable[[], None] = lambda: None,
) -> str:
    """Return where the environments depart from a record; "" if they repeat it."""
    if digest_of(envs) != record.digests[0]:
        return "the same seed led to another first observation"
    pairs = zip(record.actions, record.digests[1:], strict=True)
    for number, (actions, digest) in enumerate(pairs, start=1):
        progress.report(number)
        disturb()
        step = envs.step(np.array(actions)[None])
        if digest_of(envs, step) != digest:
            return f"step {number} after the same seed and actions had another result"
    return ""
