"""On-policy rollouts: what was gathered since the last training, with lambda returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array
from dqn_cli.ranges import Probability
from dqn_cli.replay.batches import View
from dqn_cli.replay.samplers import ActionValues, Drawn, Replay, Sampler, Sources, Uniforms
from dqn_cli.replay.stream import Indices, Stream


@dataclass
class Rollout(Replay):
    """The transitions since the last training, in shuffled minibatches (PQN, Gallici et al. 2024).

    Each is compared with its lambda return, computed once when the training begins; the rest of
    the buffer is not used again.
    """

    trace_decay: Probability

    def sampler(self, stream: Stream, view: View, gamma: Array) -> Sampler[Replay]:
        """Keeps the current rollout."""
        return RolloutSampler(self, stream, view, gamma)


class RolloutSampler(Sampler[Rollout]):
    """Epochs over one rollout, each in an order of its own."""

    def __init__(self, replay: Rollout, stream: Stream, view: View, gamma: Array) -> None:
        super().__init__(replay, stream, view, gamma)
        self._trained = 0  # of the stream's appends, so many were there when it last trained
        self._batch: Batch | None = None
        self._order = np.zeros((stream.members, 0), np.int64)

    def begin(self, values: ActionValues) -> None:
        """Takes all that is new as the rollout, and values it with the network as it is now."""
        stream = self.stream
        # Short episodes fill a ring with half as many transitions.
        steps = min(stream.appends - self._trained, max(stream.capacity // 2, 1))
        self._trained, end = stream.appends, stream.first + stream.count
        # Environments advance in step, so the newest `steps` of each make the rollout.
        ring = np.arange(stream.members * stream.envs)[:, None]
        places = (end - steps)[:, None] + np.arange(steps)
        slot = stream.queue[ring, places % stream.capacity]  # [rings, steps]
        of_members = (stream.members, stream.envs * steps)  # what batches are drawn from
        of_envs = (stream.members, stream.envs, steps)  # what returns are computed along
        rings = np.broadcast_to(ring, slot.shape)
        indices = Indices(rings.reshape(of_members), slot.reshape(of_members))
        batch = self.view(stream.stored, indices, np.ones(of_members), self.gamma)
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
        self._batch = batch._replace(
            reward=reward,
            discount=torch.zeros_like(reward),
            next_obs=batch.next_obs.new_zeros(*of_members, 0),
        )
        self._order = self._order[:, :0]

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Drawn:
        """The next minibatch; what is left of an epoch when it is too short for one is dropped."""
        assert self._batch is not None, "begin comes first"
        total = self._batch.reward.shape[1]
        size = min(self.replay.batch_size, total)
        if self._order.shape[1] < size:
            self._order = uniforms(total).argsort(1)
        chosen, self._order = self._order[:, :size], self._order[:, size:]
        member = torch.arange(self.stream.members)[:, None]
        at = torch.from_numpy(chosen)
        return tuple(each[member, at] for each in self._batch)

    def pick(self, sources: Sources, drawn: Drawn) -> Any:
        """What was drawn is the batch."""
        return Batch(*drawn)

    def batch(self, sources: Sources, picked: Any) -> Batch | Sequences:
        """What was picked."""
        batch: Batch = picked
        return batch

    def contents(self, member: int) -> dict[str, Array]:
        """How far it has trained; a checkpoint never falls between two updates of one training."""
        return {"trained": np.array(self._trained)}

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Goes on from the `contents` of a member of a sampler of the same shape."""
        self._trained = int(contents["trained"])


@np.errstate(invalid="ignore")  # of a run that diverged, and will say so
def lambda_returns(
    reward: Array, discount: Array, next_value: Array, ended: Array, trace_decay: float | Array
) -> Array:
    """Peng's Q(lambda) returns of consecutive steps [members, envs, steps], like all arguments.

    `trace_decay` is one number, or one for each member, [members, 1].

    G_t = r_t + discount_t ((1 - lambda) v_t+1 + lambda G_t+1), with G = v after the last step and
    where an episode ended (Peng & Williams 1996; Gallici et al. 2024, algorithm 1).
    """
    returns = np.zeros(reward.shape)
    following = next_value[..., -1]
    for step in reversed(range(reward.shape[-1])):
        value = next_value[..., step]
        following = np.where(ended[..., step], value, following)
        mixed = value + trace_decay * (following - value)
        returns[..., step] = following = reward[..., step] + discount[..., step] * mixed
    return returns
