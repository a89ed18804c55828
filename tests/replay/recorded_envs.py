"""Environments that record what they emit, and helpers that compare replay with the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, repeat
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.replay.batches import BatchSpec, observations, sequences, transitions
from dqn_cli.replay.samplers import Draw, Replay, ReplayStorage, Sampler, Samples
from dqn_cli.replay.stream import EnvStep, Indices, Stream, StreamStorage, nth_oldest

ACTIONS, STATE, FRAME = 3, 2, 2
IN_TENSORS = "cpu:0"  # a device where observations are kept as a tensor, which every machine has
Input = TypeVar("Input")
Kind = TypeVar("Kind", Batch, Sequences, Batch | Sequences)


class Fate(NamedTuple):
    """Ends that an action causes."""

    terminated: bool = False
    truncated: bool = False
    lost: bool = False


class Taken(NamedTuple):
    """The action of a slot, and its result."""

    action: int
    reward: float
    terminated: bool
    truncated: bool
    lost: bool

    @property
    def ends_episode(self) -> bool:
        return self.terminated or self.truncated

    @property
    def ends_life(self) -> bool:
        """True if the learner takes later rewards for 0."""
        return self.terminated or self.lost


@dataclass
class Slot:
    """One observation as it was emitted; `taken` is None for an episode's last and the newest."""

    obs: Array
    mask: Array
    state: Array
    starts: bool
    taken: Taken | None = None


@dataclass
class RecordedEnv:
    """Emits frames that never repeat, or stacks of them; `fates` says what each action ends."""

    ring: int
    random: np.random.Generator
    masked: bool
    fates: Iterator[Fate]
    frames: int = 0
    slots: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._emit(starts=True, state=np.zeros(STATE, np.float32))

    def step(self, action: int) -> Slot:
        """Fills the newest slot, and returns the slot of the next observation."""
        fate = next(self.fates)
        taken = Taken(action, float(self.random.normal()), *fate)
        self.slots[-1].taken = taken
        final = self._emit(starts=False)
        if taken.ends_episode:
            self._emit(starts=True)
        return final

    def restart(self) -> Slot:
        """Cuts the running episode; the newest slot is its last one, unless it is its first."""
        last = self.slots[-2].taken if len(self.slots) > 1 else None
        if last is None:
            self.slots.pop()
        else:
            self.slots[-2].taken = last._replace(truncated=True)
        slot = self._emit(starts=True, state=np.zeros(STATE, np.float32))
        newest = slot.obs[-1] if self.frames else slot.obs
        newest[1] += 0.5  # no other has this number
        return slot

    def begins(self, place: int) -> Taken:
        taken = self.slots[place].taken
        assert taken is not None
        return taken

    def reachable(self, stream: Stream) -> list[int]:
        """Slots that begin a transition, are followed by a window, and are not yet overwritten."""
        newest = len(self.slots) - 1
        oldest = max(newest - stream.capacity - stream.window, 0)
        places = range(oldest, newest - stream.window + 1)
        return [place for place in places if self.slots[place].taken][-stream.capacity :]

    def steps(self, place: int, n_step: int) -> list[Taken]:
        """The transition in a slot and those after it, n or up to the end of episode or life."""
        steps = [self.begins(place)]
        while len(steps) < n_step and not (steps[-1].ends_episode or steps[-1].ends_life):
            steps.append(self.begins(place + len(steps)))
        return steps

    def _emit(self, starts: bool, state: Array | None = None) -> Slot:
        count = len(self.slots)
        obs = np.array([self.ring, count + 1], np.float64)
        if self.frames:
            before = np.zeros((self.frames, FRAME)) if starts else self.slots[-1].obs
            obs = np.concatenate([before[1:], obs[None]])
        mask = np.ones(ACTIONS, bool)
        if self.masked:
            mask = self.random.random(ACTIONS) < 0.5
            mask[self.random.integers(ACTIONS)] = True
        if state is None:
            state = self.random.normal(size=STATE).astype(np.float32)
        self.slots.append(Slot(obs, mask, state, starts))
        return self.slots[-1]


Envs = list[list[RecordedEnv]]  # [members][envs]


def by_chance(random: np.random.Generator, end: float, lost: float) -> Iterator[Fate]:
    """Sometimes several at once."""
    while True:
        yield Fate(*(random.random(3) < [end, end, lost]).tolist())


def after_stretches(stretches: Sequence[tuple[int, Fate]]) -> Iterator[Fate]:
    """Each after so many steps, again and again."""
    for length, fate in cycle(stretches):
        yield from repeat(Fate(), length - 1)
        yield fate


def recorded_envs(
    seed: int,
    members: int,
    envs: int,
    masked: bool = False,
    end_chance: float = 0.0,
    lost_chance: float = 0.0,
    frames: int = 0,
) -> Envs:
    def env(ring: int) -> RecordedEnv:
        random = np.random.default_rng([seed, ring])
        fates = by_chance(random, end_chance, lost_chance)
        return RecordedEnv(ring, random, masked, fates, frames)

    return [[env(member * envs + nth) for nth in range(envs)] for member in range(members)]


