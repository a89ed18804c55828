"""New episodes in a resumed run, where environments could not be restored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.training.loop import Run, act, current_epsilon, draw_heads
from dqn_cli.training.randomness import RandomStreams
from dqn_cli.training.settings import Settings


def begin_new_episodes(
    settings: Sequence[Settings], run: Run, trackers: Sequence[MetricsTracker]
) -> str | None:
    """Begin an episode in each environment that left its snapshot.

    The episode that was running is cut in the replay stream and forgotten by the trackers. Members
    with such an environment are no longer exact; all others go on to the same bits.

    Args:
        settings: Settings of each member.
        run: The run, with all else restored.
        trackers: Metrics of each member.

    Returns:
        A line for the user, or None if every environment was restored.
    """
    reasons = run.envs.not_restored
    if not reasons:
        return None
    restarted = np.zeros(run.action.shape, bool)  # [members, envs]
    restarted.flat[list(reasons)] = True
    for member, env in np.argwhere(restarted).tolist():
        obs, mask = run.envs.obs[member, env], run.envs.mask[member, env]
        run.stream.begin_episode(member, env, obs, mask)
        trackers[member].forget_episode(env)
        run.exact[member] = False
    _choose_anew(settings, run, restarted)
    begun = "it begins a new episode"
    if restarted.size > 1:
        begun = f"{len(reasons)} of {restarted.size} copies begin a new episode"
    reason = next(iter(reasons.values()))
    return f"env={settings[0].env.id} {reason}; {begun}, and the result is marked as not exact"


def _choose_anew(settings: Sequence[Settings], run: Run, restarted: Array) -> None:
    """Choose the next actions of environments that were `restarted`, [members, envs]."""
    action, state, random = run.action, run.state, run.random
    # The other members' random streams must not move on, nor each restart draw the same numbers.
    seeds = [member.seed + now.steps for member, now in zip(settings, run.clocks, strict=True)]
    run.random = RandomStreams.of(seeds)
    draw_heads(run, restarted)
    run.state = np.where(restarted[..., None], 0, state)
    chosen = act(settings[0], run, current_epsilon(settings, run))
    run.random = random
    run.action = np.where(restarted, chosen, action)
    run.state = np.where(restarted[..., None], run.state, state)
