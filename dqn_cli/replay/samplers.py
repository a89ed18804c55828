"""Samplers: which stored transitions the next batch is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.ranges import Count
from dqn_cli.replay.stream import Indices, Stream


@dataclass
class Replay:
    """How much is remembered and how it is drawn; a new kind is a dataclass with `indices`."""

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

    def indices(self, stream: Stream, uniform: Array) -> Indices:
        """Where the transitions begin that numbers `uniform` [members, batch] in [0, 1) pick."""
        raise NotImplementedError


@dataclass
class Uniform(Replay):
    """Every stored transition is equally likely (Lin 1992)."""

    def indices(self, stream: Stream, uniform: Array) -> Indices:
        """Any transition of any of a member's rings."""
        ends = stream.sizes.cumsum(1)  # [members, envs]
        nth = (uniform * ends[:, -1:]).astype(np.int64)
        env = (nth[..., None] >= ends[:, None]).sum(-1)  # [members, batch]
        member = np.arange(stream.members)[:, None]
        return stream.locate(member * stream.envs + env, nth - (ends - stream.sizes)[member, env])