def of_slots(envs: Envs, value: Callable[[Slot], Any]) -> Array:
    """A value of each environment's newest slot, [members, envs, ...]."""
    return np.array([[value(env.slots[-1]) for env in row] for row in envs])


def stream_of(
    envs: Envs, capacity: int, window: int = 1, masked: bool = False, device: str = "cpu"
) -> Stream:
    obs, mask = of_slots(envs, lambda slot: slot.obs), of_slots(envs, lambda slot: slot.mask)
    return Stream(
        capacity,
        obs,
        mask,
        masked,
        STATE,
        window,
        envs[0][0].frames,
        dtype=str(obs.dtype),
        device=device,
    )


def step_all(
    envs: Envs, stream: Stream, random: np.random.Generator, count: int = 1, *others: Stream
) -> None:
    """Steps that the stream stores, as the `others` do."""
    for _ in range(count):
        action = random.integers(ACTIONS, size=(len(envs), len(envs[0])))
        before = [[env.slots[-1] for env in row] for row in envs]
        finals = [
            [env.step(int(taken)) for env, taken in zip(*pair, strict=True)]
            for pair in zip(envs, action, strict=True)
        ]
        taken = [[slot.taken for slot in row] for row in before]
        step = EnvStep(
            *(np.array([[each[i] for each in row] for row in taken]) for i in (1, 2, 3, 4)),
            final_obs=np.array([[slot.obs for slot in row] for row in finals]),
            final_mask=np.array([[slot.mask for slot in row] for row in finals]),
            obs=of_slots(envs, lambda slot: slot.obs),
            mask=of_slots(envs, lambda slot: slot.mask),
        )
        for each in (stream, *others):
            each.append(action, step, of_slots(envs, lambda slot: slot.state))


def empty_stream(
    members: int,
    envs: int,
    capacity: int,
    window: int = 1,
    state_size: int = 0,
    frames: int = 0,
    device: str = "cpu",
) -> Stream:
    """Starts with observation 0, or with the frame 0."""
    mask = np.ones((members, envs, ACTIONS), bool)
    obs = np.zeros((members, envs, *[frames] * (frames > 0), 1))
    return Stream(
        capacity, obs, mask, False, state_size, window, frames, dtype="float64", device=device
    )


def append(
    stream: Stream,
    obs: float,
    terminated: bool = False,
    truncated: bool = False,
    reward: float = 0,
    lost: bool = False,
) -> None:
    """One step of every environment to `obs`; after an end the new episode begins with -obs.

    Only the newest frame of a stack is a number, because no other may be read.
    """
    shape = (stream.members, stream.envs)
    number = np.full(shape, float(reward))
    final: Array = np.full((*shape, 1), float(obs))
    if stream.frames:
        unseen = np.full((*shape, stream.frames - 1, 1), np.nan)
        final = np.concatenate([unseen, final[:, :, None]], axis=2)
    ends = np.full(shape, terminated), np.full(shape, truncated), np.full(shape, lost)
    mask = np.ones((*shape, ACTIONS), bool)
    then = -final if terminated or truncated else final
    stream.append(np.zeros(shape, np.int64), EnvStep(number, *ends, final, mask, then, mask))


def every_transition(stream: Stream) -> tuple[Array, Array]:
    """Ring and nth oldest of all transitions in full rings, [members, envs * capacity] each."""
    ring = np.arange(stream.members * stream.envs).repeat(stream.capacity)
    ring = ring.reshape(stream.members, -1)
    return ring, np.arange(ring.size).reshape(ring.shape) % stream.capacity


def starting_at(*slots: int) -> Indices:
    """These slots of the first ring."""
    return Indices(np.zeros((1, len(slots)), np.int64), np.array([slots]))


def as_they_are(values: Input) -> Input:
    return values


def as_tensors(values: Input) -> Input:
    """An array as a tensor on the same memory, or a tuple of such; None stays None."""
    if values is None:
        return values
    if not isinstance(values, tuple):
        return tensor(values)  # type: ignore[return-value]
    each = map(as_tensors, values)
    return type(values)(*each) if hasattr(values, "_fields") else type(values)(each)


def in_both_kinds(make: Callable[..., Kind], *inputs: Any) -> Kind:
    """The batch made of arrays, which is the same as the one made of tensors."""
    batch, other = make(*inputs), make(*as_tensors(inputs))
    # Powers of weights are rounded in two ways.
    np.testing.assert_allclose(batch.weight, other.weight, rtol=1e-12)
    assert same(batch, other._replace(weight=batch.weight))
    return batch


def located(stream: Stream, ring: Array, nth: Array) -> Indices:
    """Slots of each ring's nth oldest transitions, located in arrays as in tensors."""
    position = nth_oldest(stream.storage, ring, nth)
    other = nth_oldest(*as_tensors((stream.storage, ring, nth)))
    np.testing.assert_array_equal(position, other.numpy(), strict=True)
    return Indices(ring, stream.queue[ring, position])


def newest_of(stream: Stream, count: int) -> Array:
    """The latest observations, [members, at most count per environment, *shape]."""
    ring, slot = (each.copy() for each in stream.newest(count))
    inputs = (stream.storage, ring, slot)
    seen = observations(*inputs, stream.frames)
    assert identical(seen, observations(*as_tensors(inputs), stream.frames))
    return np.asarray(seen)


