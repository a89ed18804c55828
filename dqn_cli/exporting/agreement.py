"""Comparison of an exported policy with its checkpoint, on real observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dqn_cli.arrays import Array
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.observations import Observations
from dqn_cli.exporting.programs import Runner

# Largest difference of action values, as a share of the row's largest value or 1. A program in
# float64 may hold single constants in float32.
TOLERANCES = {"float32": 1e-4, "float64": 1e-6}
SINGLE, TOGETHER = 8, 128  # observations that are tried alone, and length of the other batches


class Difference(ValueError):
    """An exported policy that differs from its checkpoint."""


class Agreement(NamedTuple):
    """How well an exported policy agrees with its checkpoint."""

    observations: int
    ties: int  # other actions, of values that differ by no more than rounding
    largest: float  # difference of action values


def compare(
    name: str, run: Runner, policy: ExportedPolicy, observations: Observations
) -> Agreement:
    """Run an exported policy on batches of several lengths and compare it with its checkpoint.

    Args:
        name: Of its file.
        run: Runs it.
        policy: The module that it was made of.
        observations: What the checkpoint makes of some observations.

    Raises:
        Difference: An action, an action value or a state differs.
    """
    inputs = _inputs(policy, observations)
    rows = len(observations.obs)
    batches = [run([values[part] for values in inputs]) for part in _parts(rows)]
    action, q, *states = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    tolerance = TOLERANCES[str(observations.q.dtype)]
    scale = np.maximum(1, np.abs(observations.q).max(1))
    differences = np.abs(q - observations.q).max(1)
    _check(name, "Q-values", differences, tolerance * scale)
    if states:
        change = np.abs(states[0] - observations.next_state).max(1)
        _check(name, "next_state", change, np.full(rows, tolerance))
    ties = _ties(name, action, policy, observations, tolerance * scale)
    return Agreement(rows, ties, float(differences.max()))


def _inputs(policy: ExportedPolicy, observations: Observations) -> list[Array]:
    inputs = policy.observations.decoded(observations.obs)
    if policy.has_mask:
        inputs.append(observations.mask)
    if policy.model.state_size:
        inputs.append(observations.state)
    return inputs


def _parts(rows: int) -> Iterator[slice]:
    """Yield slices of one observation, then of several."""
    single = min(SINGLE, rows)
    for start in range(single):
        yield slice(start, start + 1)
    for start in range(single, rows, TOGETHER):
        yield slice(start, start + TOGETHER)


def _check(name: str, what: str, differences: Array, limits: Array) -> None:
    wrong = np.flatnonzero(~(differences <= limits))  # NaN is wrong, too
    if len(wrong):
        raise Difference(
            f"{name} differs from the checkpoint: {what} by {differences[wrong].max():.2g}, more"
            f" than {limits[wrong[0]]:.2g}, at {_places(wrong, differences)}: it was not written"
        )


def _ties(
    name: str,
    action: Array,
    policy: ExportedPolicy,
    observations: Observations,
    limits: Array,
) -> int:
    """Return the number of other actions that are as good, up to rounding."""
    q = np.where(observations.mask, observations.q, -np.inf)
    every = policy.decoded(torch.arange(q.shape[1])).numpy()  # [actions, *shape]
    right = every[observations.action]
    axes = tuple(range(1, action.ndim))
    other = np.flatnonzero((action != right).any(axes) if axes else action != right)
    for row in other.tolist():
        (index,) = np.flatnonzero([np.array_equal(action[row], numbers) for numbers in every])[:1]
        lost = q[row].max() - q[row, index]
        if not lost <= 2 * limits[row]:
            raise Difference(
                f"{name} differs from the checkpoint: action {action[row].tolist()} instead of"
                f" {right[row].tolist()} at {_places(other, action)}: it was not written"
            )
    return len(other)


def _places(rows: Array, all_rows: Sequence[float] | Array) -> str:
    return f"{len(rows):,} of {len(all_rows):,} observations, first number {rows[0]}"
