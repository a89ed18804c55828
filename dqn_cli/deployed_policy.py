"""A trained policy outside of training: observations and actions as the environment has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from dqn_cli.arrays import Array
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.contract import misfit
from dqn_cli.envs.masks import KEY
from dqn_cli.envs.observation_encoder import Channels, ObservationEncoder
from dqn_cli.envs.space_adapter import restore_space
from dqn_cli.evaluation.greedy_policy import GreedyPolicy


class Policy:
    """A greedy policy, returned by `load_policy`.

    It takes observations as the environment gives them, one or several at once as a vector
    environment does, and returns actions as the environment takes them. Stacks of frames are made
    here: give it each observation of an episode, and call `reset` when one begins. A recurrent
    policy needs the same.
    """

    def __init__(
        self,
        policy: GreedyPolicy,
        drop: Sequence[str] = (),
        channels: Channels = Channels.auto,
    ) -> None:
        """Restore the environment's own spaces; `drop` and `channels` are those of training."""
        self._policy, self._spaces = policy, policy.model.spaces
        actions = self._spaces.actions
        self._starts: Array | None = None  # rows in which an episode begins; None for all
        self._frames = np.zeros((0, *self._spaces.observation_shape))
        own = self._spaces.own_observations
        self._own_space = restore_space(own) if own else None
        self._encode: Callable[[Any], Array] = np.asarray
        if self._own_space is not None:
            self._encode = ObservationEncoder(self._own_space, drop, channels)
        own = self._spaces.own_actions
        self._action_space = restore_space(own) if own else None
        self._decoder = ActionDecoder(self._action_space or gymnasium.spaces.Discrete(actions))

    def reset(self, ended: Any = None) -> None:
        """Begin a new episode; of several at once, only where `ended` [n] is True."""
        if ended is None:
            self._starts = None
        elif self._starts is not None:  # else an episode begins in every row anyway
            self._starts = self._starts | np.asarray(ended, bool)

    def __call__(self, observation: Any, action_mask: Any = None) -> Any:
        """Return the best legal action in the form that the environment takes.

        Args:
            observation: One observation of the environment, or n of them, each part [n, *shape].
            action_mask: Legal actions as the environment gives them, [actions] or [n, actions];
                None takes the mask in a Dict observation, or allows all.

        Raises:
            ValueError: The observation differs from those in training.
        """
        observation, action_mask = self._without_mask(observation, action_mask)
        rows, is_single = self._rows(observation)
        count = len(rows)
        remembers = self._policy.model.state_size or self._spaces.frames
        known = self._starts if remembers else None
        starts = np.ones(count, bool) if known is None else known
        if len(starts) != count:
            raise ValueError(f"there are {count} observations, and there were {len(starts)} before")
        mask = np.ones((count, self._spaces.actions), bool)
        if action_mask is not None:
            masks = [action_mask] if is_single else action_mask
            joint = [self._decoder.joint_mask(row) for row in masks]
            mask = np.array(joint, bool).reshape(mask.shape)  # [n, actions]
        indices = self._policy(self._stacked(rows, starts), mask, starts)
        self._starts = np.zeros(count, bool)
        return self._decoded(indices, is_single)

    def _without_mask(self, observation: Any, action_mask: Any) -> tuple[Any, Any]:
        space = self._own_space
        is_part = isinstance(space, gymnasium.spaces.Dict) and KEY in space.spaces
        if not isinstance(observation, dict) or KEY not in observation or is_part:
            return observation, action_mask
        mask = observation[KEY] if action_mask is None else action_mask
        parts = {key: part for key, part in observation.items() if key != KEY}
        return parts, mask

    def _rows(self, observation: Any) -> tuple[Array, bool]:
        """Return observations or frames [n, *shape], and whether it was a single one."""
        space, shape = self._own_space, self._spaces.observation_shape
        reason = misfit(space, observation) if space is not None else "has another shape"
        if space is not None and reason is None:
            return self._encode(observation)[None], True
        # This comes before arrays: n choices are n observations, not one that is one-hot.
        if space is not None and not self._spaces.frames:
            count = _count(observation)
            batch = batch_space(space, count) if count else None
            if batch is not None and misfit(batch, observation) is None:
                rows = list(iterate(batch, observation))
                reason = next(filter(None, (misfit(space, row) for row in rows)), None)
                if reason is None:
                    return np.stack([self._encode(row) for row in rows]), False  # [n, *shape]
        # Parts in one array might be in another order.
        is_array = len(self._spaces.parts) == 1 and not isinstance(observation, (dict, tuple))
        array = np.asarray(observation) if is_array else np.zeros(())
        if is_array and shape in (array.shape, array.shape[1:]):
            bytes_space = gymnasium.spaces.Box(0, 255, array.shape, np.uint8)
            reason = misfit(bytes_space, array) if self._spaces.parts[0].is_bytes else None
            if reason is None:
                is_single = array.shape == shape
                return array[None] if is_single else array, is_single
        raise ValueError(f"the observation {reason}; this policy takes {self._spaces}")

    def _stacked(self, rows: Array, starts: Array) -> Array:
        """Return observations [n, *shape]; frames follow those before."""
        dtype = np.dtype(str(self._policy.parameters.dtype).removeprefix("torch."))
        rows = rows.astype(dtype)
        if not self._spaces.frames or rows.shape[1:] == self._spaces.observation_shape:
            return rows
        if len(self._frames) != len(rows):
            self._frames = np.zeros((len(rows), *self._spaces.observation_shape))
        self._frames[starts] = 0
        self._frames = np.concatenate([self._frames[:, 1:], rows[:, None]], 1)
        return self._frames.astype(dtype)

    def _decoded(self, indices: Array, is_single: bool) -> Any:
        actions, space = [self._decoder(int(index)) for index in indices], self._action_space
        if is_single:
            return actions[0]
        if space is None:
            return indices
        out: Any = create_empty_array(space, len(actions))
        return concatenate(space, actions, out)


def _count(observation: Any) -> int:
    """Return how many observations there are at once; 0 if that can't be told."""
    if isinstance(observation, (dict, tuple)):
        parts = observation.values() if isinstance(observation, dict) else observation
        return next(filter(None, map(_count, parts)), 0)  # text has no count
    return len(observation) if np.ndim(observation) else 0
