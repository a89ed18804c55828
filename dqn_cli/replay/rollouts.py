"""On-policy rollouts: the transitions since the last training, with lambda returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array, array_namespace, tensor
from dqn_cli.ranges import Probability
from dqn_cli.replay.batches import BatchSpec, build_batch
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
from dqn_cli.replay.stream import Indices, Stream


@dataclass
class Rollout(Replay):
    """The transitions since the last training, in shuffled minibatches (PQN, Gallici et al. 2024).

    Lambda returns are computed once, before the round of updates. Older transitions are not used.
    """

    trace_decay: Probability

    def sampler(self, stream: Stream, spec: BatchSpec, gamma: Array) -> Sampler[Replay]:
        """Return a sampler of the current rollout."""
        return RolloutSampler(self, stream, spec, gamma)


class RolloutSampler(Sampler[Rollout]):
    """Samples minibatches without replacement; each epoch over a rollout has a new order."""

    storage_is_fixed = False  # each round of updates has a rollout of its own

    def __init__(self, replay: Rollout, stream: Stream, spec: BatchSpec, gamma: Array) -> None:
        super().__init__(replay, stream, spec, gamma)
        self._trained = 0  # the stream's count of appends at the last training
        self._ends = np.zeros(stream.first.size, np.int64)  # of the rings' queues at that time
        self._rollout: Batch | None = None
        self._order = np.zeros((stream.members, 0), np.int64)

    def on_rollout(self, values: ActionValues) -> None:
        """Make the rollout of all new transitions, and compute its lambda returns."""
        stream = self.stream
        # Each episode's end takes a slot of its own: one-step episodes halve a ring's transitions.
        steps = min(stream.appends - self._trained, max(stream.capacity // 2, 1))
        end = stream.first + stream.count
        # Environments advance in lockstep, so the newest `steps` of each make the rollout. Where
        # some of the steps only began an episode, the oldest of them are not new.
        is_new = np.arange(steps) >= steps - (end - self._ends)[:, None]  # [rings, steps]
        self._trained, self._ends = stream.appends, end
        ring = np.arange(stream.members * stream.envs)[:, None]
        places = (end - steps)[:, None] + np.arange(steps)
        slot = stream.queue[ring, places % stream.capacity]  # [rings, steps]
        of_members = (stream.members, stream.envs * steps)
        of_envs = (stream.members, stream.envs, steps)
        rings = np.broadcast_to(ring, slot.shape)
        indices = Indices(rings.reshape(of_members), slot.reshape(of_members))
        weight = is_new.reshape(of_members).astype(float)
        batch = build_batch(stream.storage, indices, weight, self.gamma, self.spec)
        assert isinstance(batch, Batch)
        q = np.where(batch.next_mask.numpy(), values(batch.next_obs.numpy()), -np.inf)
        ended = (stream.terminated | stream.truncated)[rings, slot % stream.slots]
        returns = lambda_returns(
            batch.reward.numpy().reshape(of_envs),
            batch.discount.numpy().reshape(of_envs),
            q.max(-1).reshape(of_envs),
            ended.reshape(of_envs),
            self.replay.trace_decay,
        )
        reward = torch.from_numpy(returns.reshape(of_members).astype(stream.reward.dtype))
        self._rollout = batch._replace(
            reward=reward,
            discount=torch.zeros_like(reward),
            next_obs=batch.next_obs.new_zeros(*of_members, 0),
        )
        self._order = self._order[:, :0]

    @property
    def storage(self) -> ReplayStorage:
        """Storage of the stream, and the rollout."""
        return super().storage._replace(rollout=self._rollout)

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Draw the indices of the next minibatch; an epoch's incomplete last one is dropped."""
        assert self._rollout is not None, "on_rollout comes first"
        total = self._rollout.reward.shape[1]
        size = min(self.replay.batch_size, total)
        if self._order.shape[1] < size:
            self._order = uniforms(total).argsort(1)
        chosen, self._order = self._order[:, :size], self._order[:, size:]
        return Draw(chosen)

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose the transitions at the drawn indices."""
        on = array_namespace(draw.numbers)
        member = on.arange(self.stream.members)[:, None]
        return Samples(member, draw.numbers, on.ones(draw.numbers.shape))

    def batch(self, storage: ReplayStorage, samples: Samples) -> Batch | Sequences:
        """Gather the samples from the rollout."""
        assert storage.rollout is not None
        member, index = tensor(samples.ring), tensor(samples.position)
        return Batch(*(values[member, index] for values in storage.rollout))

    def contents(self, member: int) -> dict[str, Array]:
        """Return where the last training was; no checkpoint falls inside a round."""
        ends = self._ends[self.stream.rings_of(member)]
        return {"trained": np.array(self._trained), "ends": ends}

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Restore the `contents` of a member of a sampler of the same shape."""
        self._trained = int(contents["trained"])
        self._ends[self.stream.rings_of(member)] = contents["ends"]

    def find_problem(
        self, contents: Mapping[str, Array], stream: Mapping[str, Array]
    ) -> tuple[str, str] | None:
        """Return a field that does not fit the stream's contents and why; None if all fit."""
        if not 0 <= contents["trained"] <= stream["appends"]:
            return "sampler.trained", "is not in the stream"
        return find_misplaced_ends(contents, stream)


@np.errstate(invalid="ignore")  # the session reports a run that diverges
def lambda_returns(
    reward: Array, discount: Array, next_value: Array, ended: Array, trace_decay: float | Array
) -> Array:
    """Compute Peng's Q(lambda) returns of consecutive steps, [members, envs, steps].

    G_t = r_t + discount_t ((1 - lambda) v_t+1 + lambda G_t+1), with G = v after the last step and
    where an episode ended (Peng & Williams 1996; Gallici et al. 2024, algorithm 1).

    Args:
        reward: Rewards, [members, envs, steps].
        discount: Discounts of what follows, [members, envs, steps].
        next_value: Values of the next observations, [members, envs, steps].
        ended: True where a step was an episode's last, [members, envs, steps].
        trace_decay: Lambda: one number, or one for each member, [members, 1].
    """
    returns = np.zeros(reward.shape)
    following = next_value[..., -1]
    for step in reversed(range(reward.shape[-1])):
        value = next_value[..., step]
        following = np.where(ended[..., step], value, following)
        mixed = value + trace_decay * (following - value)
        returns[..., step] = following = reward[..., step] + discount[..., step] * mixed
    return returns
