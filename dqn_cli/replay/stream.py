"""The stream: everything that environments emitted, stored once and in order.

Each environment has a ring of slots. Slot t holds obs_t, action_t, reward_t+1, terminated_t+1 and
truncated_t+1. An episode's last observation has a slot of its own, which begins no transition; the
next episode's first observation follows it. A slot holds only the newest of stacked frames. Batches
are computed from the slots when they are sampled (batches.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.replay import ring_writer


class EnvStep(NamedTuple):
    """Result of one action in each environment; leading axes [members, envs].

    `final_obs` is the observation that the action led to, also where the episode ended. `obs` is
    the observation to act on next. It is the same array, unless an episode ended: then it has the
    first observation of the next one. Where a life is `lost` the episode goes on, but the learner
    takes it for terminated. `info` has the scalars that are logged, and NaN where there is none.

    Some vector environments begin an episode in a step of its own, which is not a transition: there
    `is_reset`, and one step earlier the observation to act on is the final one.
    """

    reward: Array
    terminated: Array
    truncated: Array
    lost: Array
    final_obs: Array
    final_mask: Array
    obs: Array
    mask: Array
    info: Mapping[str, Array] = {}
    is_reset: Array | None = None

    @property
    def ended(self) -> Array:
        """True where the action was an episode's last, [members, envs]."""
        return np.asarray(self.terminated | self.truncated)


class StreamStorage(NamedTuple):
    """Arrays or tensors of a stream."""

    obs: Values  # [rings, slots, *shape], without an axis of stacked frames
    numbers: Values  # [rings, slots, n]: elements of flattened observations that follow their bytes
    state: Values  # [rings, slots, state]
    mask: Values  # [rings, slots, actions], or [rings, slots, 0] if all are always legal
    action: Values  # [rings, slots], as are the four below
    reward: Values
    terminated: Values  # the episode terminated here, or a life was lost
    truncated: Values
    begins: Values  # True where the slot begins a transition
    queue: Values  # [rings, capacity], slots of the transitions that can be sampled
    first: Values  # [rings], position of the oldest in the queue, counted from the run's start
    size: Values  # [rings], transitions that can be sampled


class Indices(NamedTuple):
    """First slots of samples, [members, batch]: ring, and slot counted from the run's start."""

    ring: Values
    slot: Values


def nth_oldest(storage: StreamStorage, ring: Values, nth: Values) -> Values:
    """Return the position in its queue of each ring's nth oldest transition, [members, batch]."""
    return (storage.first[ring] + nth) % storage.queue.shape[1]


