"""A network for small images: 3x3 convolutions in front of fully connected layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.convolutional import Spatial
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces

KERNEL = 3


@dataclass
class MinAtarCnn(Spatial):
    """3x3 convolutions in front of fully connected layers (Young & Tian 2019, section 4).

    `channels` are the outputs of each convolution; observations are [height, width, planes].
    """

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of convolutions and dense torso, and the number of features.

        Raises:
            ValueError: If observations are not images, or too small.
        """
        shape = spaces.observation_shape
        smallest = (KERNEL - 1) * len(self.channels) + 1
        if len(shape) != 3 or spaces.frames or min(shape[:2]) < smallest:
            raise ValueError(
                f"network=minatar needs observations [height, width, planes] of at least {smallest}"
                f" by {smallest}; these are {list(shape)}: use network=multi"
            )
        height, width, planes = shape
        layout: Layout = {}
        for index, channels in enumerate(self.channels):
            name = f"convolution.{index}"
            layer = layers.convolution_layout(name, planes, channels, KERNEL)
            layout |= self.hidden_layout(name, layer, channels)
            height, width, planes = height - KERNEL + 1, width - KERNEL + 1, channels
        dense, features = self.dense_torso_layout(height * width * planes)
        return layout | dense, features

    def chains(self, spaces: Spaces) -> list[list[str]]:
        """Return the convolutions."""
        names = [f"convolution.{index}" for index in range(len(self.channels))]
        return [names] if names else []

    def convolved(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, height, width, planes] to [batch, channels, ...]."""
        x = obs.movedim(-1, 1)  # [batch, planes, height, width]
        for index in range(len(self.channels)):
            x = layers.hidden_convolution(p, f"convolution.{index}", x, activation=self.activation)
        return x
