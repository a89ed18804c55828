"""Samplers: which stored transitions the next batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from dqn_cli.agent.agent import Surprise
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array, Values, cast, library
from dqn_cli.ranges import Count
from dqn_cli.replay.batches import View
from dqn_cli.replay.stream import Indices, Stream, StreamStorage, nth_oldest

# What a batch is drawn by, each [members, ...].
Drawn: TypeAlias = tuple[Values, ...]
# Numbers in [0, 1) of the given shape with a leading axis [members], each member's from its own.
Uniforms: TypeAlias = Callable[..., Array]
# Action values [members, n, actions] of observations [members, n, *shape].
ActionValues: TypeAlias = Callable[[Array], Array]


class MemoryDevice(Enum):
    """Where observations are kept; all else of a stream is small and stays with the CPU."""

    cpu = "cpu"
    cuda = "cuda"


class Sources(NamedTuple):
    """What batches are made from."""

    stored: StreamStorage
    gamma: Values  # [members]
    memory: Any = ()  # what a sampler remembers of its own, as nested tuples of arrays


class Picked(NamedTuple):
    """Sampled transitions, [members, batch]: where they stand, and their importance weights."""

    ring: Values
    place: Values  # in the ring's queue
    weight: Values


@dataclass
class Replay:
    """How much is remembered and how it is drawn; a new kind is a dataclass with a sampler."""

    capacity: Count
    batch_size: Count
    n_step: Count
    device: MemoryDevice

    def __post_init__(self) -> None:
        """ValueError if a batch is larger than the buffer."""
        if self.batch_size > self.capacity:
            raise ValueError(
                f"replay.batch_size={self.batch_size} is larger than"
                f" replay.capacity={self.capacity}: a batch must fit into the buffer"
            )

    def sampler(self, stream: Stream, view: View, gamma: Array) -> Sampler[Replay]:
        """What draws from a stream; batches are what `view` makes of it, with gamma [members]."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Replay, covariant=True)


class Sampler(Generic[Kind]):
    """Draws batches, and learns how surprising they were.

    `draw` takes what chance decides, outside the update. All else is part of it, and a function of
    its arguments alone: what was picked, the batch of that, and what is learned of it.
    """

    def __init__(self, replay: Kind, stream: Stream, view: View, gamma: Array) -> None:
        self.replay, self.stream, self.view = replay, stream, view
        self.gamma = gamma

    def begin(self, values: ActionValues) -> None:
        """Called before each round of updates."""

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Drawn:
        """What the next batch is made of; `progress` is how much of each member's run is over."""
        raise NotImplementedError

    def pick(self, sources: Sources, drawn: Drawn) -> Picked:
        """What was drawn from the sources; all are arrays, or all are tensors."""
        raise NotImplementedError

    def batch(self, sources: Sources, picked: Picked) -> Batch | Sequences:
        """The batch of what was picked."""
        stored, gamma, _ = sources
        ring, place, weight = picked
        return self.view(stored, Indices(ring, stored.queue[ring, place]), weight, gamma)

    def learned(self, sources: Sources, picked: Picked, surprise: Surprise) -> None:
        """What the update found of each sample, [members, batch]; changes the sources' memory."""

    @property
    def sources(self) -> Sources:
        """What every batch is made from, in memory that stays where it is."""
        return Sources(self.stream.stored, self.gamma)

    @property
    def nbytes(self) -> int:
        """Memory beside the stream's, in bytes."""
        return 0

    def contents(self, member: int) -> dict[str, Array]:
        """All that it remembers of a member, for a checkpoint."""
        return {}

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Goes on from the `contents` of a member of a sampler of the same shape."""


@dataclass
class Uniform(Replay):
    """Every stored transition is equally likely (Lin 1992)."""

    def sampler(self, stream: Stream, view: View, gamma: Array) -> Sampler[Replay]:
        """Remembers nothing."""
        return UniformSampler(self, stream, view, gamma)


class UniformSampler(Sampler[Uniform]):
    """Any transition of any of a member's rings, with weight 1."""

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Drawn:
        """A number in [0, 1) for each transition, [members, batch]."""
        return (uniforms(self.replay.batch_size),)

    def pick(self, sources: Sources, drawn: Drawn) -> Picked:
        """The transitions that the numbers fall on, of all rings."""
        stored, (uniform,) = sources.stored, drawn
        members, envs = self.stream.members, self.stream.envs
        sizes = stored.size.reshape(members, envs)  # [members, envs]
        # Machine code calls a library for running sums.
        ends = sizes.cumsum(1) if envs > 1 else sizes
        nth = cast(uniform * ends[:, -1:], "int64")
        env = (nth[..., None] >= ends[:, None]).sum(-1)  # [members, batch]
        member = library(uniform).arange(members)[:, None]
        ring = member * envs + env
        place = nth_oldest(stored, ring, nth - (ends - sizes)[member, env])
        return Picked(ring, place, library(uniform).ones_like(uniform))
