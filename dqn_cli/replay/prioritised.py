"""Prioritised replay: transitions with large errors are sampled more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from torch import Tensor

from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array, Values, array_namespace, cast
from dqn_cli.ranges import NonNegative, Positive, Probability
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.samplers import (
    Buffer,
    Draw,
    Replay,
    ReplayStorage,
    Sampler,
    Samples,
    Uniforms,
)
from dqn_cli.replay.stream import Stream
from dqn_cli.replay.sum_tree import Priorities, SumTree


class Priority(Enum):
    """Error that a priority is made of."""

    loss = "loss"
    td_error = "td_error"


@dataclass
class Prioritised(Buffer):
    """Sampling in proportion to (error + eps)^alpha (Schaul et al. 2016, section 3.3).

    Importance weights correct the bias with exponent `beta`, which goes to `beta_end` over the run.
    """

    alpha: NonNegative
    beta: Probability
    beta_end: Probability
    priority: Priority
    eps: Positive

    def sampler(self, stream: Stream, spec: BatchSpec, gamma: Array) -> Sampler[Replay]:
        """Return a sampler that keeps a priority for each transition of the stream."""
        return PrioritisedSampler(self, stream, spec, gamma)


class PrioritisedSampler(Sampler[Prioritised]):
    """Keeps a sum tree over the stream's queues; leaf i is position i of a member's queues.

    New transitions and errors enter the tree when the next batch is drawn. So storing a transition
    costs nothing here, and the errors of a GPU's update are not waited for.
    """

    def __init__(self, replay: Prioritised, stream: Stream, spec: BatchSpec, gamma: Array) -> None:
        super().__init__(replay, stream, spec, gamma)
        numbers = (replay.alpha, replay.eps, replay.beta, replay.beta_end)
        self.priorities = Priorities(
            SumTree.empty(stream.members, stream.envs * stream.capacity),
            np.ones(stream.members),
            *(np.full((stream.members, 1), number, float) for number in numbers),
        )
        self._pending = list[tuple[Samples, Tensor]]()  # errors that are not in the tree yet
        self._appends = -1  # the stream's count when new transitions last entered the tree
        # The part of each ring's queue that is in the tree, [rings] each.
        self._first, self._end = [0] * stream.first.size, [0] * stream.first.size

    @property
    def storage(self) -> ReplayStorage:
        """Storage of the stream, and the priorities."""
        return super().storage._replace(priorities=self.priorities)

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Draw a number for each sample; progress sets beta."""
        self.catch_up()
        return Draw(uniforms(self.replay.batch_size), np.array(progress)[:, None])

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose one leaf from each of `batch_size` equal shares of the total priority."""
        uniform, priorities = draw.numbers, _priorities(storage)
        tree, envs, capacity = priorities.tree, self.stream.envs, self.stream.capacity
        on, size = array_namespace(uniform), uniform.shape[1]
        leaf = tree.find((on.arange(size) + uniform) / size)  # [members, batch]
        priority = tree.leaves.take(leaf)
        beta = priorities.beta + (priorities.beta_end - priorities.beta) * draw.progress
        # (N P(i))^-beta, divided by its largest in the batch: N and the total priority cancel.
        weight = (priority / on.amin(priority, 1)[:, None]) ** -beta
        member = on.arange(len(leaf))[:, None]  # [members, 1]
        leaf = leaf - member * tree.size
        env = leaf // capacity
        return Samples(member * envs + env, leaf - env * capacity, weight)

    def update_priorities(
        self, storage: ReplayStorage, samples: Samples, errors: SampleErrors
    ) -> None:
        """Write new priorities at once in compiled code, and before the next batch otherwise."""
        by_loss = self.replay.priority is Priority.loss
        error = errors.loss if by_loss else errors.td_error
        priorities = _priorities(storage)
        if array_namespace(error) is array_namespace(priorities.largest):
            self._write(priorities, samples, error)
        else:
            self._pending.append((samples, error))

    def _write_pending(self) -> None:
        for samples, error in self._pending:
            self._write(self.priorities, samples, error.cpu().numpy())
        self._pending.clear()

    def _write(self, priorities: Priorities, samples: Samples, error: Values) -> None:
        tree, largest, alpha, eps, *_ = priorities
        # Rounding can make the KL divergence of a perfect fit slightly negative.
        priority = (cast(error, "float64").clip(0) + eps) ** alpha  # [members, batch]
        on = array_namespace(priority)
        # The session ends a run that diverges; the tree must stay valid until then.
        priority = on.where(on.isfinite(priority), priority, largest[:, None])
        largest[:] = on.maximum(largest, on.amax(priority, 1))
        unused = tree.size - self.stream.envs * self.stream.capacity  # leaves of each member
        leaf = samples.ring * self.stream.capacity + samples.position
        leaf = leaf + on.arange(len(leaf))[:, None] * unused  # [members, batch]
        tree.set(leaf.reshape(-1), priority.reshape(-1))  # both [members * batch]

    def catch_up(self) -> None:
        """Give priority 0 to transitions that left, and the largest seen so far to new ones."""
        self._write_pending()
        stream, (tree, largest, *_) = self.stream, self.priorities
        if self._appends == stream.appends:
            return
        self._appends = stream.appends
        first, end = stream.first.tolist(), (stream.first + stream.count).tolist()
        leaves, priorities = list[int](), list[float]()
        # There are few of them, for which plain numbers are faster than arrays.
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
        """Memory of the tree, in bytes."""
        return self.priorities.tree.nbytes

    def contents(self, member: int) -> dict[str, Array]:
        """Return priorities, and the part of the queues that is in the tree."""
        self._write_pending()
        rings, (tree, largest, *_) = self.stream.rings_of(member), self.priorities
        known = {"first": np.array(self._first[rings]), "end": np.array(self._end[rings])}
        return {"leaves": tree.leaves[member], "largest": np.array(largest[member])} | known

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Restore the `contents` of a member of a sampler of the same shape."""
        rings, (tree, largest, *_) = self.stream.rings_of(member), self.priorities
        leaves = contents["leaves"]
        tree.set(member * tree.size + np.arange(leaves.size), leaves)
        self._first[rings], self._end[rings] = contents["first"].tolist(), contents["end"].tolist()
        largest[member] = contents["largest"]

    def find_problem(
        self, contents: Mapping[str, Array], stream: Mapping[str, Array]
    ) -> tuple[str, str] | None:
        """Return a field that does not fit the stream's contents and why; None if all fit."""
        leaves, first, end = contents["leaves"], contents["first"], contents["end"]
        if contents["largest"] <= 0:
            return "sampler.largest", "must be above 0"
        capacity = self.stream.capacity
        last = stream["first"] + stream["count"]
        is_queue = (first >= 0) & (first <= end) & (end - first <= capacity) & (end <= last)
        if not is_queue.all():
            return "sampler.end", "is not in the stream's queue"
        # Only a transition in the tree has a priority.
        is_known = np.zeros(leaves.shape, bool)
        for env in range(len(first)):
            is_known[env * capacity + np.arange(first[env], end[env]) % capacity] = True
        if (leaves < 0).any() or leaves[~is_known].any():
            return "sampler.leaves", "has priorities of no transition"
        return None


def _priorities(storage: ReplayStorage) -> Priorities:
    assert storage.priorities is not None
    return storage.priorities
