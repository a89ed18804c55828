"""Calls of explorations and target rules, which are not functions of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Exploration
from dqn_cli.agent.target_networks import TargetNetwork
from dqn_cli.arrays import Array
from dqn_cli.part_checking.calls import smaller
from dqn_cli.text import error_text
from dqn_cli.training.build_replay import merge_parts

END = Clock(1000, 500, 50)  # steps, updates, episodes
TIMES = (Clock(0, 0, 0), Clock(1, 0, 0), Clock(500, 250, 25), END, Clock(2000, 1000, 100))
ENVS, ACTIONS, NUMBERS = 3, 4, 5


def check_exploration(exploration: Exploration) -> Iterator[str]:
    """Yield what is wrong with an exploration."""
    for time in TIMES:
        try:
            epsilon = np.asarray(exploration.epsilon(time, END, ENVS), float)
        except Exception as error:  # the user's code may raise anything
            yield f"epsilon raised {error_text(error)} after {time.steps} steps of {END.steps}"
            return
        if epsilon.shape not in ((), (ENVS,)):
            shape = list(epsilon.shape)
            yield f"epsilon returns shape {shape}, and must return a number or one for each of envs"
            return
        if not bool(((epsilon >= 0) & (epsilon <= 1)).all()):
            yield f"epsilon is {epsilon.tolist()} after {time.steps} steps, and must be 0 to 1"
            return
    yield from _check_preferred([exploration, smaller(exploration)])


def check_target(target: TargetNetwork) -> Iterator[str]:
    """Yield what is wrong with a rule for the target network."""
    for before, now in pairwise(TIMES):
        try:
            coefficient = target.polyak_coefficient(before, now)
        except Exception as error:  # the user's code may raise anything
            yield f"polyak_coefficient raised {error_text(error)}"
            return
        if not isinstance(coefficient, (int, float)) or not 0 <= coefficient <= 1:
            yield f"polyak_coefficient returns {coefficient!r}, and must return a number, 0 to 1"
            return


def _check_preferred(members: Sequence[Exploration]) -> Iterator[str]:
    """Yield what is wrong with the choice of actions, of members side by side and alone."""
    random = np.random.default_rng(0)
    q = random.normal(size=(len(members), ENVS, ACTIONS)).astype(np.float32)
    q[:, 1, q[0, 1].argmax()] = -np.inf  # illegal
    q[:, 2, 1:] = -np.inf  # one is legal
    obs = random.random((len(members), ENVS, NUMBERS)).astype(np.float32)
    draws = random.random(q.shape[:-1])
    for uniform in (np.zeros_like(draws), draws, np.full_like(draws, 0.999)):
        given = q.copy()
        try:
            together = np.asarray(merge_parts(members).preferred(given, uniform, obs))
            alone = [
                own.preferred(q[i].copy(), uniform[i], obs[i]) for i, own in enumerate(members)
            ]
        except Exception as error:  # the user's code may raise anything
            shape = "[members, envs, actions] or one member's"
            yield f"preferred raised {error_text(error)} for q {shape}"
            return
        problem = _misfit(together, q)
        if problem is None and not np.array_equal(given, q):
            problem = "changes q in place"
        if problem is None and not np.array_equal(together, np.stack(alone)):
            problem = "chooses other actions for members side by side than for each alone"
        if problem is not None:
            yield f"preferred {problem}"
            return


def _misfit(action: Array, q: Array) -> str | None:
    if action.shape != q.shape[:-1] or action.dtype.kind not in "iu":
        right = f"whole numbers {list(q.shape[:-1])}"
        return f"returns {action.dtype} {list(action.shape)}, and must return {right}"
    is_known = (action >= 0) & (action < q.shape[-1])
    legal = np.take_along_axis(q, np.where(is_known, action, 0)[..., None], -1)[..., 0]
    if not bool((is_known & np.isfinite(legal)).all()):
        return "chooses illegal actions, whose q is -inf"
    return None
