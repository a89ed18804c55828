"""Curiosity: bonuses for observations that are new, which find rewards that chance does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.auxiliary import Auxiliary, within
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.normalization import FACTOR, OFFSET
from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.ranges import Count, NonNegative

VARIANCE = 1e-8  # added to the target's, which is 0 where all observations are equal


@dataclass
class Rnd(Auxiliary):
    """Random network distillation (Burda et al. 2019).

    A predictor learns the outputs of a random network for the observations that follow an action.
    Its squared error is the bonus, large where there was little to learn from. The published
    bonus is divided by its running deviation; this one by the variance of the random network's
    outputs in the batch, so that a bonus of `scale` stands for knowing nothing.
    """

    weight: NonNegative
    scale: NonNegative
    features: Count

    def layout(self, model: Model) -> Layout:
        """Return the predictor's layout: the network's torso and a linear layer."""
        return self._layout("predictor", model)

    def constants(self, model: Model) -> Layout:
        """Return the layout of the random network, which is of the same kind."""
        return self._layout("random", model)

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return `weight` times the predictor's mean squared error [batch]."""
        return self.weight * self._error(p, model, batch)[0]

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        """Return `scale` times the share of the random outputs' variance that is not predicted."""
        error, variance = self._error(p, model, batch)
        return self.scale * error / (variance + VARIANCE)

    def _error(self, p: Parameters, model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the squared error [batch], and the variance of what is predicted, a scalar."""
        with torch.no_grad():
            wanted = _features(p, "random", model, batch.next_obs)
        predicted = _features(p, "predictor", model, batch.next_obs)
        variance = wanted.var(0, correction=0).mean()
        return (predicted - wanted).square().mean(1), variance

    def _layout(self, name: str, model: Model) -> Layout:
        network = model.network
        if not isinstance(network, Mlp):
            raise ValueError(
                f"auxiliary=rnd takes the network's layers before its last, and"
                f" {type(network).__name__} has none: use network=multi or auxiliary=counts"
            )
        if network.modules:
            raise ValueError(
                "auxiliary=rnd draws a second network of the same kind, which can't be made of"
                " network=module: use network=multi or auxiliary=counts"
            )
        layout, inputs = network.torso_layout(model.spaces)
        layout = layout | layers.linear_layout("out", inputs, self.features)
        return {f"{name}.{key}": parameter for key, parameter in layout.items()}


@dataclass
class Counts(Auxiliary):
    """Counts of hashed observations (Tang et al. 2017, #Exploration with static hashing).

    An observation's hash is the signs of `bits` random projections. The bonus of an action is
    scale / sqrt(n) for the n times that the observation which follows was seen.
    """

    scale: NonNegative
    bits: Count

    def __post_init__(self) -> None:
        """Raise ValueError if the table would be larger than memory is worth."""
        if self.bits > 20:
            raise ValueError(f"auxiliary.counts.bits={self.bits} is not valid: it must be 1 to 20")

    def constants(self, model: Model) -> Layout:
        """Return the layout of the projections and of the table."""
        return {
            "projections": Parameter((model.spaces.observation_size, self.bits), -1, 1),
            "table": Parameter((2**self.bits,), 0, 0),
        }

    def observe(self, p: Parameters, model: Model, obs: Tensor) -> Parameters:
        """Count new observations."""
        ones = obs.new_ones(len(obs))
        return {"table": p["table"].index_add(0, self._hash(p, obs), ones)}

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        """Return scale / sqrt(n)."""
        seen = p["table"].index_select(0, self._hash(p, batch.next_obs))
        return self.scale / seen.clamp(min=1).sqrt()

    def _hash(self, p: Parameters, obs: Tensor) -> Tensor:
        """Return a number below 2^bits for each observation, [batch]."""
        signs = (obs.flatten(1) @ p["projections"] > 0).long()  # [batch, bits]
        return (signs << torch.arange(self.bits, device=obs.device)).sum(1)


def _features(p: Parameters, name: str, model: Model, obs: Tensor) -> Tensor:
    """Return the features [batch, features] of observations [batch, *shape]."""
    network = model.network
    assert isinstance(network, Mlp)
    normalization = {key: p[key] for key in (OFFSET, FACTOR) if key in p}
    own = {**within(p, name), **normalization}
    return layers.dense(own, "out", network.torso(own, obs, model.spaces))
