"""Prioritised replay: what surprised the agent is drawn more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.ranges import NonNegative, Positive, Probability
from dqn_cli.replay.samplers import Drawn, Replay, Sampler, Sources, Uniforms
from dqn_cli.replay.stream import Indices, Stream
from dqn_cli.replay.sum_tree import SumTree
from dqn_cli.replay.views import View


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


class PrioritisedSampler(Sampler[Prioritised]):
    """A sum tree over the stream's queues: leaf i belongs to what stands at i in a member's queues.

    It catches up with the stream when it samples, so storing a transition costs nothing here.
    """

    def __init__(self, replay: Prioritised, stream: Stream, view: View, gamma: Array) -> None:
        super().__init__(replay, stream, view, gamma)
        self.tree = SumTree(stream.members, stream.envs * stream.capacity)
        self._largest = np.ones(stream.members)  # of all priorities seen, to the power of alpha
        self._appends = -1  # to the stream, that the tree knows of
        # Which stretch of each ring's queue it knows.
        self._first = np.zeros_like(stream.first)
        self._end = np.zeros_like(stream.first)
        self._latest = np.zeros((stream.members, 0), np.int64)  # leaves, through all members

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Drawn:
        """One leaf from each of `batch_size` equal shares of the total priority, and its weight."""
        self.catch_up()
        size = self.replay.batch_size
        self._latest = self.tree.find((np.arange(size) + uniforms(size)) / size)
        priority = self.tree.leaves.take(self._latest)  # [members, batch]
        share = np.array(progress)[:, None]  # [members, 1]
        beta = self.replay.beta + (self.replay.beta_end - self.replay.beta) * share
        # (N P(i))^-beta over its largest in the batch: N and the total priority cancel out.
        weight = (priority / priority.min(1, keepdims=True)) ** -beta
        return self._latest, weight

    def batch(self, sources: Sources, drawn: Drawn) -> Batch | Sequences:
        """The transitions that belong to the leaves."""
        stored, gamma = sources
        leaf, weight = drawn
        member, leaf = leaf // self.tree.size, leaf % self.tree.size
        env, place = leaf // self.stream.capacity, leaf % self.stream.capacity
        ring = member * self.stream.envs + env
        return self.view(stored, Indices(ring, stored.queue[ring, place]), weight, gamma)

    def learned(self, loss: Values, td_error: Values) -> None:
        """The latest batch's new priorities."""
        error = tensor(loss if self.replay.priority is Priority.loss else td_error)
        priority = (error.double().cpu().numpy() + self.replay.eps) ** self.replay.alpha
        # A run whose loss explodes is ended in words elsewhere; the tree stays whole until then.
        priority = np.where(np.isfinite(priority), priority, self._largest[:, None])
        self._largest = np.maximum(self._largest, priority.max(1))
        self.tree.set(self._latest.ravel(), priority.ravel())

    def catch_up(self) -> None:
        """What left the queues has priority 0, what is new the largest that was ever seen."""
        stream = self.stream
        if self._appends == stream.appends:
            return
        self._appends = stream.appends
        end = stream.first + stream.count
        gone = self._leaves(self._first, np.minimum(stream.first, self._end))
        new = self._leaves(np.maximum(self._end, stream.first), end)
        if gone.size:
            self.tree.set(gone, np.zeros(gone.size))
        if new.size:
            self.tree.set(new, self._largest[new // self.tree.size])
        self._first, self._end = stream.first.copy(), end

    @property
    def nbytes(self) -> int:
        """The tree's."""
        return self.tree.nbytes

    def contents(self, member: int) -> dict[str, Array]:
        """Priorities, and how far the tree has caught up."""
        rings = self.stream.rings_of(member)
        known = {"first": self._first[rings], "end": self._end[rings]}
        leaves, largest = self.tree.leaves[member], self._largest[member]
        return {"leaves": leaves, "largest": np.array(largest)} | known

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Goes on from the `contents` of a member of a sampler of the same shape."""
        rings, leaves = self.stream.rings_of(member), contents["leaves"]
        self.tree.set(member * self.tree.size + np.arange(leaves.size), leaves)
        self._first[rings], self._end[rings] = contents["first"], contents["end"]
        self._largest[member] = contents["largest"]

    def _leaves(self, start: Array, end: Array) -> Array:
        """The leaves, counted through all members, of the places from start to end [rings]."""
        lengths = np.maximum(end - start, 0)
        ring = np.repeat(np.arange(lengths.size), lengths)
        within = np.arange(ring.size) - np.repeat(lengths.cumsum() - lengths, lengths)
        member, env = np.divmod(ring, self.stream.envs)
        place = (start[ring] + within) % self.stream.capacity
        leaf = env * self.stream.capacity + place
        return np.asarray(member * self.tree.size + leaf)
