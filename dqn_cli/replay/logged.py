"""Logged transitions, and rings of a stream that are filled with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.replay import ring_writer
from dqn_cli.replay.stream import Stream


class Transitions(NamedTuple):
    """Whole episodes, one after the other; the last row of each is terminated or truncated.

    Observations are single frames, encoded as an environment's adapted space has them.
    """

    obs: Array  # [rows, *frame_shape]
    action: Array  # [rows], int64
    reward: Array  # [rows], as the environment gave it
    terminated: Array  # [rows], as are the two below
    truncated: Array
    lost: Array  # a life was lost: the episode goes on, and the return ends
    mask: Array  # [rows, actions], bool: legal at obs
    last_obs: Array  # [episodes, *frame_shape], that the last actions led to
    last_mask: Array  # [episodes, actions]

    @property
    def ends(self) -> Array:
        """True for the last row of each episode, [rows]."""
        return np.asarray(self.terminated | self.truncated)

    @property
    def rows(self) -> int:
        """Number of transitions."""
        return len(self.action)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.last_obs)

    @property
    def returns(self) -> Array:
        """Undiscounted return of each episode, [episodes]."""
        sums = self.reward.astype(float).cumsum()[self.ends]
        return np.diff(sums, prepend=0)

    @property
    def slots(self) -> int:
        """Slots of a ring that they take: an episode's last observation has one of its own."""
        return self.rows + self.episodes

    def split(self, parts: int) -> list[Transitions]:
        """Return parts of whole episodes, as equal in length as consecutive episodes can be."""
        ends = np.flatnonzero(self.ends) + 1  # rows until the end of each episode
        shares = self.rows * np.arange(1, parts) / parts
        cuts = np.searchsorted(ends, shares, "right").tolist()  # episodes
        bounds = zip([0, *cuts], [*cuts, self.episodes], strict=True)
        return [self._between(ends, first, last) for first, last in bounds]

    def _between(self, ends: Array, first: int, last: int) -> Transitions:
        """Return the episodes from `first` to before `last`."""
        starts = np.concatenate([[0], ends])
        rows, episodes = slice(starts[first], starts[last]), slice(first, last)
        of_rows = [values[rows] for values in self[:-2]]
        of_episodes = [values[episodes] for values in self[-2:]]
        return Transitions(*of_rows, *of_episodes)


def hold_data(stream: Stream, data: Transitions) -> None:
    """Fill an empty stream of one ring for each member with the data, once for each of them.

    Every transition can be sampled: empty slots follow the last episode.
    """
    for ring in range(stream.members):
        _fill_ring(stream, ring, data)
        stream.head[ring] = data.slots - 2 + stream.window
        _queue(stream, ring)


def put_first(stream: Stream, data: Transitions) -> None:
    """Put data in front of the first observations of a stream that has stored nothing else.

    The episodes of a member's data are shared between its environments.

    Raises:
        ValueError: They don't fit into it.
    """
    parts = data.split(stream.envs)
    most = max(part.slots for part in parts)
    if most > stream.capacity:
        needed = most * stream.envs
        raise ValueError(
            f"data has {data.rows} transitions, and replay.capacity={stream.capacity * stream.envs}"
            f" does not hold them: use replay.capacity={needed} or more, or data.keep=true"
        )
    for ring in range(stream.members * stream.envs):
        part = parts[ring % stream.envs]
        for values in (stream.obs, stream.numbers, stream.mask):
            values[ring, part.slots] = values[ring, 0]
        _fill_ring(stream, ring, part)
        stream.head[ring] = part.slots
        _queue(stream, ring)


def _fill_ring(stream: Stream, ring: int, data: Transitions) -> None:
    """Write data into the first slots of a ring."""
    ends, rows = data.ends, np.arange(data.rows)
    at = rows + ends.cumsum() - ends  # slot of each row
    last = at[ends] + 1  # slot of the last observation of each episode
    stream.action[ring, at] = data.action
    stream.reward[ring, at] = data.reward
    stream.terminated[ring, at] = data.terminated | data.lost
    stream.truncated[ring, at] = data.truncated
    stream.begins[ring, at] = True
    stream.begins[ring, last] = False
    ring_writer.write_frames(stream, np.full(data.rows, ring), at, data.obs, data.mask)
    rings = np.full(data.episodes, ring)
    ring_writer.write_frames(stream, rings, last, data.last_obs, data.last_mask)


def _queue(stream: Stream, ring: int) -> None:
    """Queue all transitions of a ring whose windows are complete."""
    complete = np.flatnonzero(stream.begins[ring, : int(stream.head[ring]) + 1 - stream.window])
    stream.queue[ring, : complete.size] = complete
    stream.first[ring], stream.count[ring] = 0, complete.size
