"""Networks for frames of video: the one that first played Atari, and a deeper one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Natural

KERNELS = ((8, 4), (4, 2), (3, 1))  # side and stride of each of Nature's convolutions
BLOCKS = 2  # residual blocks in each of Impala's sections
BYTE = 255


@dataclass
class Pixels(Mlp):
    """Convolutions in front of the fully connected layers; `channels` are the outputs of each.

    Observations are [height, width, colours], [frames, height, width], or frames of the former.
    Bytes are divided by 255 here, so that they are stored and moved as bytes. With `bfloat16` the
    layers compute in that precision; parameters, gradients and values keep theirs.
    """

    channels: list[Count]
    bfloat16: bool

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, atoms]."""
        with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.bfloat16):
            return super().__call__(p, obs, spaces, head).to(obs.dtype)

    @property
    def is_large(self) -> bool:
        """On images of a usual size."""
        return True

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """The convolutions on so many planes, and how many features come out: 0 if too small."""
        raise NotImplementedError

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """What the convolutions make of x [batch, planes, height, width], all times `scale`."""
        raise NotImplementedError

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Convolutions, then the dense torso; ValueError unless observations are large enough."""
        shape, name = list(spaces.observation_shape), type(self).__name__.lower()
        if not self.channels:
            raise ValueError(f"network.channels is empty: network={name} needs a convolution")
        if len(shape) not in ((3, 4) if spaces.frames else (3,)):
            raise ValueError(
                f"network={name} needs images [height, width, colours], or frames of them; these"
                f" observations are {shape}: use network=mlp"
            )
        layout, features = self.image_layout(*_planes(spaces))
        if not features:
            raise ValueError(
                f"network={name} needs larger images than observations of {shape}: use"
                " network=mlp, or network=minatar for small images"
            )
        dense, features = self.dense_torso_layout(features)
        return layout | dense, features

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Features [batch, features] of observations [batch, *shape]."""
        x = obs
        if x.dim() == 5 or not spaces.frames:  # colours are the last axis
            x = x.movedim(-1, -3)  # [batch, (frames,) colours, height, width]
        x = x.reshape(-1, *_planes(spaces))  # [batch, planes, height, width]
        x = x.contiguous(memory_format=torch.channels_last)
        scale = 1 / BYTE if set(spaces.high) == {BYTE} else 1
        x = self.features(p, x, scale)
        return self.dense_torso(p, x.flatten(1))  # [batch, channels * height * width]


@dataclass
class Nature(Pixels):
    """Convolutions of 8x8, 4x4 and 3x3 with strides 4, 2 and 1 (Mnih et al. 2015, Methods)."""

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """As many convolutions as there are channels; ValueError if these are more than three."""
        if len(self.channels) > len(KERNELS):
            raise ValueError(
                f"network.channels has {len(self.channels)} numbers; nature has at most"
                f" {len(KERNELS)} convolutions"
            )
        layout: Layout = {}
        for index, channels in enumerate(self.channels):
            (kernel, stride), name = KERNELS[index], f"convolution.{index}"
            layer = layers.convolution(name, planes, channels, kernel)
            layout |= self.hidden_layout(name, layer, channels)
            planes = channels
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
        return layout, planes * height * width if min(height, width) > 0 else 0

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """[batch, channels, height, width]."""
        for index in range(len(self.channels)):
            stride = KERNELS[index][1]
            x = layers.hidden_convolution(p, f"convolution.{index}", x, stride, scale)
            scale = 1
        return x


@dataclass
class Impala(Pixels):
    """Sections of a convolution, a max-pooling and two residual blocks (Espeholt et al. 2018).

    `scale` multiplies all channels; `pool` is the side that a last max-pooling leaves (Clark et al.
    2024), 0 for none. Spectral norm is for the residual blocks' convolutions, as there.
    """

    scale: Count
    pool: Natural

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """A section for each of the channels."""
        layout: Layout = {}
        for section, channels in enumerate(self.channels):
            outputs = channels * self.scale
            name = f"section.{section}"
            layout |= self._convolution(name, planes, outputs)
            for layer in _residual_layers(section):
                convolution = self._convolution(layer, outputs, outputs)
                spectral = layers.spectral(layer, outputs) if self.spectral_norm else {}
                layout |= convolution | spectral
            planes = outputs
            height, width = ((side + 1) // 2 for side in (height, width))
        if self.pool:
            height = width = self.pool
        return layout, planes * height * width

    def hidden_layout(self, name: str, layer: Layout, units: int) -> Layout:
        """Without spectral norm."""
        return layer | layers.normalized(name, units) if self.layer_norm else layer

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """[batch, channels, height, width]."""
        for section in range(len(self.channels)):
            x = layers.convolved(p, f"section.{section}", x, padding=1, scale=scale)
            scale = 1
            x = F.max_pool2d(x, 3, stride=2, padding=1)
            for first, second in _blocks(section):
                y = layers.noted(p, first, x.relu())
                y = layers.noted(p, second, layers.convolved(p, first, y, padding=1).relu())
                x = x + layers.convolved(p, second, y, padding=1)
        x = x.relu()
        return F.adaptive_max_pool2d(x, self.pool) if self.pool else x

    def _convolution(self, name: str, planes: int, outputs: int) -> Layout:
        return self.hidden_layout(name, layers.convolution(name, planes, outputs, 3), outputs)


def _planes(spaces: Spaces) -> tuple[int, int, int]:
    """Planes, height and width of the picture that an observation is."""
    shape = spaces.observation_shape
    if not spaces.frames:
        height, width, colours = shape
        return colours, height, width
    frames, height, width, *colours_of = shape
    return frames * (colours_of[0] if colours_of else 1), height, width


def _blocks(section: int) -> list[tuple[str, str]]:
    """The two convolutions of each residual block."""
    names = [f"section.{section}.residual.{block}" for block in range(BLOCKS)]
    return [(f"{name}.first", f"{name}.second") for name in names]


def _residual_layers(section: int) -> list[str]:
    return [layer for block in _blocks(section) for layer in block]
