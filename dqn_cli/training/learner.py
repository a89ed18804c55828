"""The learner: each member's parameters, target and optimiser moments, and what chance they take.

Everything has a leading axis [members].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent, Surprise
from dqn_cli.agent.parameters import initial
from dqn_cli.arrays import Array
from dqn_cli.compiling.compiler import Compiler, uncompiled
from dqn_cli.replay.samplers import Drawn, Replay, Sampler
from dqn_cli.training.population import LearnerState, Metrics, Population, ReadyMade
from dqn_cli.training.random_inputs import Numbers, no_numbers, numbers_for, rows_of
from dqn_cli.training.randomness import Randomness

AT_ONCE = 2_000_000  # numbers: what a network makes of more does not stay in a processor's cache


class Learner:
    """Agents of one structure that learn side by side; an update changes `state` in place."""

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Iterable[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
        sampler: Sampler[Replay] | None = None,
        compiler: Compiler = uncompiled,
    ) -> None:
        """Draws each agent's initial parameters from its own stream in `weights`.

        With a `sampler` an update takes what it draws; without one it takes batches.
        """
        self._agents, self._model = agents, agents[0].model
        self._like = torch.zeros(len(agents), dtype=dtype, device=device)
        parameters = self._drawn(weights)
        (members, size), moments = parameters.shape, agents[0].optimizer.moments
        exact = torch.zeros(members, dtype=torch.float64, device=device)
        self.state = LearnerState(
            parameters,
            parameters.clone(),
            # Machine code takes each of the moments as plain memory of its own.
            self._like.new_zeros(moments, members, size).transpose(0, 1),
            exact.new_zeros(members, moments),
        )
        # Sums over all updates since somebody set them to zero.
        self.metrics = exact.new_zeros(members, len(Metrics._fields))
        # Batches are made by machine code, but of whole frames by NumPy: it copies a row at once.
        whole = self._model.network.is_large
        self._outside = sampler if whole else None
        inside = None if whole else sampler
        self._sources = inside.sources if inside else ()
        self._population = Population(agents, inside or ReadyMade(), dtype, device)
        scalars = self._population.scalars
        fixed = (self.state.step, self.state.target, self.metrics, scalars, self._sources)
        self._update = compiler(self._population.update, fixed)
        self._act = compiler(self._population.act, (self.state.parameters, scalars))
        # What most updates take is made once: each tensor costs a microsecond.
        self._factors, self._factor = [1.0] * members, exact.new_ones(members)
        self._noise_size, self._samples = self._model.noise_size, self._model.head.samples
        self._no_noise = self._like.new_zeros(members, 0)
        self._no_numbers = no_numbers(self._like, rows=1)
        self._rows: dict[tuple[int, ...], int] = {}

    @property
    def is_noisy(self) -> bool:
        """Whether acting takes noise."""
        return self._noise_size > 0

    def update(self, drawn: Drawn, noise: Randomness, factors: list[float]) -> Surprise:
        """One gradient step on what was drawn; `factors` multiply each member's learning rate.

        The surprise is that of each sample, [members, batch].
        """
        if self._outside:
            picked = self._outside.pick(self._outside.sources, drawn)
            drawn = self._outside.batch(self._outside.sources, picked)
        numbers = self._numbers(drawn, noise)
        if factors != self._factors:
            self._factors, self._factor = factors, self._factor.new_tensor(factors)
        surprise = Surprise(*self._update(drawn, numbers, self._factor))
        if self._outside:
            self._outside.learned(self._outside.sources, picked, surprise)
        return surprise

    def blend_target(self, taus: Sequence[float]) -> None:
        """Moves each member's target parameters this share of the way to the online ones."""
        if not any(taus):
            return
        target, parameters = self.state.target, self.state.parameters
        if taus.count(taus[0]) == len(taus):
            target.lerp_(parameters, taus[0])
        else:
            target.lerp_(parameters, self._like.new_tensor(taus)[:, None])

    def load(self, state: LearnerState, member: int | None = None) -> None:
        """Goes on from the state of a learner of the same structure, or of one of its members."""
        for own, other in zip(self.state, state, strict=True):
            (own if member is None else own[member]).copy_(other)

    def reset(self, weights: Iterable[np.random.Generator], spared: Sequence[bool]) -> None:
        """Draws the last layers anew and starts the optimiser anew (Nikishin et al. 2022).

        All moments are forgotten, since one correction of their bias is for all parameters. Members
        that are `spared` keep theirs.
        """
        last = torch.cat(
            [
                torch.full((int(np.prod(parameter.shape)),), self._model.network.is_last(name))
                for name, parameter in self._model.layout.items()
            ]
        ).to(self._like.device)  # [size]
        kept = torch.tensor(spared, device=self._like.device)[:, None]  # [members, 1]
        last = last & ~kept  # [members, size]
        fresh, state = self._drawn(weights), self.state
        self.load(
            state._replace(
                parameters=torch.where(last, fresh, state.parameters),
                target=torch.where(last, fresh, state.target),
                moments=state.moments * kept[..., None],
                corrections=state.corrections * kept,
            )
        )

    def act(self, obs: Array, state: Array, noise: Randomness) -> tuple[Array, Array]:
        """Action values [members, envs, actions] and next states [members, envs, state].

        Of observations [members, envs, *shape] and states; noisy layers get fresh noise.
        """
        values, after = self._act(obs, state, self._acting_noise(noise))
        # What networks without memory give back is not wrapped: the next call would wrap it again,
        # and a chain of arrays and tensors would grow as long as the run.
        return values.cpu().numpy(), after.cpu().numpy() if state.size else state

    def values(self, obs: Array, noise: Randomness) -> Array:
        """Action values [members, n, actions] of observations [members, n, *shape]."""
        # Not by what was compiled for acting, which takes as many observations as there are envs.
        parameters, scalars = self.state.parameters, self._population.scalars
        drawn, values = self._acting_noise(noise), []
        rows = max(AT_ONCE // math.prod(obs.shape[2:]), 1)
        for first in range(0, obs.shape[1], rows):
            part = obs[:, first : first + rows]
            state = np.zeros((*part.shape[:2], self._model.state_size), np.float32)
            values.append(self._population.act(parameters, scalars, part, state, drawn)[0].cpu())
        return torch.cat(values, 1).numpy()

    def dormant(self, obs: Array) -> Array:
        """Share of dormant hidden units [members], on observations [members, n, *shape]."""
        return self._population.dormant(self.state.parameters, obs).cpu().numpy()

    def _drawn(self, weights: Iterable[np.random.Generator]) -> Tensor:
        pairs = zip(self._agents, weights, strict=True)
        return torch.stack([initial(agent.layout, random) for agent, random in pairs]).to(
            self._like
        )  # [members, size]

    def _acting_noise(self, noise: Randomness) -> Tensor:
        if not self._noise_size:
            return self._no_noise
        return torch.from_numpy(noise.normal(self._noise_size)).to(self._like)

    def _numbers(self, drawn: Drawn, noise: Randomness) -> Numbers:
        """Random numbers of one update."""
        if not (self._noise_size or self._samples):
            return self._no_numbers
        shape = drawn[0].shape
        if shape not in self._rows:
            batches = self._population.batches
            batch = batches.batch(self._sources, batches.pick(self._sources, drawn))
            self._rows[shape] = rows_of(self._model, batch)
        return numbers_for(self._model, self._rows[shape], noise, self._like)
