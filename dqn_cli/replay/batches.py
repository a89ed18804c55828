"""Batches: transitions and sequences, computed from the stream's storage when they are sampled.

The functions work on NumPy arrays and on tensors alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from dqn_cli.agent.batch import Batch, Following, Sequences
from dqn_cli.arrays import Values, array_namespace, cast, tensor
from dqn_cli.replay.stream import Indices, Stream, StreamStorage


class BatchSpec(NamedTuple):
    """Contents of a batch: transitions, or sequences if `length` is not 0."""

    n_step: int  # rewards summed in a return
    actions: int
    frames: int  # stacked in an observation; 0: observations have no axis of time
    clip_rewards: bool  # to [-1, 1], each before it is summed
    reward_scale: float = 1  # factor of each reward, before it is clipped
    burn_in: int = 0  # steps of a sequence before those that are learned from
    length: int = 0  # steps of a sequence that are learned from; 0: transitions
    logged: bool = False  # the stream's transitions were read from data
    starts: bool = False  # transitions say whether they begin an episode
    anneals: bool = False  # returns may have fewer rewards, as many as the storage says
    following: int = 0  # steps after a transition that auxiliary parts read

    @property
    def evaluations(self) -> int:
        """Observations that the online network evaluates for each sample."""
        return self.length + self.n_step if self.length else 1

    @property
    def window(self) -> int:
        """Slots of the stream that must follow a sample's first one."""
        steps = max(self.n_step, self.following)
        return steps + (self.burn_in + self.length - 1 if self.length else 0)


def build_batch(
    storage: StreamStorage,
    indices: Indices,
    weight: Values,
    gamma: Values,
    spec: BatchSpec,
    n_step: Values | None = None,
) -> Batch | Sequences:
    """Build the batch that begins at `indices`.

    Args:
        storage: The stream's storage.
        indices: First slot of each sample, [members, batch].
        weight: Importance weights, [members, batch].
        gamma: Discount of each member, [members].
        spec: What the batch holds.
        n_step: Rewards in a return of each member, [members]; None: as `spec` says.
    """
    if spec.length:
        return sequences(storage, indices, weight, gamma, spec, n_step)
    return transitions(storage, indices, weight, gamma, spec, n_step)


def transitions(
    storage: StreamStorage,
    indices: Indices,
    weight: Values,
    gamma: Values,
    spec: BatchSpec,
    n_step: Values | None = None,
) -> Batch:
    """Build the n-step transitions that begin at `indices` [members, batch]."""
    slots, real = storage.action.shape[1], storage.reward.dtype
    row = indices.ring * slots
    at_obs = row + indices.slot % slots
    reward, discount, steps = _n_step_returns(storage, row, indices.slot, gamma, spec, n_step)
    at_next_obs = row + (indices.slot + steps) % slots
    mask = _legal(storage, at_obs, spec.actions)
    batch = Batch(
        obs=observations(storage, indices.ring, indices.slot, spec.frames),
        action=cast(_at(storage.action, at_obs), "int64"),
        mask=mask,
        reward=cast(reward, real),
        discount=cast(discount, real),
        next_obs=observations(storage, indices.ring, indices.slot + steps, spec.frames),
        next_mask=_legal(storage, at_next_obs, spec.actions) if storage.mask.shape[2] else mask,
        weight=cast(weight, real),
        logged=_flags(spec.logged, weight, mask.dtype),
        starts=_starts(storage, row, indices.slot, spec),
    )
    return Batch(*map(tensor, batch))


def sequences(
    storage: StreamStorage,
    indices: Indices,
    weight: Values,
    gamma: Values,
    spec: BatchSpec,
    n_step: Values | None = None,
) -> Sequences:
    """Build the sequences of `burn_in + length + n_step` slots from `indices` [members, batch] on.

    They run through the ends of episodes. A slot that holds an episode's last observation has
    weight 0. The weights of the others are scaled so that all steps of a batch count the same.
    """
    arange, real = array_namespace(storage.action).arange, storage.reward.dtype
    slots = storage.action.shape[1]
    first = indices.slot[..., None]  # [members, batch, 1]
    row = indices.ring[..., None] * slots
    all_slots = first + arange(spec.burn_in + spec.length + spec.n_step)
    at_all = row + all_slots % slots
    learned = first + arange(spec.burn_in, spec.burn_in + spec.length)
    reward, discount, ahead = _n_step_returns(storage, row, learned, gamma, spec, n_step)
    at_learned = row + learned % slots
    begins = _at(storage.begins, at_learned)
    counted = cast(begins.sum((1, 2)), "float64").clip(1)[:, None, None]
    slots_of_member = begins.shape[1] * begins.shape[2]
    slot_weight = begins * slots_of_member / counted
    starts = ~_at(storage.begins, row + (at_all - row - 1) % slots)
    # The stored state of the first slot is already that of a new episode, if one begins there.
    starts = starts & (arange(at_all.shape[2]) > 0)
    batch = Sequences(
        obs=observations(storage, indices.ring[..., None], all_slots, spec.frames),
        state=_at(storage.state, at_all[..., 0]),
        starts=starts,
        action=cast(_at(storage.action, at_learned), "int64"),
        mask=_legal(storage, at_learned, spec.actions),
        reward=cast(reward, real),
        discount=cast(discount, real),
        ahead=ahead,
        next_mask=_legal(storage, row + (learned + ahead) % slots, spec.actions),
        weight=cast(weight[..., None] * slot_weight, real),
        logged=_flags(spec.logged, begins, begins.dtype),
    )
    return Sequences(*map(tensor, batch))


