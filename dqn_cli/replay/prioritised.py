"""Prioritised replay: what surprised the agent is drawn more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dqn_cli.agent.agent import Surprise
from dqn_cli.arrays import Array, Values, cast, library
from dqn_cli.ranges import NonNegative, Positive, Probability
from dqn_cli.replay.batches import View
from dqn_cli.replay.samplers import Drawn, Picked, Replay, Sampler, Sources, Uniforms
from dqn_cli.replay.stream import Stream
from dqn_cli.replay.sum_tree import SumTree


class Priority(Enum):
    """What a priority is made of."""

    loss = "loss"
    td_error = "td_error"


@dataclass
class Prioritised(Replay):
    """Drawn in proportion to (priority + eps)^alpha (Schaul et al. 2016, section 3.3).

    Importance weights take back the bias by `beta`, which goes to `beta_end` over the run.
    """

    alpha: NonNegative
    beta: Probability
    beta_end: Probability
    priority: Priority
    eps: Positive

    def sampler(self, stream: Stream, view: View, gamma: Array) -> Sampler[Replay]:
        """Keeps the priorities of a stream's transitions."""
        return PrioritisedSampler(self, stream, view, gamma)


class Priorities(NamedTuple):
    """What the sampler remembers, in arrays that stay where they are."""

    tree: SumTree
    largest: Values  # [members], of all priorities seen, to the power of alpha
    alpha: Values  # [members, 1], as are those below
    eps: Values
    beta: Values
    beta_end: Values


class PrioritisedSampler(Sampler[Prioritised]):
    """A sum tree over the stream's queues: leaf i belongs to what stands at i in a member's queues.

    It catches up with the stream and with a GPU when it samples, so storing a transition costs
    nothing here, and nobody waits for an update.
    """

    def __init__(self, replay: Prioritised, stream: Stream, view: View, gamma: Array) -> None:
        super().__init__(replay, stream, view, gamma)
        numbers = (replay.alpha, replay.eps, replay.beta, replay.beta_end)
        self.memory = Priorities(
            SumTree.empty(stream.members, stream.envs * stream.capacity),
            np.ones(stream.members),
            *(np.full((stream.members, 1), number, float) for number in numbers),
        )
        self._found = list[tuple[Picked, Tensor]]()  # by updates, that the tree does not know yet
        self._appends = -1  # to the stream, that the tree knows of
        # Which stretch of each ring's queue it knows, [rings] each.
        self._first, self._end = [0] * stream.first.size, [0] * stream.first.size

    @property
    def sources(self) -> Sources:
        """The stream's memory, gamma, and the priorities."""
        return Sources(self.stream.stored, self.gamma, self.memory)

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Drawn:
        """A number in [0, 1) for each sample, [members, batch], and the progress, [members, 1]."""
        self.catch_up()
        return uniforms(self.replay.batch_size), np.array(progress)[:, None]

    def pick(self, sources: Sources, drawn: Drawn) -> Picked:
        """One leaf from each of `batch_size` equal shares of the total priority, and its weight."""
        (uniform, progress), memory = drawn, sources.memory
        tree, envs, capacity = memory.tree, self.stream.envs, self.stream.capacity
        on, size = library(uniform), uniform.shape[1]
        leaf = tree.find((on.arange(size) + uniform) / size)  # [members, batch]
        priority = tree.leaves.take(leaf)
        beta = memory.beta + (memory.beta_end - memory.beta) * progress
        # (N P(i))^-beta over its largest in the batch: N and the total priority cancel out.
        weight = (priority / on.amin(priority, 1)[:, None]) ** -beta
        member = on.arange(len(leaf))[:, None]  # [members, 1]
        leaf = leaf - member * tree.size
        env = leaf // capacity
        return Picked(member * envs + env, leaf - env * capacity, weight)

    def learned(self, sources: Sources, picked: Picked, surprise: Surprise) -> None:
        """The batch's new priorities, at once in machine code and else before the next batch."""
        by_loss = self.replay.priority is Priority.loss
        error = surprise.loss if by_loss else surprise.td_error
        if library(error) is library(sources.memory.largest):
            self._write(sources.memory, picked, error)
        else:
            self._found.append((picked, error))

    def _write_found(self) -> None:
        for picked, error in self._found:
            self._write(self.memory, picked, error.cpu().numpy())
        self._found.clear()

    def _write(self, memory: Priorities, picked: Picked, error: Values) -> None:
        tree, largest, alpha, eps, *_ = memory
        # Rounding leaves the loss of a distribution that fits a little below 0.
        priority = (cast(error, "float64").clip(0) + eps) ** alpha  # [members, batch]
        on = library(priority)
        # A run whose loss explodes is ended in words elsewhere; the tree stays whole until then.
        priority = on.where(on.isfinite(priority), priority, largest[:, None])
        largest[:] = on.maximum(largest, on.amax(priority, 1))
        unused = tree.size - self.stream.envs * self.stream.capacity  # leaves of each member
        leaf = picked.ring * self.stream.capacity + picked.place
        leaf = leaf + on.arange(len(leaf))[:, None] * unused  # [members, batch]
        tree.set(leaf.reshape(-1), priority.reshape(-1))  # both [members * batch]

    def catch_up(self) -> None:
        """What left the queues has priority 0, what is new the largest that was ever seen."""
        self._write_found()
        stream, (tree, largest, *_) = self.stream, self.memory
        if self._appends == stream.appends:
            return
        self._appends = stream.appends
        first, end = stream.first.tolist(), (stream.first + stream.count).tolist()
        leaves, priorities = list[int](), list[float]()
        # They are few: plain numbers are sooner done with than arrays.
        for ring, known in enumerate(zip(self._first, self._end, strict=True)):
            member, env = divmod(ring, stream.envs)
            begin = member * tree.size + env * stream.capacity
            gone = range(known[0], min(first[ring], known[1]))
            new = range(max(known[1], first[ring]), end[ring])
            leaves += [begin + place % stream.capacity for place in (*gone, *new)]
            priorities += [0.0] * len(gone) + [float(largest[member])] * len(new)
        tree.set(np.array(leaves, np.int64), np.array(priorities))
        self._first, self._end = first, end

    @property
    def nbytes(self) -> int:
        """The tree's."""
        return self.memory.tree.nbytes

    def contents(self, member: int) -> dict[str, Array]:
        """Priorities, and how far the tree has caught up."""
        self._write_found()
        rings, (tree, largest, *_) = self.stream.rings_of(member), self.memory
        known = {"first": np.array(self._first[rings]), "end": np.array(self._end[rings])}
        return {"leaves": tree.leaves[member], "largest": np.array(largest[member])} | known

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Goes on from the `contents` of a member of a sampler of the same shape."""
        rings, (tree, largest, *_) = self.stream.rings_of(member), self.memory
        leaves = contents["leaves"]
        tree.set(member * tree.size + np.arange(leaves.size), leaves)
        self._first[rings], self._end[rings] = contents["first"].tolist(), contents["end"].tolist()
        largest[member] = contents["largest"]
