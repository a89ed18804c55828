"""Samplers: which stored transitions the next batch is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array
from dqn_cli.ranges import Count
from dqn_cli.replay.stream import Indices, Stream
from dqn_cli.replay.views import View

# Numbers in [0, 1) of the given shape with a leading axis [members], each member's from its own.
Uniforms: TypeAlias = Callable[..., Array]
# Action values [members, n, actions] of observations [members, n, *shape].
Values: TypeAlias = Callable[[Array], Array]


@dataclass
class Replay:
    """How much is remembered and how it is drawn; a new kind is a dataclass with a sampler."""

    capacity: Count
    batch_size: Count
    n_step: Count

    def __post_init__(self) -> None:
        """ValueError if a batch is larger than the buffer."""
        if self.batch_size > self.capacity:
            raise ValueError(
                f"replay.batch_size={self.batch_size} is larger than"
                f" replay.capacity={self.capacity}: a batch must fit into the buffer"
            )

    def sampler(self, stream: Stream, view: View) -> Sampler[Replay]:
        """What draws from a stream; batches are what `view` makes of the indices."""
        raise NotImplementedError


Kind = TypeVar("Kind", bound=Replay, covariant=True)


class Sampler(Generic[Kind]):
    """Draws batches, and learns how surprising they were."""

    def __init__(self, replay: Kind, stream: Stream, view: View) -> None:
        self.replay, self.stream, self.view = replay, stream, view

    def begin(self, values: Values, gamma: Array) -> None:
        """Called before each round of updates."""

    def sample(self, uniforms: Uniforms, gamma: Array, progress: float) -> Batch | Sequences:
        """The next batch, with gamma [members]; `progress` is the share of the run that is over."""
        raise NotImplementedError

    def learned(self, loss: Array, td_error: Array) -> None:
        """What the update found of each sample of the latest batch, [members, batch]."""

    @property
    def nbytes(self) -> int:
        """Memory beside the stream's, in bytes."""
        return 0

    def contents(self) -> dict[str, Array]:
        """All that it remembers, for a checkpoint."""
        return {}

    def load(self, contents: Mapping[str, Array]) -> None:
        """Goes on from the `contents()` of a sampler of the same shape."""


@dataclass
class Uniform(Replay):
    """Every stored transition is equally likely (Lin 1992)."""

    def sampler(self, stream: Stream, view: View) -> Sampler[Replay]:
        """Remembers nothing."""
        return UniformSampler(self, stream, view)


class UniformSampler(Sampler[Uniform]):
    """Any transition of any of a member's rings, with weight 1."""

    def sample(self, uniforms: Uniforms, gamma: Array, progress: float) -> Batch | Sequences:
        """One number for each transition of the batch picks it."""
        uniform = uniforms(self.replay.batch_size)  # [members, batch]
        return self.view(self.stream, self.locate(uniform), np.ones(uniform.shape), gamma)

    def locate(self, uniform: Array) -> Indices:
        """Where the transitions begin that numbers [members, batch] in [0, 1) pick."""
        stream = self.stream
        ends = stream.sizes.cumsum(1)  # [members, envs]
        nth = (uniform * ends[:, -1:]).astype(np.int64)
        env = (nth[..., None] >= ends[:, None]).sum(-1)  # [members, batch]
        member = np.arange(stream.members)[:, None]
        return stream.locate(member * stream.envs + env, nth - (ends - stream.sizes)[member, env])
