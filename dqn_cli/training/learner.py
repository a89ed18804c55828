"""The learner: parameters, targets and moments of all members; tensors have an axis [members]."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Following, RandomInputs, Sequences
from dqn_cli.agent.metrics import Metrics, SampleErrors
from dqn_cli.agent.optimizers import OptimizerState
from dqn_cli.agent.parameters import Layout
from dqn_cli.arrays import Array
from dqn_cli.replay.samplers import Draw, Replay, ReplayStorage, Sampler
from dqn_cli.training.population import Population, UpdateTensors
from dqn_cli.training.random_inputs import RandomInputSource
from dqn_cli.training.randomness import Randomness

MAX_NUMBERS = 2_000_000  # of observations evaluated at once, so that outputs stay in the cache


class LearnerState(NamedTuple):
    """Tensors that learning changes."""

    parameters: Tensor  # [members, size]
    target: Tensor  # [members, size]
    moments: Tensor  # [members, moments, size]
    corrections: Tensor  # [members, moments], float64, of the moments' bias


class UpdateInputs(NamedTuple):
    """Inputs of one update from replay."""

    draw: Draw
    random: RandomInputs
    lr_factors: Tensor  # [members]


class Learner:
    """Agents of one structure that learn side by side; updates change `state` in place."""

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Iterable[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
        sampler: Sampler[Replay] | None = None,
    ) -> None:
        """Draw the initial parameters.

        Args:
            agents: The members' agents.
            weights: A random generator for the parameters of each member.
            dtype: Precision of the parameters.
            device: Device of the parameters.
            sampler: Source of batches for `update`; `update_on_batch` needs none.
        """
        self.population = Population(agents, dtype, device)
        self._agents, self._model, self._sampler = agents, agents[0].model, sampler
        self.observes, self._acts_by_target = agents[0].observes, agents[0].acts_by_target
        self._template = torch.zeros(len(agents), dtype=dtype, device=device)
        parameters = self._initial(weights)
        (members, size), moments = parameters.shape, agents[0].optimizer.moments
        exact = torch.zeros(members, dtype=torch.float64, device=device)
        self.state = LearnerState(
            parameters,
            parameters.clone(),
            # Compiled code needs each of the moments to be contiguous.
            self._template.new_zeros(moments, members, size).transpose(0, 1),
            exact.new_zeros(members, moments),
        )
        self.metrics = exact.new_zeros(members, len(Metrics._fields))  # sums since the last reading
        moment_tensors = self.state.moments.unbind(1)
        self.tensors = UpdateTensors(
            OptimizerState(self.state.parameters, moment_tensors, self.state.corrections),
            self.state.target,
            self.metrics,
            self.population.scalars,
        )
        self._lr_factors, self._lr_factor_tensor = [1.0] * members, exact.new_ones(members)
        self._evaluations = sampler.spec.evaluations if sampler else 0
        following = sampler.spec.following if sampler else 0
        self.random_inputs = RandomInputSource(
            self._model, self._template, agents[0].augment.numbers, following
        )

    def use(self, sampler: Sampler[Replay]) -> None:
        """Take the batches of `update` from a sampler whose batches are as large as before."""
        self._sampler = sampler

    @property
    def layout(self) -> Layout:
        """Names and shapes of all parameters."""
        return self._agents[0].layout

    @property
    def policy_layout(self) -> Layout:
        """Names and shapes of the parameters that acting needs."""
        return self._model.layout

    @property
    def is_noisy(self) -> bool:
        """True if acting takes noise."""
        return self._model.noise_size > 0

    def update(self, draw: Draw, noise: Randomness, lr_factors: list[float]) -> SampleErrors:
        """Take one gradient step on a batch from replay.

        Args:
            draw: Random inputs of the sampler.
            noise: Random streams for noisy layers and quantile levels.
            lr_factors: Factors of the members' learning rates.

        Returns:
            Errors of each sample, [members, batch].
        """
        random = self.random_inputs.draw(draw.numbers.shape[1] * self._evaluations, noise)
        inputs = UpdateInputs(draw, random, self._factors(lr_factors))
        return self.replay_update(inputs)

    def replay_update(self, inputs: UpdateInputs) -> SampleErrors:
        """Take one gradient step on a batch from replay; `CompiledLearner` compiles it."""
        return self.sample_and_update(self.tensors, self._replay.storage, inputs)

    def sample_and_update(
        self, tensors: UpdateTensors, storage: ReplayStorage, inputs: UpdateInputs
    ) -> SampleErrors:
        """Sample a batch, learn from it, and update its priorities."""
        samples = self._replay.sample(storage, inputs.draw)
        batch = self._replay.batch(storage, samples)
        following = self._replay.following(storage, samples)
        errors = self.batch_update(tensors, batch, inputs.random, inputs.lr_factors, following)
        self._replay.update_priorities(storage, samples, errors)
        return errors

    def update_on_batch(
        self, batch: Batch | Sequences, noise: Randomness, lr_factors: list[float]
    ) -> SampleErrors:
        """Take one gradient step on a ready-made batch, [members, batch]: your own data."""
        random = self.random_inputs.draw(self._model.evaluations(batch), noise)
        return self.batch_update(self.tensors, batch, random, self._factors(lr_factors))

    def batch_update(
        self,
        tensors: UpdateTensors,
        batch: Batch | Sequences,
        random: RandomInputs,
        lr_factors: Tensor,
        following: Following | tuple[()] = (),
    ) -> SampleErrors:
        """Take one gradient step of all members on a batch; `CompiledLearner` compiles it."""
        return self.population.update(tensors, batch, random, lr_factors, following)

    def polyak_update(self, coefficients: Sequence[float]) -> None:
        """Move each member's target parameters toward the online ones: tau is its coefficient."""
        if not any(coefficients):
            return
        target, parameters = self.state.target, self.state.parameters
        if coefficients.count(coefficients[0]) == len(coefficients):
            target.lerp_(parameters, coefficients[0])
        else:
            target.lerp_(parameters, self._template.new_tensor(coefficients)[:, None])

    def load(self, state: LearnerState, member: int | None = None) -> None:
        """Restore the state of a learner of the same structure, or of one of its members."""
        for tensor, values in zip(self.state, state, strict=True):
            (tensor if member is None else tensor[member]).copy_(values)

    def reset(
        self,
        weights: Iterable[np.random.Generator],
        spared: Sequence[bool],
        shrink: float = 0,
    ) -> None:
        """Reinitialize the last layers and restart the optimizer (Nikishin et al. 2022).

        All other layers go a share of the way to fresh values (shrink and perturb, Ash & Adams
        2020; Schwarzer et al. 2023, section 4). All moments become zeros, since one correction of
        their bias holds for all parameters.

        Args:
            weights: A random generator for each member.
            spared: True for members that keep everything.
            shrink: That share, from 0 to 1.
        """
        share = self._agents[0].reset_shares(shrink).to(self._template)  # [size]
        kept = torch.tensor(spared, device=self._template.device)[:, None]  # [members, 1]
        share = share * ~kept  # [members, size]
        fresh, state = self._initial(weights), self.state
        self.load(
            state._replace(
                parameters=state.parameters.lerp(fresh, share),
                target=state.target.lerp(fresh, share),
                moments=state.moments * kept[..., None],
                corrections=state.corrections * kept,
            )
        )

    def recycle(
        self,
        obs: Array,
        weights: Iterable[np.random.Generator],
        spared: Sequence[bool],
        threshold: float,
    ) -> None:
        """Reinitialize dormant units and zero their moments (Sokar et al. 2023, algorithm 1).

        Args:
            obs: Observations to measure dormancy on, [members, n, *shape].
            weights: A random generator for each member.
            spared: True for members that keep everything.
            threshold: A unit is dormant if its score is at most this.
        """
        fresh, state = self._initial(weights), self.state
        # No score is below zero.
        thresholds = [-1 if keeps else threshold for keeps in spared]
        parameters, changed = self.population.recycle(
            state.parameters, fresh, obs, self._template.new_tensor(thresholds)
        )
        moments = torch.where(changed[:, None], 0, state.moments)
        self.load(state._replace(parameters=parameters, moments=moments))

    def observe(self, obs: Array) -> None:
        """Let auxiliary parts learn from new observations [members, envs, *shape]."""
        if not self.observes:
            return
        constants = self.population.observe(self.state.parameters, obs)
        size = constants.shape[1]
        for parameters in (self.state.parameters, self.state.target):
            parameters[:, parameters.shape[1] - size :] = constants

    def policy_parameters(self, member: int) -> Tensor:
        """Return the parameters that acting needs, as a copy."""
        return self._agents[member].of_model(self.acting_parameters[member]).clone()

    @property
    def acting_parameters(self) -> Tensor:
        """Parameters that choose actions, [members, size]: the online or the target network's."""
        tensors = self.tensors
        return tensors.target if self._acts_by_target else tensors.optimizer.parameters

    def act(self, obs: Array, state: Array, noise: Randomness) -> tuple[Array, Array]:
        """Compute action values and the next recurrent states; noisy layers get fresh noise.

        Args:
            obs: Observations, [members, envs, *shape].
            state: Recurrent states, [members, envs, state].
            noise: Random streams for noisy layers.

        Returns:
            Action values [members, envs, actions], or of each head [members, envs, actions, heads];
            and next states [members, envs, state].
        """
        q, next_state = self.action_values(obs, state, self.random_inputs.acting_noise(noise))
        # A network without a state returns its input, which must not be wrapped as a tensor and
        # an array again and again.
        return q.cpu().numpy(), next_state.cpu().numpy() if state.size else state

    def action_values(self, obs: Array, state: Array, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Compute action values and next states, as tensors."""
        scalars = self.tensors.scalars
        return self.population.act(self.acting_parameters, scalars, obs, state, noise)

    def values(self, obs: Array, noise: Randomness) -> Array:
        """Compute action values [members, n, actions] of observations [members, n, *shape]."""
        # Not by `action_values`, whose compiled form takes as many rows as there are environments.
        tensors, acting_noise = self.tensors, self.random_inputs.acting_noise(noise)
        parameters, scalars = tensors.optimizer.parameters, tensors.scalars
        rows, values = max(MAX_NUMBERS // math.prod(obs.shape[2:]), 1), []
        for first in range(0, obs.shape[1], rows):
            part = obs[:, first : first + rows]
            state = np.zeros((*part.shape[:2], self._model.state_size), np.float32)
            q, _ = self.population.act(parameters, scalars, part, state, acting_noise)
            values.append(q.cpu())
        return torch.cat(values, 1).numpy()

    def dormant(self, obs: Array) -> Array:
        """Return the share of dormant hidden units [members] on obs [members, n, *shape]."""
        return self.population.dormant(self.state.parameters, obs).cpu().numpy()

    @property
    def _replay(self) -> Sampler[Replay]:
        assert self._sampler is not None, "this learner has no replay"
        return self._sampler

    def _initial(self, weights: Iterable[np.random.Generator]) -> Tensor:
        pairs = zip(self._agents, weights, strict=True)
        drawn = [agent.initial(random) for agent, random in pairs]
        return torch.stack(drawn).to(self._template)  # [members, size]

    def _factors(self, lr_factors: list[float]) -> Tensor:
        if lr_factors != self._lr_factors:
            self._lr_factors = lr_factors
            self._lr_factor_tensor = self._lr_factor_tensor.new_tensor(lr_factors)
        return self._lr_factor_tensor
