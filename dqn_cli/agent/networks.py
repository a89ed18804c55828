"""Networks that map observations to `z`, the atoms that a head reads each action's value from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Positive

STREAMS = ("advantage", "value")


@dataclass
class Network:
    """What every network answers; a new one is a dataclass with these two methods."""

    def layout(self, spaces: Spaces, head: Head) -> Layout:
        """The parameters this network needs for these spaces; ValueError if it can't serve them."""
        raise NotImplementedError

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, head.outputs]."""
        raise NotImplementedError

    @property
    def has_features(self) -> bool:
        """Whether features go through `head.expand`, which implicit quantiles need."""
        return False

    @property
    def is_noisy(self) -> bool:
        """Whether any layer has noise of its own."""
        return False

    @property
    def is_large(self) -> bool:
        """Whether a single member's layers keep a processor busy, so that mapping gains nothing."""
        return False

    def is_last(self, name: str) -> bool:
        """Whether a parameter belongs to the last layers, those that periodic resets renew."""
        return False


@dataclass
class Mlp(Network):
    """Fully connected layers with ReLU: a torso, then one stream or, dueling, two.

    The last of `widths` is the streams' own hidden layer. Dueling (Wang et al. 2016, eq. 9) gives
    the state's value and the actions' advantages a stream each. Noisy layers (Fortunato et al.
    2018) are those of the streams; spectral norm (Gogianu et al. 2021) is for all other hidden
    layers.
    """

    widths: list[Count]
    layer_norm: bool
    spectral_norm: bool
    dueling: bool
    noisy: bool
    sigma: Positive

    @property
    def has_features(self) -> bool:
        """The torso's outputs."""
        return True

    @property
    def is_noisy(self) -> bool:
        """As chosen."""
        return self.noisy

    def is_last(self, name: str) -> bool:
        """The streams."""
        return name.startswith(STREAMS)

    def layout(self, spaces: Spaces, head: Head) -> Layout:
        """Torso, head, and a stream (`advantage`) or two.

        ValueError if spectral norm finds no layer.
        """
        layout, features = self.torso_layout(spaces)
        layout |= head.embedding(features)
        outputs = {"advantage": spaces.actions * head.outputs}
        if self.dueling:
            outputs["value"] = head.outputs
        dense: Callable[[str, int, int], Layout] = layers.linear
        if self.noisy:
            dense = self._noisy
        for stream, count in outputs.items():
            inputs = features
            for width in self.widths[-1:]:
                name = f"{stream}.hidden"
                layout |= self.hidden_layout(name, dense(name, inputs, width), width)
                inputs = width
            layout |= dense(f"{stream}.out", inputs, count)
        if self.spectral_norm and not layers.is_spectral(layout):
            raise ValueError(
                "network.spectral_norm=true finds no layer to normalise: give network.widths more"
                " layers, or leave network.noisy or network.spectral_norm false"
            )
        return layout

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, atoms]."""
        return self.streams(p, self.torso(p, obs, spaces), spaces, head)

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """The layers before the streams, and how many features come out."""
        return self.dense_torso_layout(spaces.observation_size)

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Features [batch, features] of observations [batch, *shape]."""
        return self.dense_torso(p, obs.flatten(1))  # [batch, observation_size]

    def dense_torso_layout(self, inputs: int) -> tuple[Layout, int]:
        """All hidden layers but the last of `widths`, and how many features come out."""
        layout: Layout = {}
        for index, width in enumerate(self.widths[:-1]):
            name = f"torso.{index}"
            layout |= self.hidden_layout(name, layers.linear(name, inputs, width), width)
            inputs = width
        return layout, inputs

    def dense_torso(self, p: Parameters, x: Tensor) -> Tensor:
        """Features [batch, features] of inputs [batch, inputs]."""
        for index in range(len(self.widths[:-1])):
            x = layers.hidden(p, f"torso.{index}", x)
        return x

    def hidden_layout(self, name: str, layer: Layout, units: int) -> Layout:
        """A hidden layer's own parameters and those of what normalises it, as chosen."""
        if self.spectral_norm and f"{name}.weight_sigma" not in layer:
            layer = layer | layers.spectral(name, units)
        return layer | layers.normalized(name, units) if self.layer_norm else layer

    def streams(self, p: Parameters, features: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """The z [batch, actions, atoms] of features [batch, features]."""
        x = head.expand(p, features)
        advantage = self._stream(p, "advantage", x)
        advantage = advantage.view(-1, spaces.actions, head.outputs)  # [batch, actions, outputs]
        if not self.dueling:
            return head.fold(p, advantage)
        value = self._stream(p, "value", x).unsqueeze(1)  # [batch, 1, outputs]
        return head.fold(p, value + advantage - advantage.mean(1, keepdim=True))

    def _stream(self, p: Parameters, stream: str, x: Tensor) -> Tensor:
        if self.widths:
            x = layers.hidden(p, f"{stream}.hidden", x)
        return layers.dense(p, f"{stream}.out", x)

    def _noisy(self, name: str, inputs: int, outputs: int) -> Layout:
        return layers.noisy_linear(name, inputs, outputs, self.sigma)
