"""Transitions from columns: checked against an environment, and encoded as it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.data.checks import flags, floats, require_rows, whole_numbers
from dqn_cli.data.columns import Column, Columns, DataError
from dqn_cli.data.observation_columns import encoded_observations
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.space_adapter import restore_space
from dqn_cli.replay.logged import Transitions


class Task(NamedTuple):
    """What data must fit: an environment as a run has it."""

    env: EnvConfig
    spaces: Spaces
    masked: bool  # the environment says which actions are legal
    dtype: str  # of observations, unless they are bytes, and of rewards


def transitions_of(columns: Columns, task: Task) -> Transitions:
    """Return the checked transitions of a file.

    Raises:
        DataError: They don't fit the environment, or are not whole episodes.
    """
    file = columns.file
    obs = encoded_observations(file, columns.observations, task)
    after = None
    if columns.next_observations:
        after = encoded_observations(file, columns.next_observations, task)
    terminated = flags(file, columns.terminations)
    truncated = flags(file, columns.truncations)
    ends = terminated | truncated
    if not ends[-1]:
        raise DataError(
            f"{file}: column {columns.truncations.name}, row {len(ends) - 1}: the last row ends no"
            " episode: mark it as truncated, or leave out the episode that has no end"
        )
    if after is not None:
        _check_order(columns, obs, after, ends)
    action = _actions(columns, task)
    mask, next_mask = _masks(columns, task, action)
    lost = np.zeros(ends.shape, bool)
    if columns.lives_lost is not None:
        lost = flags(file, columns.lives_lost)
    data = Transitions(
        obs=obs,
        action=action,
        reward=floats(file, columns.rewards, "float32" if task.dtype == "float32" else "float64"),
        terminated=terminated,
        truncated=truncated & ~terminated,
        lost=lost,
        mask=mask,
        last_obs=(obs if after is None else after)[ends],
        last_mask=next_mask[ends],
    )
    return data if after is not None else _without_unknown_ends(file, data)


def _check_order(columns: Columns, obs: Array, after: Array, ends: Array) -> None:
    """Check that each row begins where the one before it led to, unless an episode ended."""
    follows = (after[:-1] == obs[1:]).reshape(len(obs) - 1, -1).all(1) | ends[:-1]
    if not follows.all():
        row = int(np.argmin(follows))
        column = next(iter(columns.next_observations.values())).name
        raise DataError(
            f"{columns.file}: column {column}, row {row}: it is not the observation of row"
            f" {row + 1}, and no end is marked: rows must be in order, and an episode's last one"
            " terminated or truncated"
        )


def _without_unknown_ends(file: str, data: Transitions) -> Transitions:
    """Return the data where next observations are those of the next rows.

    What a truncated episode's last action led to is unknown: the row is left out, and its
    observation ends the episode.
    """
    keeps = ~data.truncated
    before = np.append(data.truncated[1:] & ~data.ends[:-1], False)  # is the last one that is kept
    last = np.flatnonzero(data.ends)
    lengths = np.diff(last, prepend=-1)
    has_rows = (lengths > 1) | data.terminated[last]  # of each episode
    if not has_rows.any():
        raise DataError(f"{file} has no transition: its episodes are single truncated rows")
    last = last[has_rows]
    cut = data._replace(truncated=data.truncated | before)
    own_mask = data.truncated[last, None]  # [episodes, 1]
    of_episodes = [data.obs[last], np.where(own_mask, data.mask[last], data.last_mask[has_rows])]
    return Transitions(*[values[keeps] for values in cut[:-2]], *of_episodes)


def _actions(columns: Columns, task: Task) -> Array:
    """Return actions 0 to n - 1, [rows]."""
    file, column, count = columns.file, columns.actions, task.spaces.actions
    values = column.values
    if values.ndim == 2 and values.shape[1] == 1:
        column = column._replace(values=values[:, 0])
    if columns.joint_actions or task.spaces.own_actions is None:
        _require_width(file, column, 1)
        return whole_numbers(file, column, 0, count - 1)
    decoder = ActionDecoder(restore_space(task.spaces.own_actions))
    low, high = decoder.bounds
    _require_width(file, column, len(low))
    if len(low) == 1:
        return decoder.indices(whole_numbers(file, column, low[0], high[0])[:, None])
    return decoder.indices(whole_numbers(file, column, low, high))


def _require_width(file: str, column: Column, width: int) -> None:
    own = 1 if column.values.ndim == 1 else column.values.shape[1:]
    if own not in (width, (width,)) or column.values.ndim > 2:
        what = "is a single number" if width == 1 else f"has {width} numbers"
        raise DataError(
            f"{file}: column {column.name} has rows of shape {list(column.values.shape[1:])}, and"
            f" an action {what}"
        )


def _masks(columns: Columns, task: Task, action: Array) -> tuple[Array, Array]:
    """Return which actions are legal before and after each row, [rows, actions]."""
    file, rows, actions = columns.file, len(action), task.spaces.actions
    everything = np.ones((rows, actions), bool)
    if columns.masks is None:
        if task.masked:
            raise DataError(
                f"{file}: column action_masks is missing, and env={task.env.id} has illegal actions"
            )
        return everything, everything
    mask = _mask(file, columns.masks, everything)
    if not task.masked and not mask.all():
        raise DataError(
            f"{file}: column {columns.masks.name} has illegal actions, and env={task.env.id} has"
            " none: see env.mask"
        )
    require_rows(np.asarray(mask.any(1)), file, columns.masks, "allows no action")
    is_legal = np.asarray(mask[np.arange(rows), action])
    require_rows(is_legal, file, columns.actions, f"is illegal by {columns.masks.name}")
    if columns.next_masks is None:
        return mask, everything
    after = _mask(file, columns.next_masks, everything)
    return mask, after | ~after.any(1, keepdims=True)  # after an end, none may be legal


def _mask(file: str, column: Column, like: Array) -> Array:
    if column.values.shape != like.shape:
        raise DataError(
            f"{file}: column {column.name} has rows of shape {list(column.values.shape[1:])}, and"
            f" there are {like.shape[1]} actions"
        )
    return flags(file, column)