def transitions_spec(n_step: int = 1, frames: int = 0) -> BatchSpec:
    return BatchSpec(n_step, ACTIONS, frames, clip_rewards=False)


def sequences_spec(burn_in: int, length: int, n_step: int = 1, frames: int = 0) -> BatchSpec:
    return BatchSpec(n_step, ACTIONS, frames, False, burn_in=burn_in, length=length)


def transitions_of(
    stream: Stream,
    indices: Indices,
    weight: Array,
    gamma: Array,
    n_step: int = 1,
    clip_rewards: bool = False,
) -> Batch:
    spec = BatchSpec(n_step, stream.actions, stream.frames, clip_rewards)
    build = partial(transitions, spec=spec)
    return in_both_kinds(build, stream.storage, indices, weight, gamma)


def sequences_of(
    stream: Stream,
    indices: Indices,
    weight: Array,
    gamma: Array,
    burn_in: int,
    length: int,
    n_step: int = 1,
    clip_rewards: bool = False,
) -> Sequences:
    spec = BatchSpec(
        n_step, stream.actions, stream.frames, clip_rewards, burn_in=burn_in, length=length
    )
    build = partial(sequences, spec=spec)
    return in_both_kinds(build, stream.storage, indices, weight, gamma)


def batch_of(sampler: Sampler[Replay], draw: Draw) -> Batch | Sequences:
    """The batch of a draw; tensors make the same one."""
    return in_both_kinds(partial(sample_batch, sampler), sampler.storage, draw)


def sample_batch(sampler: Sampler[Replay], storage: ReplayStorage, draw: Draw) -> Batch | Sequences:
    return sampler.batch(storage, sampler.sample(storage, draw))


_latest_draw = WeakKeyDictionary[Sampler[Replay], Draw]()


def update_priorities(sampler: Sampler[Replay], loss: Array, td_error: Array) -> None:
    """Gives a sampler the errors of its latest batch; tensors get the same priorities as arrays."""
    errors = SampleErrors(loss, td_error)  # type: ignore[arg-type]
    samples, copied = latest_samples(sampler), as_tensors(deepcopy(sampler.storage))
    sampler.update_priorities(sampler.storage, samples, errors)
    sampler.update_priorities(copied, as_tensors(samples), as_tensors(errors))
    pairs = zip(leaves_of(sampler.storage.priorities), leaves_of(copied.priorities), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-12)


def latest_samples(sampler: Sampler[Replay]) -> Samples:
    return sampler.sample(sampler.storage, _latest_draw[sampler])


def leaves_of(values: Any) -> list[Values]:
    """All arrays of nested tuples."""
    if values is None:
        return []
    if not isinstance(values, tuple):
        return [values]
    return [leaf for value in values for leaf in leaves_of(value)]


Kept = list[tuple[dict[str, Values], dict[str, Array]]]


def kept_of(stream: Stream, sampler: Sampler[Replay] | None = None) -> Kept:
    """A copy of what checkpoints hold of each member: contents of its stream and its sampler."""
    members = range(stream.members)
    return [deepcopy((stream.contents(m), sampler.contents(m) if sampler else {})) for m in members]


def go_on_from(kept: Kept, stream: Stream, sampler: Sampler[Replay] | None = None) -> None:
    for member, (stored, known) in enumerate(kept):
        stream.load(stored, member)
        if sampler:
            sampler.load(known, member)


def same_contents(one: Kept, other: Kept) -> bool:
    """Whether they agree to the bit, and in their types."""
    return all(
        now.keys() == then.keys() and all(map(identical, now.values(), then.values()))
        for each in zip(one, other, strict=True)
        for now, then in zip(*each, strict=True)
    )


def identical(one: Values, other: Values) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def next_batch(
    sampler: Sampler[Replay], uniforms: Callable[..., Array], progress: float = 0.0
) -> Batch | Sequences:
    draw = _latest_draw[sampler] = sampler.draw(uniforms, [progress] * sampler.stream.members)
    return batch_of(sampler, draw)


def next_transitions(
    sampler: Sampler[Replay], uniforms: Callable[..., Array], progress: float = 0.0
) -> Batch:
    batch = next_batch(sampler, uniforms, progress)
    assert isinstance(batch, Batch)
    return batch


def arrays_of(stream: Stream) -> list[Array]:
    """The stream's own arrays, in the order of its storage."""
    return [getattr(stream, {"size": "count"}.get(name, name)) for name in StreamStorage._fields]


def same(one: Batch | Sequences, other: Batch | Sequences) -> bool:
    """Whether batches agree to the bit, and in their types."""
    return type(one) is type(other) and all(
        (a.dtype, a.shape) == (b.dtype, b.shape) and a.numpy().tobytes() == b.numpy().tobytes()
        for a, b in zip(one, other, strict=True)
    )


def numbers(random: np.random.Generator, members: int) -> Callable[..., Array]:
    """Uniform numbers of all members, from one generator."""
    return lambda *shape: random.random((members, *shape))
