"""Self-prediction: a network predicts its own features of the observations that follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.batch import Batch, Following
from dqn_cli.agent.convolutional import Spatial, renormalized
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import STREAMS
from dqn_cli.agent.parameters import Layout
from dqn_cli.ranges import Count, NonNegative

TRANSITIONS = ("transition.0", "transition.1")  # convolutions of the transition model


@dataclass
class Spr(Auxiliary):
    """Self-predictive representations (Schwarzer et al. 2021, section 2).

    A transition model of two convolutions maps the picture of channels that the network's
    convolutions give, and an action, to the next one, `steps` times. From each, the projection (the
    hidden layers of the streams) and a linear predictor guess what the target network projects the
    observation of that time to. The loss is the squared distance of both, each of length 1, which
    is 2 - 2 cos; what follows the end of an episode does not count.
    """

    weight: NonNegative
    steps: Count

    @property
    def following(self) -> int:
        """Set by `steps`."""
        return self.steps

    def reset_share(self, name: str, shrink: float) -> float:
        """Return 1 of the predictor, and `shrink` of the transition model, as of convolutions."""
        return 1.0 if name.startswith("predictor.") else shrink

    def layout(self, model: Model) -> Layout:
        """Return the layout of transition model and predictor.

        Raises:
            ValueError: The network has no convolutions whose channels are predicted, or no hidden
                layer after them.
        """
        network, actions = model.network, model.spaces.actions
        if not isinstance(network, Spatial):
            raise ValueError(
                f"auxiliary=spr predicts the channels of a network's convolutions, and"
                f" {type(network).__name__} has none of its own: use network=nature, impala,"
                " hadamax or minatar, or auxiliary=none"
            )
        if not network.widths:
            raise ValueError(
                "auxiliary=spr projects by the streams' hidden layers, and network.widths=[] has"
                " none: give it a width, or use auxiliary=none"
            )
        channels = network.latent_channels
        units = network.widths[-1] * (2 if network.dueling else 1)
        first, second = TRANSITIONS
        layout = layers.convolution_layout(first, channels + actions, channels, 3)
        layout |= layers.convolution_layout(second, channels, channels, 3)
        return layout | layers.linear_layout("predictor", units, units)

    def following_loss(
        self, p: Parameters, target: Parameters, model: Model, batch: Batch, following: Following
    ) -> Tensor | None:
        """Return `weight` times the mean distance [batch] over the steps."""
        network, spaces = model.network, model.spaces
        assert isinstance(network, Spatial)
        with torch.no_grad():
            wanted = [
                _projected(target, network, network.latent(target, obs, spaces))
                for obs in following.obs[:, : self.steps].unbind(1)
            ]
        latent, distances = network.latent(p, batch.obs, spaces), []
        for step, goal in enumerate(wanted):
            latent = _next_latent(p, network, latent, following.action[:, step], spaces.actions)
            guess = layers.dense(p, "predictor", _projected(p, network, latent))
            distance = (F.normalize(guess, dim=1) - F.normalize(goal, dim=1)).square().sum(1)
            distances.append(distance * following.within[:, step])
        return self.weight * batch.weight * torch.stack(distances).mean(0)  # [batch]


def _next_latent(
    p: Parameters, network: Spatial, latent: Tensor, action: Tensor, actions: int
) -> Tensor:
    """Return the latent [batch, channels, height, width] that an action [batch] leads to."""
    chosen = (action[:, None] == torch.arange(actions, device=action.device)).to(latent.dtype)
    planes = chosen[..., None, None].expand(-1, -1, *latent.shape[2:])  # [batch, actions, ...]
    x = torch.cat([latent, planes], 1)
    for name in TRANSITIONS:
        x = layers.convolve(p, name, x, padding=1).relu()
    return renormalized(x) if network.renormalize else x


def _projected(p: Parameters, network: Spatial, latent: Tensor) -> Tensor:
    """Return the streams' hidden layers before their activation, joined, [batch, units]."""
    x = network.dense_torso(p, latent.flatten(1))
    streams = STREAMS if network.dueling else STREAMS[:1]
    return torch.cat([layers.dense(p, f"{stream}.hidden", x) for stream in streams], 1)
