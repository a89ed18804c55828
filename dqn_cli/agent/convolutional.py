"""The base of all networks with convolutions: what their LayerNorm is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count

EPSILON = 1e-5  # added to the range of a latent


class NormAxes(Enum):
    """Numbers that mean and variance of a convolution's LayerNorm are taken over."""

    image = "image"  # all channels of all pixels (Ba et al. 2016)
    pixel = "pixel"  # the channels of each pixel, as Flax's LayerNorm (Gallici et al. 2024)


@dataclass
class Convolutional(Mlp):
    """Fully connected layers after convolutions, whose `layer_norm` takes `norm_axes`."""

    norm_axes: NormAxes = field(default=NormAxes.image, kw_only=True)

    def with_layer_norm(self, name: str, layer: Layout, units: int) -> Layout:
        """Return the layout of a layer, with its LayerNorm if the network has one."""
        is_convolution = len(layer[f"{name}.weight"].shape) == 4
        if self.norm_axes is NormAxes.pixel and self.layer_norm and is_convolution:
            return layer | layers.pixel_norm_layout(name, units, self.norm_affine)
        return super().with_layer_norm(name, layer, units)


@dataclass
class Spatial(Convolutional):
    """Base of networks whose convolutions end in one picture of channels, the latent.

    With `renormalize` its numbers are scaled to 0 to 1 (Schrittwieser et al. 2020, appendix G).
    """

    channels: list[Count]
    renormalize: bool = field(default=False, kw_only=True)

    @property
    def latent_channels(self) -> int:
        """Channels of the latent."""
        return self.channels[-1]

    def convolved(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to [batch, channels, height, width]."""
        raise NotImplementedError

    def latent(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to the latent [batch, channels, height, width]."""
        x = self.convolved(p, obs, spaces)
        return renormalized(x) if self.renormalize else x

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to features [batch, features]."""
        return self.dense_torso(p, self.latent(p, obs, spaces).flatten(1))


def renormalized(x: Tensor) -> Tensor:
    """Scale the numbers of each row [batch, ...] to 0 to 1."""
    axes = tuple(range(1, x.dim()))
    least = x.amin(axes, keepdim=True)
    return (x - least) / (x.amax(axes, keepdim=True) - least + EPSILON)
