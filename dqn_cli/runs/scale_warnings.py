"""Warnings about numbers that are too large to learn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dqn_cli.agent.normalization import Normalization
from dqn_cli.arrays import tensor
from dqn_cli.checking.number_findings import LARGE_OBSERVATION, LARGE_REWARD
from dqn_cli.replay.batches import stored_observations
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings

SAMPLE = 256  # newest observations that are looked at


def scale_warnings(settings: Settings, run: Run) -> Iterator[str]:
    """Yield a warning for each part of the observations, and for rewards, that is large."""
    env, spaces, stream = settings.env, run.envs.spaces, run.stream
    if env.normalize is Normalization.none:
        newest = stream.newest(-(-SAMPLE // stream.envs))
        obs = stored_observations(stream, newest)
        values = tensor(obs).cpu().numpy()
        rows = values.reshape(-1, sum(part.size for part in spaces.parts))  # [rows, elements]
        for part, elements in zip(spaces.parts, spaces.part_slices, strict=True):
            largest = float(np.abs(rows[:, elements]).max())
            if part.can_be_normalized and largest > LARGE_OBSERVATION:
                what = f"part {part.name} of observations has" if part.name else "observations have"
                yield (
                    f"warning: {what} numbers as large as {largest:,.0f}, and networks learn from"
                    " numbers near 1: use env.normalize=running"
                )
    largest = float(np.abs(stream.reward).max()) * env.reward_scale
    if largest > LARGE_REWARD and not env.preprocess.clip_rewards:
        yield (
            f"warning: rewards are as large as {largest:,.0f}, and networks learn values near 1:"
            f" use env.reward_scale={env.reward_scale / largest:.0e}"
        )