def what_follows(storage: StreamStorage, indices: Indices, spec: BatchSpec) -> Following:
    """Build what comes after the transitions that begin at `indices` [members, batch].

    An episode's last observation is within it, and nothing after that.
    """
    slots, arange = storage.action.shape[1], array_namespace(storage.action).arange
    ring, first = indices.ring[..., None], indices.slot[..., None]
    acting = first + arange(spec.following)  # [members, batch, steps]
    begins = _at(storage.begins, ring * slots + acting % slots)
    following = Following(
        obs=observations(storage, ring, acting + 1, spec.frames),
        action=cast(_at(storage.action, ring * slots + acting % slots), "int64"),
        within=begins.cumprod(-1) != 0,
    )
    return Following(*map(tensor, following))


def stored_observations(stream: Stream, indices: Indices) -> Values:
    """Return the observations in slots [members, n] of a stream, [members, n, *shape]."""
    return observations(stream.storage, indices.ring, indices.slot, stream.frames)


def observations(storage: StreamStorage, ring: Values, slot: Values, frames: int) -> Values:
    """Return the observations in slots [...] of rings [...], with `frames` stacked unless 0.

    A stack reaches back to the episode's first slot at most; earlier frames are zeros.
    """
    slots = storage.action.shape[1]
    if not frames:
        return _observations_at(storage, ring * slots + slot % slots)
    back = array_namespace(slot).arange(frames - 1, -1, -1)
    at = ring[..., None] * slots + (slot[..., None] - back) % slots  # [..., frames]
    seen = _observations_at(storage, at)
    # A slot that begins no transition holds an episode's last observation, or nothing yet.
    within = _at(storage.begins, at) | (back == 0)
    flip = array_namespace(slot).flip
    absent = flip(flip(within, (-1,)).cumprod(-1), (-1,)) == 0
    if isinstance(seen, Tensor):
        absent, ones = tensor(absent).to(seen.device), [1] * (seen.dim() - absent.ndim)
        return seen.masked_fill(absent.view(*absent.shape, *ones), 0)  # [..., frames, 1, ...]
    seen[absent] = 0
    return seen


def _n_step_returns(
    storage: StreamStorage,
    row: Values,
    slot: Values,
    gamma: Values,
    spec: BatchSpec,
    n_step: Values | None,
) -> tuple[Values, Values, Values]:
    """Return n-step returns from each slot [members, ...] on: reward, discount, number of steps.

    The sum of rewards ends with the episode. Truncation keeps the discount, termination makes it 0.
    Reward and discount are float64.
    """
    where, slots = array_namespace(slot).where, storage.action.shape[1]
    of_members = (-1, *[1] * (slot.ndim - 1))  # [members, 1, ...]
    gamma = gamma.reshape(of_members)
    at = row + slot % slots
    terminated = _at(storage.terminated, at)
    reward, discount = _reward(storage, at, spec), gamma * ~terminated
    steps = array_namespace(slot).ones_like(slot)
    for k in range(1, spec.n_step):
        continues = ~(terminated | _at(storage.truncated, at)) & (steps == k)
        if n_step is not None:
            continues = continues & (k < n_step.reshape(of_members))
        at = row + (slot + k) % slots
        terminated = _at(storage.terminated, at)
        reward = reward + where(continues, discount * _reward(storage, at, spec), 0)
        discount = where(continues, discount * gamma * ~terminated, discount)
        steps = steps + continues
    return reward, discount, steps


def _reward(storage: StreamStorage, at: Values, spec: BatchSpec) -> Values:
    reward = cast(_at(storage.reward, at), "float64")
    if spec.reward_scale != 1:
        reward = reward * spec.reward_scale
    return reward.clip(-1, 1) if spec.clip_rewards else reward


def _observations_at(storage: StreamStorage, slots: Values) -> Values:
    """Return the frames [..., *shape] in slots [...], numbered through all rings."""
    obs = _at(storage.obs, slots)
    if not storage.numbers.shape[2]:
        return obs
    numbers = _at(storage.numbers, slots)
    return array_namespace(numbers).concatenate([cast(obs, numbers.dtype), numbers], -1)


def _starts(storage: StreamStorage, row: Values, slot: Values, spec: BatchSpec) -> Values:
    """Return whether an episode begins in each slot [members, batch]."""
    if not spec.starts:
        return _flags(False, slot, storage.begins.dtype)
    return ~_at(storage.begins, row + (slot - 1) % storage.action.shape[1])


def _flags(flag: bool, like: Values, dtype: Any) -> Values:
    """Return the flag for each of `like`."""
    on = array_namespace(like)
    return (on.ones if flag else on.zeros)(like.shape, dtype=dtype)


def _at(values: Values, slots: Values) -> Values:
    """Return values [..., *shape] of slots [...], which are numbered through all rings."""
    flat = values.reshape(-1, *values.shape[2:])  # [rings * slots, *shape]
    if not isinstance(values, Tensor):
        return flat.take(slots, axis=0)
    slots = tensor(slots)
    rows = flat.index_select(0, slots.flatten().to(flat.device))
    return rows.view(*slots.shape, *flat.shape[1:])  # [..., *shape]


def _legal(storage: StreamStorage, at: Values, actions: int) -> Values:
    """Return legal actions [..., actions] of slots [...], numbered through all rings."""
    if storage.mask.shape[2] == 0:
        return array_namespace(at).ones((*at.shape, actions), dtype=storage.mask.dtype)
    return _at(storage.mask, at)
