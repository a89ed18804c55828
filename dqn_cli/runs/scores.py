"""Scores of a policy, and the comparison that decides which policy is checkpoints/best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.atari_scores import human_normalised_score
from dqn_cli.evaluation.info_means import InfoSummary
from dqn_cli.evaluation.statistics import summarize

EVALUATION = "evaluation"
TRAINING = "training"
RECENT = 100  # training episodes in rolling means, as in Stable-Baselines3


def score_summary(
    env_id: str, step: int, returns: Sequence[float] | Array, info: InfoSummary, by: str
) -> dict[str, Any]:
    """Return the statistics of returns [episodes] at a step, as `best` and `final` have them.

    Args:
        env_id: Id of the environment.
        step: Step of the policy.
        returns: Returns of its episodes.
        info: Means of scalars in `info`.
        by: EVALUATION or TRAINING.
    """
    scores = summarize(returns)
    summary = {"step": step, "episodes": len(returns), **scores._asdict(), "by": by}
    summary["info"] = info
    human_normalised = human_normalised_score(env_id, scores.mean)
    return summary | ({} if human_normalised is None else {"human_normalised": human_normalised})


def is_best(returns: Sequence[float] | Array, by: str, best: Mapping[str, Any] | None) -> bool:
    """Return True if returns are at least as good as the best summary so far.

    The means of training and evaluation can't be compared: one of the other kind is replaced. So is
    a mean of fewer than RECENT training episodes, because a lucky episode would stay the best.
    """
    if best is None or best.get("by", EVALUATION) != by:
        return True
    has_few_episodes = by == TRAINING and best["episodes"] < RECENT
    return has_few_episodes or bool(np.mean(returns) >= best["mean"])
