"""Views of the stream: transitions and sequences, put together when they are sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array
from dqn_cli.replay.stream import Indices, Stream

# A batch of what begins at the indices, with importance weights [members, batch], gamma [members].
View: TypeAlias = Callable[[Stream, Indices, Array, Array], Batch | Sequences]


def transitions(stream: Stream, indices: Indices, weight: Array, gamma: Array) -> Batch:
    """The transitions at `indices` [members, batch] over n steps, with gamma [members]."""
    row = indices.ring * stream.slots
    here = row + indices.slot % stream.slots
    reward, discount, steps = _returns(stream, row, indices.slot, gamma)
    there = row + (indices.slot + steps) % stream.slots
    return Batch(
        obs=stream.observations(here),
        action=_actions(stream, here),
        mask=stream.masks(here),
        reward=_real(stream, reward),
        discount=_real(stream, discount),
        next_obs=stream.observations(there),
        next_mask=stream.masks(there),
        weight=_real(stream, weight),
    )


def sequences(
    stream: Stream, indices: Indices, weight: Array, gamma: Array, burn_in: int, length: int
) -> Sequences:
    """The `burn_in + length` slots from `indices` [members, batch] on, and n more observations.

    They run on through the ends of episodes. A slot that holds an episode's last observation has
    weight 0; the others' weights are scaled so that each step of the batch counts the same.
    """
    first = indices.slot[..., None]  # [members, batch, 1]
    row = indices.ring[..., None] * stream.slots
    time = row + (first + np.arange(burn_in + length + stream.n_step)) % stream.slots
    slot = first + np.arange(burn_in, burn_in + length)
    reward, discount, ahead = _returns(stream, row, slot, gamma)
    here = row + slot % stream.slots
    begins = stream.begins.take(here)
    counted = begins * (begins[0].size / np.maximum(begins.sum((1, 2), keepdims=True), 1))
    starts = ~stream.begins.take(row + (time - row - 1) % stream.slots)
    starts[..., 0] = False  # the stored state is already that of the first slot
    state = stream.state.reshape(-1, stream.state.shape[2])  # [rings * slots, state]
    return Sequences(
        obs=stream.observations(time),
        state=torch.from_numpy(state.take(time[..., 0], axis=0)),
        starts=torch.from_numpy(starts),
        action=_actions(stream, here),
        mask=stream.masks(here),
        reward=_real(stream, reward),
        discount=_real(stream, discount),
        ahead=torch.from_numpy(ahead),
        next_mask=stream.masks(row + (slot + ahead) % stream.slots),
        weight=_real(stream, weight[..., None] * counted),
    )


def _returns(stream: Stream, row: Array, slot: Array, gamma: Array) -> tuple[Array, Array, Array]:
    """Sum of n rewards, discount and number of steps from each slot [members, ...] on.

    Rewards are summed up to the episode's end at the latest. Truncation ends the sum and keeps the
    discount, termination makes it 0.
    """
    gamma = gamma.reshape(-1, *[1] * (slot.ndim - 1))
    at = row + slot % stream.slots
    terminated = stream.terminated.take(at)
    reward, discount = stream.reward.take(at).astype(np.float64), gamma * ~terminated
    steps = np.ones_like(slot)
    for k in range(1, stream.n_step):
        lasts = ~(terminated | stream.truncated.take(at)) & (steps == k)
        at = row + (slot + k) % stream.slots
        terminated = stream.terminated.take(at)
        reward += np.where(lasts, discount * stream.reward.take(at), 0)
        discount = np.where(lasts, discount * gamma * ~terminated, discount)
        steps += lasts
    return reward, discount, steps


def _actions(stream: Stream, at: Array) -> Tensor:
    return torch.from_numpy(stream.action.take(at).astype(np.int64))


def _real(stream: Stream, values: Array) -> Tensor:
    return torch.from_numpy(values.astype(stream.reward.dtype))
