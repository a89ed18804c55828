"""Writing to the rings of a replay stream, one ring at a time or all at once.

Both ways write the same. With few rings, writing numbers is faster than writing arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import as_tensor

from dqn_cli.arrays import Array, Values

if TYPE_CHECKING:
    from dqn_cli.replay.stream import EnvStep, Stream

MANY_RINGS = 16  # from this number on, arrays are faster


def append(stream: Stream, action: Array, step: EnvStep, state: Array | None) -> None:
    """Store a step of the environments, see `Stream.append`."""
    if stream.members * stream.envs < MANY_RINGS:
        _append_each(stream, action, step, state)
    else:
        _append_rows(stream, action, step, state)


def _append_each(stream: Stream, action: Array, step: EnvStep, state: Array | None) -> None:
    """Store a step in one ring after the other."""
    for ring in range(stream.members * stream.envs):
        env = divmod(ring, stream.envs)
        if step.is_reset is not None and step.is_reset[env]:
            at = int(stream.head[ring]) % stream.slots
            write_obs(stream, ring, at, step.obs[env], step.mask[env])
        else:
            at = int(stream.head[ring]) % stream.slots
            terminated, truncated = step.terminated[env], step.truncated[env]
            stream.action[ring, at] = action[env]
            stream.reward[ring, at] = step.reward[env]
            stream.terminated[ring, at] = terminated or step.lost[env]
            stream.truncated[ring, at] = truncated
            stream.begins[ring, at] = True
            advance(stream, ring, step.final_obs[env], step.final_mask[env])
            if terminated or truncated:
                advance(stream, ring, step.obs[env], step.mask[env])
        if state is not None:
            stream.state[ring, int(stream.head[ring]) % stream.slots] = state[env]


def _append_rows(stream: Stream, action: Array, step: EnvStep, state: Array | None) -> None:
    """Store a step in all rings at once."""
    rings = np.arange(stream.members * stream.envs)
    acting = rings
    if step.is_reset is not None:
        resets = _rows(step.is_reset)
        begun, acting = rings[resets], rings[~resets]
        at = stream.head[begun] % stream.slots
        _write_rows(stream, begun, at, _rows(step.obs)[begun], _rows(step.mask)[begun])
    at = stream.head[acting] % stream.slots
    terminated, truncated = _rows(step.terminated)[acting], _rows(step.truncated)[acting]
    stream.action[acting, at] = action.ravel()[acting]
    stream.reward[acting, at] = _rows(step.reward)[acting]
    stream.terminated[acting, at] = terminated | _rows(step.lost)[acting]
    stream.truncated[acting, at] = truncated
    stream.begins[acting, at] = True
    _advance_rows(stream, acting, step.final_obs, step.final_mask)
    ended = acting[terminated | truncated]
    if ended.size:
        _advance_rows(stream, ended, step.obs, step.mask)
    if state is not None and state.size:
        stream.state[rings, stream.head % stream.slots] = _rows(state)


def begin_episode(stream: Stream, ring: int, obs: Array, mask: Array) -> None:
    """Truncate a ring's running episode and begin another, see `Stream.begin_episode`."""
    head = int(stream.head[ring])
    if head and stream.begins[ring, (head - 1) % stream.slots]:
        stream.truncated[ring, (head - 1) % stream.slots] = True
        advance(stream, ring, obs, mask)
    else:  # the running episode has no transition yet
        write_obs(stream, ring, head % stream.slots, obs, mask)
    stream.state[ring, int(stream.head[ring]) % stream.slots] = 0


def advance(stream: Stream, ring: int, obs: Array, mask: Array) -> None:
    """Store the next observation of a ring, and queue the transition whose window is complete."""
    head = int(stream.head[ring]) + 1
    stream.head[ring] = head
    write_obs(stream, ring, head % stream.slots, obs, mask)
    first, count = int(stream.first[ring]), int(stream.count[ring])
    oldest = head - stream.slots + stream.before
    if count and stream.queue[ring, first % stream.capacity] <= oldest:
        first, count = first + 1, count - 1
    complete = head - stream.window
    if complete >= 0 and stream.begins[ring, complete % stream.slots]:
        if count == stream.capacity:
            first, count = first + 1, count - 1
        stream.queue[ring, (first + count) % stream.capacity] = complete
        count += 1
    stream.first[ring], stream.count[ring] = first, count


def write_obs(stream: Stream, ring: int, at: int, obs: Array, mask: Array) -> None:
    """Write an observation [*shape] and its legal actions [actions] into a slot."""
    stream.begins[ring, at] = False
    newest = obs[-1] if stream.frames else obs
    if stream.splits_at:
        numbers, newest = newest[stream.splits_at :], newest[: stream.splits_at]
        stream.numbers[ring, at] = _placed(stream, numbers)
    stream.obs[ring, at] = _placed(stream, newest)
    if stream.masked:
        stream.mask[ring, at] = mask


def _advance_rows(stream: Stream, rings: Array, obs: Array, mask: Array) -> None:
    """Do in some rings what `advance` does; obs and mask are of all, [members, envs, ...]."""
    head = stream.head[rings] + 1
    stream.head[rings] = head
    _write_rows(stream, rings, head % stream.slots, _rows(obs)[rings], _rows(mask)[rings])
    first, count = stream.first[rings], stream.count[rings]
    oldest = head - stream.slots + stream.before
    lost = (count > 0) & (stream.queue[rings, first % stream.capacity] <= oldest)
    first, count = first + lost, count - lost
    complete = head - stream.window
    queued = (complete >= 0) & stream.begins[rings, complete % stream.slots]
    lost = queued & (count == stream.capacity)
    first, count = first + lost, count - lost
    place = (first + count) % stream.capacity
    stream.queue[rings[queued], place[queued]] = complete[queued]
    stream.first[rings], stream.count[rings] = first, count + queued


def _write_rows(stream: Stream, rings: Array, at: Array, obs: Array, mask: Array) -> None:
    """Do in some rings what `write_obs` does, with [rings, ...] each."""
    stream.begins[rings, at] = False
    write_frames(stream, rings, at, obs[:, -1] if stream.frames else obs, mask)


def write_frames(stream: Stream, rings: Array, at: Array, frames: Array, mask: Array) -> None:
    """Write single frames [n, *shape] and legal actions [n, actions] into slots of rings, [n]."""
    if stream.splits_at:
        numbers, frames = frames[:, stream.splits_at :], frames[:, : stream.splits_at]
        _put(stream.numbers, rings, at, numbers)
    _put(stream.obs, rings, at, frames)
    if stream.masked:
        stream.mask[rings, at] = mask


def _rows(values: Array) -> Array:
    """Return values [members, envs, ...] as [rings, ...]."""
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])  # [rings, ...]


def _placed(stream: Stream, values: Array) -> Values:
    return values if isinstance(stream.obs, np.ndarray) else as_tensor(values)


def _put(storage: Values, rings: Array, at: Array, values: Array) -> None:
    if isinstance(storage, np.ndarray):
        storage[rings, at] = values
    else:
        storage[as_tensor(rings), as_tensor(at)] = as_tensor(values).to(storage)
