"""Networks for frames of Atari games: the Nature CNN and the residual IMPALA CNN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.convolutional import Spatial
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.normalization import picture_scale
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Natural

KERNELS = ((8, 4), (4, 2), (3, 1))  # kernel size and stride of the Nature CNN's convolutions
BLOCKS = 2  # residual blocks in each section of IMPALA


@dataclass
class AtariCnn(Spatial):
    """Convolutions in front of fully connected layers; `channels` are the outputs of each.

    Observations are [height, width, colors], [frames, height, width] or
    [frames, height, width, colors]. Bytes are divided by 255 here, so that replay stores bytes.
    With `bfloat16` the layers compute in that precision; parameters, gradients and action values
    keep theirs.
    """

    bfloat16: bool

    def forward(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Map observations [batch, *shape] to z [batch, actions, atoms]."""
        with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.bfloat16):
            return super().forward(p, obs, spaces, head).to(obs.dtype)

    @property
    def is_large(self) -> bool:
        """True, for images of a usual size."""
        return True

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """Return the layout of the convolutions and the number of features; 0 if too small."""
        raise NotImplementedError

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """Apply the convolutions to `scale` times x [batch, planes, height, width]."""
        raise NotImplementedError

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of convolutions and dense torso, and the number of features.

        Raises:
            ValueError: If observations are not images, or too small.
        """
        shape, name = list(spaces.observation_shape), type(self).__name__.lower()
        if not self.channels:
            raise ValueError(f"network.channels is empty: network={name} needs a convolution")
        if len(shape) not in ((3, 4) if spaces.frames else (3,)):
            raise ValueError(
                f"network={name} needs images [height, width, colors], or frames of them; these"
                f" observations are {shape}: use network=multi"
            )
        layout, features = self.image_layout(*_planes(spaces))
        if not features:
            raise ValueError(
                f"network={name} needs larger images than observations of {shape}: use"
                " network=multi, or network=minatar for small images"
            )
        dense, features = self.dense_torso_layout(features)
        return layout | dense, features

    def convolved(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to [batch, channels, height, width]."""
        x = obs
        if x.dim() == 5 or not spaces.frames:  # the last axis has the colors
            x = x.movedim(-1, -3)  # [batch, (frames,) colors, height, width]
        x = x.reshape(-1, *_planes(spaces))  # [batch, planes, height, width]
        if self.is_busy(spaces):  # `vmap` has no other format
            x = x.contiguous(memory_format=torch.channels_last)
        return self.features(p, x, picture_scale(p, spaces.parts[0]))


@dataclass
class Nature(AtariCnn):
    """Convolutions of 8x8, 4x4 and 3x3 with strides 4, 2 and 1 (Mnih et al. 2015, Methods)."""

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """Return a convolution for each number of channels, and the number of features.

        Raises:
            ValueError: If there are more than three.
        """
        if len(self.channels) > len(KERNELS):
            raise ValueError(
                f"network.channels has {len(self.channels)} numbers; nature has at most"
                f" {len(KERNELS)} convolutions"
            )
        layout: Layout = {}
        for index, channels in enumerate(self.channels):
            (kernel, stride), name = KERNELS[index], f"convolution.{index}"
            layer = layers.convolution_layout(name, planes, channels, kernel)
            layout |= self.hidden_layout(name, layer, channels)
            planes = channels
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
        return layout, planes * height * width if min(height, width) > 0 else 0

    def chains(self, spaces: Spaces) -> list[list[str]]:
        """Return the convolutions."""
        return [[f"convolution.{index}" for index in range(len(self.channels))]]

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """Return [batch, channels, height, width]."""
        for index in range(len(self.channels)):
            stride = KERNELS[index][1]
            x = layers.hidden_convolution(
                p, f"convolution.{index}", x, stride, scale, self.activation
            )
            scale = 1
        return x


@dataclass
class Impala(AtariCnn):
    """Sections of a convolution, max-pooling and two residual blocks (Espeholt et al. 2018).

    `scale` multiplies all channels. A final max-pooling leaves images of `pool` by `pool`, as in
    Clark et al. 2024; 0 leaves it out. Spectral norm applies to the residual blocks, as there.
    """

    scale: Count
    pool: Natural

    @property
    def recycles(self) -> bool:
        """False: channels of residual blocks are sums of several layers."""
        return False

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """Return a section for each number of channels, and the number of features."""
        layout: Layout = {}
        for section, channels in enumerate(self.channels):
            outputs = channels * self.scale
            name = f"section.{section}"
            layout |= self._convolution(name, planes, outputs)
            for layer in _residual_layers(section):
                convolution = self._convolution(layer, outputs, outputs)
                spectral = layers.spectral_norm_layout(layer, outputs) if self.spectral_norm else {}
                layout |= convolution | spectral
            planes = outputs
            height, width = ((side + 1) // 2 for side in (height, width))
        if self.pool:
            height = width = self.pool
        return layout, planes * height * width

    @property
    def latent_channels(self) -> int:
        """Channels of the latent."""
        return self.channels[-1] * self.scale

    def hidden_layout(self, name: str, layer: Layout, units: int) -> Layout:
        """Return the layout of a hidden layer with its LayerNorm, without spectral norm."""
        return self.with_layer_norm(name, layer, units)

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """Return [batch, channels, height, width]."""
        for section in range(len(self.channels)):
            x = layers.convolve(p, f"section.{section}", x, padding=1, scale=scale)
            scale = 1
            x = F.max_pool2d(x, 3, stride=2, padding=1)
            for first, second in _blocks(section):
                y = layers.record(p, first, self.activation(x))
                y = self.activation(layers.convolve(p, first, y, padding=1))
                y = layers.record(p, second, y)
                x = x + layers.convolve(p, second, y, padding=1)
        x = self.activation(x)
        return F.adaptive_max_pool2d(x, self.pool) if self.pool else x

    def _convolution(self, name: str, planes: int, outputs: int) -> Layout:
        return self.hidden_layout(
            name, layers.convolution_layout(name, planes, outputs, 3), outputs
        )


def _planes(spaces: Spaces) -> tuple[int, int, int]:
    """Return planes, height and width of an observation."""
    shape = spaces.observation_shape
    if not spaces.frames:
        height, width, colors = shape
        return colors, height, width
    frames, height, width, *rest = shape
    return frames * (rest[0] if rest else 1), height, width


def _blocks(section: int) -> list[tuple[str, str]]:
    """Return the names of the two convolutions of each residual block."""
    names = [f"section.{section}.residual.{block}" for block in range(BLOCKS)]
    return [(f"{name}.first", f"{name}.second") for name in names]


def _residual_layers(section: int) -> list[str]:
    return [layer for block in _blocks(section) for layer in block]
