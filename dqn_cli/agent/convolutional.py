"""The base of all networks with convolutions: what their LayerNorm is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from dqn_cli.agent import layers
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout


class NormAxes(Enum):
    """What mean and variance of a convolution's LayerNorm are taken over."""

    image = "image"  # all channels of all pixels (Ba et al. 2016)
    pixel = "pixel"  # the channels of each pixel, as Flax's LayerNorm (Gallici et al. 2024)


@dataclass
class Convolutional(Mlp):
    """Fully connected layers behind convolutions; `norm_axes` is for `layer_norm` of the latter."""

    norm_axes: NormAxes = field(default=NormAxes.image, kw_only=True)

    def with_layer_norm(self, name: str, layer: Layout, units: int) -> Layout:
        """Return the layout of a layer, with its LayerNorm if the network has one."""
        is_convolution = len(layer[f"{name}.weight"].shape) == 4
        if self.norm_axes is NormAxes.pixel and self.layer_norm and is_convolution:
            return layer | layers.pixel_norm_layout(name, units, self.norm_affine)
        return super().with_layer_norm(name, layer, units)
