"""The stream: what each environment emitted, stored once, in the order in which it came.

Each environment has a ring of slots. Slot t holds obs_t and what followed it: action_t, reward_t+1,
terminated_t+1, truncated_t+1. An episode's last observation has a slot of its own, which begins no
transition; the next episode's first observation follows it. What batches hold is computed from
these slots when sampling (views.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.arrays import Array


class Step(NamedTuple):
    """What the environments answered to one action each; leading axes [members, envs].

    `final_obs` is what the action led to, also where the episode ended; `obs` is what to act on
    next: the same, or the first observation of a new episode.
    """

    reward: Array
    terminated: Array
    truncated: Array
    final_obs: Array
    final_mask: Array
    obs: Array
    mask: Array

    @property
    def ended(self) -> Array:
        """Where the action was an episode's last."""
        return np.asarray(self.terminated | self.truncated)


class Indices(NamedTuple):
    """Where sampled transitions begin, [members, batch]: the ring, and the slot counted from 0."""

    ring: Array
    slot: Array


class Stream:
    """One ring for each environment; a member's rings hold up to `capacity` transitions together.

    An episode's last observation takes a slot too, so short episodes leave room for fewer. A
    transition can be sampled once `window` slots follow it: n for n-step returns, more for
    sequences.
    """

    # What a checkpoint keeps: the rings' contents, and where each ring stands.
    _contents = ("obs", "state", "mask", "action", "reward", "terminated", "truncated", "begins")
    _positions = ("queue", "first", "count", "head")

    def __init__(
        self,
        capacity: int,
        n_step: int,
        obs: Array,
        mask: Array,
        masked: bool,
        state_size: int = 0,
        window: int | None = None,
    ) -> None:
        """Starts with observations [members, envs, *shape] and masks [members, envs, actions].

        Masks are stored only if `masked`; otherwise all actions are always legal. `state_size` is
        that of a recurrent network's state, which each slot keeps as it was before obs_t.
        """
        self.members, self.envs, self.actions = mask.shape
        self.n_step, self.masked = n_step, masked
        self.window = n_step if window is None else window
        self.capacity = -(-capacity // self.envs)  # transitions in one ring
        # A window follows the newest transition, and an episode's end takes one more slot.
        self.slots = self.capacity + self.window + 1
        rings = self.members * self.envs
        shape = (rings, self.slots)
        self.obs = np.zeros(shape + obs.shape[2:], obs.dtype)
        self.state = np.zeros((*shape, state_size), np.float32)
        self.mask = np.zeros((*shape, self.actions if masked else 0), bool)
        self.action = np.zeros(shape, np.min_scalar_type(self.actions))
        self.reward = np.zeros(shape, np.float64 if obs.dtype == np.float64 else np.float32)
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.begins = np.zeros(shape, bool)
        # A queue for each ring: the slots that begin a transition whose n steps are known.
        self.queue = np.zeros((rings, self.capacity), np.int64)
        self.first = np.zeros(rings, np.int64)
        self.count = np.zeros(rings, np.int64)
        self.head = np.zeros(rings, np.int64)  # the newest slot, of which only obs is known
        self.appends = 0  # how often it was appended to
        self._rings = np.arange(rings)
        self._all_legal = torch.ones(1, dtype=torch.bool)
        self._write_obs(self._rings, obs, mask)

    @property
    def nbytes(self) -> int:
        """Memory of all rings, in bytes."""
        return sum(getattr(self, name).nbytes for name in self._contents + self._positions)

    @property
    def sizes(self) -> Array:
        """How many transitions can be sampled from each ring, [members, envs]."""
        return self.count.reshape(self.members, self.envs)

    def append(self, action: Array, step: Step, state: Array | None = None) -> None:
        """Stores what followed the newest observations when `action` [members, envs] was taken.

        `state` [members, envs, state_size] is the recurrent state to act on `step.obs` with.
        """
        self.appends += 1
        at = self.head % self.slots
        self.action[self._rings, at] = action.reshape(-1)
        self.reward[self._rings, at] = step.reward.reshape(-1)
        self.terminated[self._rings, at] = step.terminated.reshape(-1)
        self.truncated[self._rings, at] = step.truncated.reshape(-1)
        self.begins[self._rings, at] = True
        self._advance(self._rings, step.final_obs, step.final_mask)
        ended = np.flatnonzero(step.ended)
        if ended.size:
            self._advance(ended, step.obs, step.mask)
        if state is not None:
            at = self.head % self.slots
            self.state[self._rings, at] = state.reshape(self._rings.size, -1)

    def locate(self, ring: Array, nth: Array) -> Indices:
        """The `nth` oldest transition of each ring; both [members, batch]."""
        return Indices(ring, self.queue[ring, (self.first[ring] + nth) % self.capacity])

    def newest(self, count: int) -> Array:
        """The latest observations, [members, at most count per environment, *shape]."""
        back = np.arange(min(count, int(self.head.min()) + 1, self.slots))
        at = self._rings[:, None] * self.slots + (self.head[:, None] - back) % self.slots
        flat = self.obs.reshape(-1, *self.obs.shape[2:])  # [rings * slots, *shape]
        return np.asarray(flat.take(at.reshape(self.members, -1), axis=0))

    def observations(self, at: Array) -> Tensor:
        """Observations [..., *shape] in slots [...], which are counted through all rings."""
        flat = self.obs.reshape(-1, *self.obs.shape[2:])  # [rings * slots, *shape]
        return torch.from_numpy(flat.take(at, axis=0))

    def masks(self, at: Array) -> Tensor:
        """What is legal, [..., actions], in slots [...], which are counted through all rings."""
        if not self.masked:
            return self._all_legal.expand(*at.shape, self.actions)
        return torch.from_numpy(self.mask.reshape(-1, self.actions).take(at, axis=0))

    def contents(self) -> dict[str, Array]:
        """Views of everything in the rings; slots that were never written are left out."""
        used = int(min(self.head.max() + 1, self.slots))
        contents = {name: getattr(self, name)[:, :used] for name in self._contents}
        return contents | {name: getattr(self, name) for name in self._positions}

    def load(self, state: Mapping[str, Array]) -> None:
        """Goes on from the `contents()` of a stream of the same shape."""
        for name in self._contents:
            getattr(self, name)[:, : state[name].shape[1]] = state[name]
        for name in self._positions:
            getattr(self, name)[:] = state[name]

    def check_valid(self) -> None:
        """AssertionError if what is sampled could be unfinished, overwritten or no transition."""
        for ring in self._rings:
            order = (self.first[ring] + np.arange(self.count[ring])) % self.capacity
            slots = self.queue[ring, order]
            assert (np.diff(slots) > 0).all(), "the queue is in order"
            assert (slots > self.head[ring] - self.slots).all(), "nothing sampled is overwritten"
            assert (slots <= self.head[ring] - self.window).all(), "every window is complete"
            assert self.begins[ring, slots % self.slots].all(), "only transitions are sampled"

    def _advance(self, rings: Array, obs: Array, mask: Array) -> None:
        self.head[rings] += 1
        self._write_obs(rings, obs, mask)
        self._drop(rings[self._oldest(rings) <= self.head[rings] - self.slots])
        complete = self.head[rings] - self.window
        pushed = (complete >= 0) & self.begins[rings, complete % self.slots]
        self._push(rings[pushed], complete[pushed])

    def _write_obs(self, rings: Array, obs: Array, mask: Array) -> None:
        at = self.head[rings] % self.slots
        self.begins[rings, at] = False
        self.obs[rings, at] = obs.reshape(self._rings.size, *obs.shape[2:])[rings]
        if self.masked:
            self.mask[rings, at] = mask.reshape(self._rings.size, self.actions)[rings]

    def _oldest(self, rings: Array) -> Array:
        oldest = self.queue[rings, self.first[rings] % self.capacity]
        return np.where(self.count[rings] > 0, oldest, self.head[rings])

    def _drop(self, rings: Array) -> None:
        self.first[rings] += 1
        self.count[rings] -= 1

    def _push(self, rings: Array, slots: Array) -> None:
        self._drop(rings[self.count[rings] == self.capacity])
        self.queue[rings, (self.first[rings] + self.count[rings]) % self.capacity] = slots
        self.count[rings] += 1
