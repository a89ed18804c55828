"""Samplers: which stored transitions make the next batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from dqn_cli.agent.batch import Batch, Following, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array, Values, array_namespace, cast
from dqn_cli.ranges import Count
from dqn_cli.replay.batches import BatchSpec, build_batch, what_follows
from dqn_cli.replay.stream import Indices, Stream, StreamStorage, nth_oldest
from dqn_cli.replay.sum_tree import Priorities

# Returns numbers in [0, 1) [members, *shape] for a shape; each member has its own random stream.
Uniforms: TypeAlias = Callable[..., Array]
# Returns action values [members, n, actions] of observations [members, n, *shape].
ActionValues: TypeAlias = Callable[[Array], Array]


class ReplayDevice(Enum):
    """Device that observations are stored on; all else is small and stays with the CPU."""

    cpu = "cpu"
    cuda = "cuda"


class ReplayStorage(NamedTuple):
    """Arrays or tensors that samples are taken from; they keep their place in memory."""

    stream: StreamStorage
    gamma: Values  # [members]
    priorities: Priorities | None = None  # of prioritised replay
    rollout: Batch | None = None  # of on-policy replay: all transitions since the last training
    logged: ReplayStorage | None = None  # of replay that is mixed with data: the data's
    n_step: Values | None = None  # [members], rewards in a return, if their number changes


class Draw(NamedTuple):
    """Random inputs of one sample call, drawn outside of it."""

    numbers: Values  # [members, batch], in [0, 1); indices of a rollout, weights of the newest
    progress: Values | None = None  # [members, 1], share of the run that is over, where it matters


class Samples(NamedTuple):
    """Sampled transitions, [members, batch]: their places and importance weights."""

    ring: Values  # of a rollout, the member: [members, 1]
    position: Values  # in the ring's queue, or in the rollout
    weight: Values


@dataclass
class Replay:
    """Base of all replays: how much is stored, and how it is sampled."""

    capacity: Count
    batch_size: Count
    n_step: Count

    def __post_init__(self) -> None:
        """Raise ValueError if a batch is larger than the buffer."""
        if self.batch_size > self.capacity:
            raise ValueError(
                f"replay.batch_size={self.batch_size} is larger than"
                f" replay.capacity={self.capacity}: a batch must fit into the buffer"
            )

    @property
    def observation_device(self) -> ReplayDevice:
        """Device that observations are stored on."""
        return ReplayDevice.cpu

    def sampler(self, stream: Stream, spec: BatchSpec, gamma: Array) -> Sampler[Replay]:
        """Return a sampler of a stream; its batches hold what `spec` says.

        Args:
            stream: The replay stream of all members.
            spec: What a batch holds.
            gamma: Discount of each member, [members].
        """
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Replay, covariant=True)


class Sampler(Generic[Kind]):
    """Samples batches, and takes the errors found on them.

    `draw` makes the random inputs. `sample`, `batch` and `update_priorities` are functions of their
    arguments alone, so that an update can be compiled with them. They work on arrays and tensors.
    """

    storage_is_fixed = True  # its arrays keep their shapes and their place for the whole run

    def __init__(self, replay: Kind, stream: Stream, spec: BatchSpec, gamma: Array) -> None:
        self.replay, self.stream, self.spec = replay, stream, spec
        self.gamma = gamma
        self.n_step = np.full(len(gamma), spec.n_step) if spec.anneals else None

    def anneal(self, gamma: Sequence[float], n_step: Sequence[int]) -> None:
        """Set discount and number of rewards of each member's returns from now on."""
        self.gamma[:] = gamma
        if self.n_step is not None:
            self.n_step[:] = n_step

    def on_rollout(self, values: ActionValues) -> None:
        """Prepare a round of updates; the network's action values are those before the round."""

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Draw the random inputs of the next batch; some are only examples for a compiler.

        Args:
            uniforms: Source of random numbers.
            progress: Share of each member's run that is over.
        """
        raise NotImplementedError

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose the samples that the random inputs fall on."""
        raise NotImplementedError

    def batch(self, storage: ReplayStorage, samples: Samples) -> Batch | Sequences:
        """Build the batch of the samples."""
        slot = storage.stream.queue[samples.ring, samples.position]
        indices = Indices(samples.ring, slot)
        returns = storage.gamma, self.spec, storage.n_step
        return build_batch(storage.stream, indices, samples.weight, *returns)

    def following(self, storage: ReplayStorage, samples: Samples) -> Following | tuple[()]:
        """Build what comes after the samples, if the batches hold it."""
        if not self.spec.following:
            return ()
        slot = storage.stream.queue[samples.ring, samples.position]
        return what_follows(storage.stream, Indices(samples.ring, slot), self.spec)

    def update_priorities(
        self, storage: ReplayStorage, samples: Samples, errors: SampleErrors
    ) -> None:
        """Store new priorities, from the errors [members, batch] of the samples."""

    @property
    def storage(self) -> ReplayStorage:
        """Storage that samples are taken from."""
        return ReplayStorage(self.stream.storage, self.gamma, n_step=self.n_step)

    @property
    def nbytes(self) -> int:
        """Memory beside the stream's, in bytes."""
        return 0

    def spread(self, count: int) -> tuple[Stream, Indices]:
        """Return places [members, ...] of about `count` transitions of each member, far apart."""
        stream = self.stream
        nth = np.linspace(0, stream.count - 1, -(-count // stream.envs), axis=1)  # [rings, n]
        position = (stream.first[:, None] + nth.astype(int)) % stream.capacity
        ring = np.broadcast_to(np.arange(stream.head.size)[:, None], position.shape)
        slot = stream.queue[ring, position]
        return stream, Indices(*(each.reshape(stream.members, -1) for each in (ring, slot)))

    def structure(self) -> list[Any]:
        """Return all that `sample` and `batch` depend on but their arguments, as plain values."""
        stream, gamma = self.stream, self.gamma.tolist()
        name = type(self).__qualname__
        return [name, self.replay, self.spec, gamma, stream.members, stream.envs]

    def contents(self, member: int) -> dict[str, Array]:
        """Return the state of a member, for a checkpoint."""
        return {}

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Restore the `contents` of a member of a sampler of the same shape."""

    def find_problem(
        self, contents: Mapping[str, Array], stream: Mapping[str, Array]
    ) -> tuple[str, str] | None:
        """Return a field that does not fit the stream's contents and why; None if all fit."""
        return None


def find_misplaced_ends(
    contents: Mapping[str, Array], stream: Mapping[str, Array]
) -> tuple[str, str] | None:
    """Return the field of earlier ends of queues and why, if a stream can't have had them."""
    ends, last = contents["ends"], stream["first"] + stream["count"]
    if not ((ends >= 0) & (ends <= last)).all():
        return "sampler.ends", "is not in the stream's queue"
    return None


@dataclass
class Buffer(Replay):
    """Base of replays that keep old transitions."""

    device: ReplayDevice

    @property
    def observation_device(self) -> ReplayDevice:
        """Device that observations are stored on."""
        return self.device


@dataclass
class Uniform(Buffer):
    """Every stored transition is equally likely (Lin 1992)."""

    def sampler(self, stream: Stream, spec: BatchSpec, gamma: Array) -> Sampler[Replay]:
        """Return a uniform sampler."""
        return UniformSampler(self, stream, spec, gamma)


class UniformSampler(Sampler[Uniform]):
    """Samples any transition of any of a member's rings, with weight 1."""

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Draw a number for each transition."""
        return Draw(uniforms(self.replay.batch_size))

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose the transitions that the numbers fall on, among those of all rings."""
        stream, uniform = storage.stream, draw.numbers
        members, envs = self.stream.members, self.stream.envs
        sizes = stream.size.reshape(members, envs)  # [members, envs]
        # One environment needs no cumulative sum, for which compiled code would call a library.
        ends = sizes.cumsum(1) if envs > 1 else sizes
        nth = cast(uniform * ends[:, -1:], "int64")
        env = (nth[..., None] >= ends[:, None]).sum(-1)  # [members, batch]
        member = array_namespace(uniform).arange(members)[:, None]
        ring = member * envs + env
        position = nth_oldest(stream, ring, nth - (ends - sizes)[member, env])
        return Samples(ring, position, array_namespace(uniform).ones_like(uniform))
