"""No replay: each transition is learned from once, as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dqn_cli.arrays import Array, array_namespace
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.samplers import (
    ActionValues,
    Draw,
    Replay,
    ReplayStorage,
    Sampler,
    Samples,
    Uniforms,
    find_misplaced_ends,
)
from dqn_cli.replay.stream import Stream, nth_oldest


@dataclass
class Newest(Replay):
    """The newest transition alone (streaming, Elsayed et al. 2024)."""

    def sampler(self, stream: Stream, spec: BatchSpec, gamma: Array) -> Sampler[Replay]:
        """Return a sampler of the newest transitions."""
        return NewestSampler(self, stream, spec, gamma)


class NewestSampler(Sampler[Newest]):
    """Samples each member's newest transition, with weight 1.

    The weight is 0 if no transition came since the last batch: some environments begin an episode
    in a step of its own.
    """

    def __init__(self, replay: Newest, stream: Stream, spec: BatchSpec, gamma: Array) -> None:
        super().__init__(replay, stream, spec, gamma)
        self._ends = np.zeros(stream.first.size, np.int64)  # of the rings' queues at the last batch
        self._is_new = np.zeros((stream.members, 1))

    def on_rollout(self, values: ActionValues) -> None:
        """Note whose newest transition came since the last batch."""
        ends = self.stream.first + self.stream.count
        self._is_new = (ends > self._ends)[:, None].astype(float)  # [members, 1]
        self._ends = ends

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Return the weight of each member's newest transition; no random numbers are drawn."""
        return Draw(self._is_new)

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose the newest transitions."""
        ring = array_namespace(draw.numbers).arange(self.stream.members)[:, None]  # [members, 1]
        position = nth_oldest(storage.stream, ring, storage.stream.size[ring] - 1)
        return Samples(ring, position, draw.numbers)

    def contents(self, member: int) -> dict[str, Array]:
        """Return where the last batch was."""
        return {"ends": self._ends[self.stream.rings_of(member)]}

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Restore the `contents` of a member of a sampler of the same shape."""
        self._ends[self.stream.rings_of(member)] = contents["ends"]

    def find_problem(
        self, contents: Mapping[str, Array], stream: Mapping[str, Array]
    ) -> tuple[str, str] | None:
        """Return a field that does not fit the stream's contents and why; None if all fit."""
        return find_misplaced_ends(contents, stream)
