"""A learner whose updates and action values run as compiled code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Following, RandomInputs, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array
from dqn_cli.compiling.cache_keys import describe_structure
from dqn_cli.compiling.compiler import Compiler
from dqn_cli.compiling.watched import watching
from dqn_cli.replay.batches import stored_observations
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.training.learner import Learner, UpdateInputs
from dqn_cli.training.population import UpdateTensors
from dqn_cli.training.randomness import Purpose, Randomness


class CompiledLearner(Learner):
    """Compiles the functions of `Learner` that take tensors; the rest stays as it is.

    Sampling and priorities are compiled with the update. The exceptions are replay whose storage
    changes, and large networks: NumPy copies the rows of images faster than compiled code does.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Iterable[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
        sampler: Sampler[Replay] | None,
        compiler: Compiler,
        with_sampling: bool = True,
    ) -> None:
        """Prepare the functions, which are compiled when they are first called.

        Args:
            agents: As for `Learner`, and so are those up to `sampler`.
            weights: A random generator for the parameters of each member.
            dtype: Precision of the parameters.
            device: Device of the parameters.
            sampler: Source of batches for `update`.
            compiler: Compiles each function.
            with_sampling: Whether sampling is faster as part of a compiled update.
        """
        super().__init__(agents, weights, dtype, device, sampler)
        is_busy = agents[0].network.is_busy(agents[0].spaces)
        can_sample = sampler is not None and sampler.storage_is_fixed and not is_busy
        self._samples_in_graph = with_sampling and can_sample
        self._compiler = compiler = watching(compiler, self.population.parts)
        self._replay_updates: dict[Sampler[Replay], Callable[..., Any]] = {}
        if sampler:
            self.use(sampler)
        tensors, structure = self.tensors, describe_structure(agents, sampler)
        self._batch_update = compiler(
            super().batch_update, (tensors,), structure, self._example_of_batch_update
        )
        fixed_in_act = (self.acting_parameters, tensors.scalars)
        self._act = compiler(self.population.act, fixed_in_act, structure, self._example_of_act)

    def use(self, sampler: Sampler[Replay]) -> None:
        """Take the batches of `update` from a sampler whose batches are as large as before."""
        super().use(sampler)
        if self._samples_in_graph and sampler not in self._replay_updates:
            structure = describe_structure(self._agents, sampler)
            fixed = (self.tensors, sampler.storage)
            example = partial(self._example_of_update, sampler)
            update = self._compiler(super().sample_and_update, fixed, structure, example)
            self._replay_updates[sampler] = update

    def replay_update(self, inputs: UpdateInputs) -> SampleErrors:
        """Take one gradient step on a batch from the replay's storage as it is now."""
        if not self._samples_in_graph:
            return super().replay_update(inputs)
        return SampleErrors(*self._replay_updates[self._replay](inputs))

    def batch_update(
        self,
        tensors: UpdateTensors,
        batch: Batch | Sequences,
        random: RandomInputs,
        lr_factors: Tensor,
        following: Following | tuple[()] = (),
    ) -> SampleErrors:
        """Take one gradient step of all members."""
        if self._samples_in_graph:  # this call is part of a compiled update
            return super().batch_update(tensors, batch, random, lr_factors, following)
        return SampleErrors(*self._batch_update(batch, random, lr_factors, following))

    def action_values(self, obs: Array, state: Array, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Compute action values and next states, as tensors."""
        q, next_state = self._act(obs, state, noise)
        return q, next_state

    def _example_of_act(self) -> tuple[Any, ...] | None:
        """Return arguments like those of each call; None without a stream to take them from."""
        if self._sampler is None:
            return None
        stream, newest = self._sampler.stream, self._sampler.stream.newest(1)
        obs = stored_observations(stream, newest)
        state = self._template.new_zeros(stream.members, stream.envs, self._model.state_size)
        return obs, state.numpy(), self.random_inputs.acting_noise(self._spare_randomness)

    def _example_of_update(self, sampler: Sampler[Replay]) -> tuple[UpdateInputs]:
        """Return arguments like those of each call."""
        noise, members = self._spare_randomness, len(self._agents)
        draw = sampler.draw(noise.uniform, [0.0] * members)
        random = self.random_inputs.draw(draw.numbers.shape[1] * self._evaluations, noise)
        return (UpdateInputs(draw, random, self._lr_factor_tensor),)

    def _example_of_batch_update(self) -> tuple[Any, ...] | None:
        """Return arguments like those of each call; None if it is not called, or they vary."""
        sampler = self._sampler
        if self._samples_in_graph or sampler is None or not sampler.storage_is_fixed:
            return None
        (inputs,) = self._example_of_update(sampler)
        storage = sampler.storage
        samples = sampler.sample(storage, inputs.draw)
        batch, following = sampler.batch(storage, samples), sampler.following(storage, samples)
        return batch, inputs.random, inputs.lr_factors, following

    @property
    def _spare_randomness(self) -> Randomness:
        """Random streams beside those of the run, which go on as if there were no examples."""
        return Randomness([0] * len(self._agents), Purpose.noise)
