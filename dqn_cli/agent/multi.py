"""A network of parts: convolutions for pictures, dense layers for all else, joined."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.convolutional import Convolutional
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.normalization import picture_scale
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import PICTURE, Part, Spaces
from dqn_cli.ranges import Count

# Kernel size and stride of a convolution, by the smallest side that it is for. On 84 by 84 pixels
# these are the convolutions of Mnih et al. 2015.
CONVOLUTIONS = ((40, 8, 4), (12, 4, 2), (3, 3, 1))


@dataclass
class Multi(Convolutional):
    """Convolutions for each picture, one dense layer for all other parts, then an MLP.

    Each picture becomes `features` numbers, and so do the other parts together. An observation
    without pictures goes to the MLP as it is. `channels` are the outputs of the convolutions, of
    which small pictures have fewer.
    """

    channels: list[Count]
    features: Count

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of the layers before the streams, and the number of features."""
        layout, features = self.parts_layout(spaces)
        dense, features = self.dense_torso_layout(features)
        return layout | dense, features

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to features [batch, features]."""
        return self.dense_torso(p, self.join_parts(p, obs, spaces))

    def is_busy(self, spaces: Spaces) -> bool:
        """Return whether there is a picture of a usual size."""
        return has_large_pictures(spaces)

    def chains(self, spaces: Spaces) -> list[list[str]]:
        """Return the layers of each picture, and that of all other parts, in order."""
        pictures = [pair for pair in enumerate(spaces.parts) if pair[1].kind == PICTURE]
        chains = [
            [*(name for name, *_ in self._convolutions(index, part)), f"part.{index}"]
            for index, part in pictures
        ]
        return [*chains, ["others"]] if 0 < len(pictures) < len(spaces.parts) else chains

    def parts_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of the layers of each part, and the number of their features."""
        pictures = [pair for pair in enumerate(spaces.parts) if pair[1].kind == PICTURE]
        if not pictures:
            return {}, spaces.observation_size
        layout: Layout = {}
        for index, part in pictures:
            height, width, colors = _picture_shape(part)
            colors *= max(spaces.frames, 1)
            for name, channels, kernel, stride in self._convolutions(index, part):
                layer = layers.convolution_layout(name, colors, channels, kernel)
                layout |= self.hidden_layout(name, layer, channels)
                height, width = ((side - kernel) // stride + 1 for side in (height, width))
                colors = channels
            layout |= self._dense_layout(f"part.{index}", colors * height * width)
        others = sum(part.size for part in spaces.parts if part.kind != PICTURE)
        if not others:
            return layout, self.features * len(pictures)
        layout |= self._dense_layout("others", others * max(spaces.frames, 1))
        return layout, self.features * (len(pictures) + 1)

    def join_parts(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to the features of all parts, [batch, features]."""
        if all(part.kind != PICTURE for part in spaces.parts):
            return obs.flatten(1)  # [batch, observation_size]
        frames = max(spaces.frames, 1)
        features, others = [], []
        for index, (part, piece) in enumerate(zip(spaces.parts, spaces.split(obs), strict=True)):
            if part.kind != PICTURE:
                others.append(piece.flatten(1))  # [batch, frames * size]
                continue
            height, width, colors = _picture_shape(part)
            x = piece.reshape(-1, frames, height, width, colors).movedim(4, 2)
            x = x.flatten(1, 2)  # [batch, frames * colors, height, width]
            scale = picture_scale(p, part)
            for name, _, _, stride in self._convolutions(index, part):
                x = layers.hidden_convolution(p, name, x, stride, scale, self.activation)
                scale = 1
            x = x if scale == 1 else x * scale  # without a convolution
            x = x.flatten(1)  # [batch, pixels]
            features.append(layers.hidden(p, f"part.{index}", x, self.activation))
        if others:
            features.append(layers.hidden(p, "others", torch.cat(others, 1), self.activation))
        return torch.cat(features, 1)  # [batch, parts * features]

    def _dense_layout(self, name: str, inputs: int) -> Layout:
        layer = layers.linear_layout(name, inputs, self.features)
        return self.hidden_layout(name, layer, self.features)

    def _convolutions(self, index: int, part: Part) -> Iterator[tuple[str, int, int, int]]:
        """Yield name, channels, kernel size and stride of each convolution of a picture."""
        side = min(_picture_shape(part)[:2])
        for number, channels in enumerate(self.channels):
            fitting = [(kernel, stride) for least, kernel, stride in CONVOLUTIONS if side >= least]
            if not fitting:
                return
            kernel, stride = fitting[0]
            yield f"part.{index}.convolution.{number}", channels, kernel, stride
            side = (side - kernel) // stride + 1


def has_large_pictures(spaces: Spaces) -> bool:
    """Return whether there is a picture whose sides are those of video frames."""
    pictures = [part for part in spaces.parts if part.kind == PICTURE]
    return any(min(part.shape[:2]) >= CONVOLUTIONS[0][0] for part in pictures)


def _picture_shape(part: Part) -> tuple[int, int, int]:
    """Return height, width and colors of a picture, which may have no axis of colors."""
    height, width = part.shape[:2]
    return height, width, math.prod(part.shape[2:])
