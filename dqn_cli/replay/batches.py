"""Views of the stream: transitions and sequences, put together when they are sampled.

They work on arrays and on tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Values, cast, library, tensor
from dqn_cli.replay.stream import Indices, StreamStorage

# A batch of what begins at the indices, with importance weights [members, batch], gamma [members].
View: TypeAlias = Callable[[StreamStorage, Indices, Values, Values], Batch | Sequences]


class Look(NamedTuple):
    """What a batch is to hold of the stream."""

    n_step: int  # rewards summed in a return
    actions: int
    frames: int  # stacked in an observation; 0: it is one slot's, without an axis of time
    clip_rewards: bool  # to [-1, 1], each before it is summed


def transitions(
    stored: StreamStorage, indices: Indices, weight: Values, gamma: Values, look: Look
) -> Batch:
    """The transitions at `indices` [members, batch], with gamma [members]."""
    slots, real = stored.action.shape[1], stored.reward.dtype
    row = indices.ring * slots
    here = row + indices.slot % slots
    reward, discount, steps = _returns(stored, row, indices.slot, gamma, look)
    there = row + (indices.slot + steps) % slots
    mask = _legal(stored, here, look.actions)
    batch = Batch(
        obs=observations(stored, indices.ring, indices.slot, look.frames),
        action=cast(_at(stored.action, here), "int64"),
        mask=mask,
        reward=cast(reward, real),
        discount=cast(discount, real),
        next_obs=observations(stored, indices.ring, indices.slot + steps, look.frames),
        next_mask=_legal(stored, there, look.actions) if stored.mask.shape[2] else mask,
        weight=cast(weight, real),
    )
    return Batch(*map(tensor, batch))


def sequences(
    stored: StreamStorage,
    indices: Indices,
    weight: Values,
    gamma: Values,
    look: Look,
    burn_in: int,
    length: int,
) -> Sequences:
    """The `burn_in + length` slots from `indices` [members, batch] on, and n more observations.

    They run on through the ends of episodes. A slot that holds an episode's last observation has
    weight 0; the others' weights are scaled so that each step of the batch counts the same.
    """
    arange, real = library(stored.action).arange, stored.reward.dtype
    slots = stored.action.shape[1]
    first = indices.slot[..., None]  # [members, batch, 1]
    row = indices.ring[..., None] * slots
    times = first + arange(burn_in + length + look.n_step)
    time = row + times % slots
    slot = first + arange(burn_in, burn_in + length)
    reward, discount, ahead = _returns(stored, row, slot, gamma, look)
    here = row + slot % slots
    begins = _at(stored.begins, here)
    among = cast(begins.sum((1, 2)), "float64").clip(1)[:, None, None]
    of_each = begins.shape[1] * begins.shape[2]  # slots of a member's batch
    counted = begins * of_each / among
    starts = ~_at(stored.begins, row + (time - row - 1) % slots)
    # The stored state is already that of the first slot.
    starts = starts & (arange(time.shape[2]) > 0)
    sample = Sequences(
        obs=observations(stored, indices.ring[..., None], times, look.frames),
        state=_at(stored.state, time[..., 0]),
        starts=starts,
        action=cast(_at(stored.action, here), "int64"),
        mask=_legal(stored, here, look.actions),
        reward=cast(reward, real),
        discount=cast(discount, real),
        ahead=ahead,
        next_mask=_legal(stored, row + (slot + ahead) % slots, look.actions),
        weight=cast(weight[..., None] * counted, real),
    )
    return Sequences(*map(tensor, sample))


def observations(stored: StreamStorage, ring: Values, slot: Values, frames: int) -> Values:
    """What is seen in slots [...] of rings [...], [..., *shape] or [..., frames, *shape].

    A stack reaches back to the episode's first slot at most; the frames before are zeros.
    """
    slots = stored.action.shape[1]
    if not frames:
        return _at(stored.obs, ring * slots + slot % slots)
    back = library(slot).arange(frames - 1, -1, -1)
    at = ring[..., None] * slots + (slot[..., None] - back) % slots  # [..., frames]
    seen = _at(stored.obs, at)
    # A slot that begins no transition holds an episode's last observation, or nothing yet.
    within = _at(stored.begins, at) | (back == 0)
    flip = library(slot).flip
    absent = flip(flip(within, (-1,)).cumprod(-1), (-1,)) == 0
    if isinstance(seen, Tensor):
        absent, ones = tensor(absent).to(seen.device), [1] * (seen.dim() - absent.ndim)
        return seen.masked_fill(absent.view(*absent.shape, *ones), 0)  # [..., frames, 1, ...]
    seen[absent] = 0
    return seen


def _returns(
    stored: StreamStorage, row: Values, slot: Values, gamma: Values, look: Look
) -> tuple[Values, Values, Values]:
    """Sum of n rewards, discount and number of steps from each slot [members, ...] on, in float64.

    Rewards are summed up to the episode's end at the latest. Truncation ends the sum and keeps the
    discount, termination makes it 0.
    """
    where, slots = library(slot).where, stored.action.shape[1]
    gamma = gamma.reshape(-1, *[1] * (slot.ndim - 1))  # [members, 1, ...]
    at = row + slot % slots
    terminated = _at(stored.terminated, at)
    reward, discount = _reward(stored, at, look), gamma * ~terminated
    steps = library(slot).ones_like(slot)
    for k in range(1, look.n_step):
        lasts = ~(terminated | _at(stored.truncated, at)) & (steps == k)
        at = row + (slot + k) % slots
        terminated = _at(stored.terminated, at)
        reward = reward + where(lasts, discount * _reward(stored, at, look), 0)
        discount = where(lasts, discount * gamma * ~terminated, discount)
        steps = steps + lasts
    return reward, discount, steps


def _reward(stored: StreamStorage, at: Values, look: Look) -> Values:
    reward = cast(_at(stored.reward, at), "float64")
    return reward.clip(-1, 1) if look.clip_rewards else reward


def _at(values: Values, at: Values) -> Values:
    """Values [..., *shape] in slots [...], which are counted through all rings."""
    flat = values.reshape(-1, *values.shape[2:])  # [rings * slots, *shape]
    if not isinstance(values, Tensor):
        return flat.take(at, axis=0)
    at = tensor(at)
    rows = flat.index_select(0, at.flatten().to(flat.device))
    return rows.view(*at.shape, *flat.shape[1:])  # [..., *shape]


def _legal(stored: StreamStorage, at: Values, actions: int) -> Values:
    """What is legal, [..., actions], in slots [...], which are counted through all rings."""
    if stored.mask.shape[2] == 0:
        return library(at).ones((*at.shape, actions), dtype=stored.mask.dtype)
    return _at(stored.mask, at)
