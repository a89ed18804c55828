"""Hadamax: products of two activations, max-pooled, in place of strides (Kooi et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.activations import Activation
from dqn_cli.agent.atari_cnns import AtariCnn
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.multi import has_large_pictures
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count

PATHS = ("first", "second")  # convolutions of a block whose activations are multiplied


@dataclass
class Hadamax(AtariCnn):
    """Blocks of two convolutions side by side, their product and max-pooling; then dense layers.

    A block has a number in each of `channels`, `kernels`, `pools` and `strides`: outputs of each
    convolution and side of its kernel, side and stride of the pooling. Both keep the size of the
    image by padding; only the stride shrinks it.
    """

    kernels: list[Count]
    pools: list[Count]
    strides: list[Count]
    activation: Activation = field(default=Activation.gelu, kw_only=True)

    def image_layout(self, planes: int, height: int, width: int) -> tuple[Layout, int]:
        """Return two convolutions for each number of channels, and the number of features.

        Raises:
            ValueError: If the lists have different lengths.
        """
        lists = (self.channels, self.kernels, self.pools, self.strides)
        if len(set(map(len, lists))) > 1:
            raise ValueError(
                "network.channels, kernels, pools and strides have a number for each block; they"
                f" have {', '.join(str(len(numbers)) for numbers in lists)}"
            )
        layout: Layout = {}
        for block, (channels, kernel, _, stride) in enumerate(zip(*lists, strict=True)):
            for name in self.incoming(f"block.{block}"):
                layer = layers.convolution_layout(name, planes, channels, kernel)
                layout |= self.hidden_layout(name, layer, channels)
            planes, height, width = channels, -(-height // stride), -(-width // stride)
        return layout, planes * height * width

    def chains(self, spaces: Spaces) -> list[list[str]]:
        """Return the blocks."""
        return [[f"block.{block}" for block in range(len(self.channels))]]

    def incoming(self, name: str) -> tuple[str, ...]:
        """Return both convolutions of a block, or a dense layer."""
        is_block = name.startswith("block.")
        return tuple(f"{name}.{path}" for path in PATHS) if is_block else (name,)

    def features(self, p: Parameters, x: Tensor, scale: float) -> Tensor:
        """Return [batch, channels, height, width]."""
        sizes = zip(self.kernels, self.pools, self.strides, strict=True)
        for block, (kernel, pool, stride) in enumerate(sizes):
            x = _padded(x, kernel, 1, 0)
            name = f"block.{block}"
            first, second = (
                self.activation(layers.convolve(p, path, x, scale=scale))
                for path in self.incoming(name)
            )
            product = layers.record(p, name, first * second)
            x = F.max_pool2d(_padded(product, pool, stride, -float("inf")), pool, stride)
            scale = 1
        return x

    @property
    def is_large(self) -> bool:
        """True if a block shrinks images, which small ones need not be."""
        return max(self.strides) > 1

    def is_busy(self, spaces: Spaces) -> bool:
        """Return whether there is a picture of a usual size."""
        return has_large_pictures(spaces)


def _padded(x: Tensor, window: int, stride: int, value: float) -> Tensor:
    """Return images [batch, channels, height, width] with the padding that is called SAME.

    A window is then at ceil(side / stride) places along each side. Of an odd number of rows or
    columns of padding, the larger half comes after the image.
    """
    padding: list[int] = []
    for side in (x.shape[3], x.shape[2]):  # F.pad takes the last axis first
        total = max((-(-side // stride) - 1) * stride + window - side, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value) if any(padding) else x