class Stream:
    """A ring for each environment; a member's rings hold up to `capacity` transitions together.

    An episode's last observation takes a slot too, so short episodes leave space for fewer. A
    transition can be sampled once `window` slots follow it: n for n-step returns, more for
    sequences.
    """

    # Attributes in a checkpoint: contents of the rings, and positions in each ring.
    _contents = (
        "obs",
        "numbers",
        "state",
        "mask",
        "action",
        "reward",
        "terminated",
        "truncated",
        "begins",
    )
    _positions = ("queue", "first", "count", "head")

    def __init__(
        self,
        capacity: int,
        obs: Array,
        mask: Array,
        masked: bool,
        state_size: int,
        window: int,
        frames: int = 0,
        byte_size: int = 0,
        dtype: str | None = None,
        device: str = "cpu",
    ) -> None:
        """Create the rings and store the first observations.

        Args:
            capacity: Transitions of a member.
            obs: First observations, [members, envs, *shape].
            mask: Legal actions there, [members, envs, actions].
            masked: True if masks are stored; otherwise all actions are always legal.
            state_size: Length of a recurrent state; each slot keeps the state before obs_t.
            window: Slots that must follow a transition before it can be sampled.
            frames: Length of the first axis of `shape` if that has frames, newest last; else 0.
            byte_size: Number of leading elements of a flattened frame that are bytes; they are
                stored apart from the others.
            dtype: Type of the rewards; None: that of the observations, or float32 for bytes.
            device: Device of the observations; they are a tensor unless it is the CPU.
        """
        self.members, self.envs, self.actions = mask.shape
        self.masked, self.window, self.frames = masked, window, frames
        self.capacity = -(-capacity // self.envs)  # transitions of one ring
        self.before = max(frames - 1, 0)  # earlier slots that an observation needs
        # A window follows the newest transition, and an episode's end takes one more slot.
        self.slots = self.capacity + self.window + 1 + self.before
        rings = self.members * self.envs
        shape = (rings, self.slots)
        frame_shape = obs.shape[3 if frames else 2 :]
        self.splits_at = byte_size if obs.dtype.kind == "f" else 0
        self.obs: Values = np.zeros(shape + frame_shape, obs.dtype)
        self.numbers: Values = np.zeros((*shape, 0), obs.dtype)
        if self.splits_at:
            self.obs = np.zeros((*shape, byte_size), np.uint8)
            self.numbers = np.zeros((*shape, frame_shape[-1] - byte_size), obs.dtype)
        if device != "cpu":
            self.obs, self.numbers = (tensor(x).to(device) for x in (self.obs, self.numbers))
        self.state = np.zeros((*shape, state_size), np.float32)
        self.mask = np.zeros((*shape, self.actions if masked else 0), bool)
        self.action = np.zeros(shape, np.uint8 if self.actions <= 256 else np.int32)
        self.reward = np.zeros(shape, dtype or (obs.dtype if obs.dtype.kind == "f" else "float32"))
        self.terminated = np.zeros(shape, bool)
        self.truncated = np.zeros(shape, bool)
        self.begins = np.zeros(shape, bool)
        # A queue for each ring: the slots of transitions that can be sampled.
        self.queue = np.zeros((rings, self.capacity), np.int64)
        self.first = np.zeros(rings, np.int64)
        self.count = np.zeros(rings, np.int64)
        self.head = np.zeros(rings, np.int64)  # the newest slot, which has only obs so far
        self.appends = 0  # calls of `append`
        self.storage = StreamStorage(
            obs=self.obs,
            numbers=self.numbers,
            state=self.state,
            mask=self.mask,
            action=self.action,
            reward=self.reward,
            terminated=self.terminated,
            truncated=self.truncated,
            begins=self.begins,
            queue=self.queue,
            first=self.first,
            size=self.count,
        )
        rows = zip(obs.reshape(rings, *obs.shape[2:]), mask.reshape(rings, -1), strict=True)
        for ring, (row, legal) in enumerate(rows):
            ring_writer.write_obs(self, ring, 0, row, legal)

    @property
    def nbytes(self) -> int:
        """Memory of all rings, in bytes."""
        return sum(getattr(self, name).nbytes for name in self._contents + self._positions)

    @property
    def sizes(self) -> Array:
        """Number of transitions that can be sampled from each ring, [members, envs]."""
        return self.count.reshape(self.members, self.envs)  # [members, envs]

    def append(self, action: Array, step: EnvStep, state: Array | None = None) -> None:
        """Store a step of the environments.

        Args:
            action: Actions taken on the newest observations, [members, envs].
            step: Their result.
            state: Recurrent state to act on `step.obs` with, [members, envs, state_size].
        """
        self.appends += 1
        ring_writer.append(self, action, step, state)

    def begin_episode(self, member: int, env: int, obs: Array, mask: Array) -> None:
        """Begin an episode in a ring whose running episode can't go on, and is truncated.

        Args:
            member: Member of the ring.
            env: Environment of the ring.
            obs: First observation, [*shape].
            mask: Legal actions there, [actions].
        """
        ring_writer.begin_episode(self, member * self.envs + env, obs, mask)

    def newest(self, count: int) -> Indices:
        """Return the slots of the latest observations, at most `count` of each environment."""
        back = np.arange(min(count, int(self.head.min()) + 1, self.slots - self.before))
        slot = self.head[:, None] - back  # [rings, count]
        ring = np.broadcast_to(np.arange(self.head.size)[:, None], slot.shape)
        return Indices(*(each.reshape(self.members, -1) for each in (ring, slot)))

    def rings_of(self, member: int) -> slice:
        """Return the rings of a member."""
        return slice(member * self.envs, (member + 1) * self.envs)

    def contents(self, member: int) -> dict[str, Values]:
        """Return views of a member's rings, without slots that were never written."""
        rings = self.rings_of(member)
        used = int(min(self.head[rings].max() + 1, self.slots))
        contents = {name: getattr(self, name)[rings, :used] for name in self._contents}
        positions = {name: getattr(self, name)[rings] for name in self._positions}
        return contents | positions | {"appends": np.array(self.appends)}

    def load(self, contents: Mapping[str, Values], member: int) -> None:
        """Restore the `contents` of a member of a stream of the same shape."""
        rings = self.rings_of(member)
        self.begins[rings] = False  # also in slots that the contents don't have
        for name in self._contents:
            own, values = getattr(self, name), contents[name]
            own[rings, : values.shape[1]] = (
                values if isinstance(own, np.ndarray) else tensor(values)
            )
        for name in self._positions:
            getattr(self, name)[rings] = contents[name]
        self.appends = int(contents["appends"])

    def check_valid(self) -> None:
        """Raise AssertionError if a sample could be incomplete, overwritten or no transition."""
        for ring in range(self.head.size):
            order = (self.first[ring] + np.arange(self.count[ring])) % self.capacity
            slots = self.queue[ring, order]
            assert (np.diff(slots) > 0).all(), "the queue is in order"
            oldest = slots - self.before
            assert (oldest > self.head[ring] - self.slots).all(), "nothing sampled is overwritten"
            assert (slots <= self.head[ring] - self.window).all(), "every window is complete"
            assert self.begins[ring, slots % self.slots].all(), "only transitions are sampled"
