"""Networks: from observations to z, the atoms that a head reads action values from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.activations import Activation
from dqn_cli.agent.heads import Head
from dqn_cli.agent.initialization import Initialization, draw_weights
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout, initial
from dqn_cli.agent.recycling import Links
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Positive

STREAMS = ("advantage", "value")


@dataclass
class Network:
    """Base of all networks; a new one implements `layout` and `forward`."""

    def layout(self, spaces: Spaces, head: Head) -> Layout:
        """Return the layout of its parameters.

        Raises:
            ValueError: If the network can't be used for these spaces.
        """
        raise NotImplementedError

    def forward(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Map observations [batch, *shape] to z [batch, actions, atoms]."""
        raise NotImplementedError

    def prior_layout(self, spaces: Spaces, head: Head) -> Layout:
        """Return the layout of a random function of the same kind, which is never trained."""
        return layers.plain_layout(self.layout(spaces, head))

    def initial(self, layout: Layout, spaces: Spaces, random: np.random.Generator) -> Tensor:
        """Draw initial values of a layout, a flat float64 vector [size]."""
        return initial(layout, random)

    @property
    def modules(self) -> dict[str, str]:
        """Modules of the user's own code, by the value of the key that names each."""
        return {}

    @property
    def has_features(self) -> bool:
        """True if features go through `head.compute_z`, which implicit quantiles need."""
        return False

    @property
    def is_noisy(self) -> bool:
        """True if any layer is noisy."""
        return False

    @property
    def is_large(self) -> bool:
        """True if a GPU is faster, whatever the spaces are."""
        return False

    def is_busy(self, spaces: Spaces) -> bool:
        """Return whether one member keeps a processor busy, so that `vmap` gains nothing."""
        return self.is_large

    def is_last(self, name: str) -> bool:
        """Return whether a parameter is of the last layers, which resets reinitialize."""
        return False

    @property
    def recycles(self) -> bool:
        """True if `unit_links` knows the layers around all hidden units."""
        return False

    def unit_links(self, spaces: Spaces) -> dict[str, Links]:
        """Return the layers before and after the units of each hidden layer."""
        return {}


@dataclass
class Mlp(Network):
    """Fully connected layers: a torso, then one stream, or two if dueling.

    The last of `widths` is the hidden layer of each stream. A dueling network has a stream for the
    state's value and one for the actions' advantages (Wang et al. 2016, eq. 9). `noisy` makes the
    streams noisy (Fortunato et al. 2018). `spectral_norm` applies to all other hidden layers
    (Gogianu et al. 2021). `initialization` is that of all weights. A LayerNorm learns a scale and a
    shift if `norm_affine` is true. With `skip` each fully connected layer but the outputs also
    takes what the first one takes (multi-skip, Castanyer et al. 2025).
    """

    widths: list[Count]
    layer_norm: bool
    spectral_norm: bool
    dueling: bool
    noisy: bool
    sigma: Positive
    initialization: Initialization = field(default=Initialization.uniform, kw_only=True)
    activation: Activation = field(default=Activation.relu, kw_only=True)
    norm_affine: bool = field(default=True, kw_only=True)
    skip: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Raise ValueError if `skip` has no layers to skip."""
        if self.skip and len(self.widths) < 2:
            raise ValueError(
                "network.skip=true leads around fully connected layers, and network.widths="
                f"{list(self.widths)} has no two of them: give it another width"
            )

    def initial(self, layout: Layout, spaces: Spaces, random: np.random.Generator) -> Tensor:
        """Draw initial values of a layout, a flat float64 vector [size]."""
        flat = super().initial(layout, spaces, random)
        if self.initialization is not Initialization.uniform:
            draw_weights(flat, layout, self.initialization, random)
        return flat

    @property
    def has_features(self) -> bool:
        """Outputs of the torso."""
        return True

    @property
    def is_noisy(self) -> bool:
        """Set by `noisy`."""
        return self.noisy

    def is_last(self, name: str) -> bool:
        """Return whether the parameter is of a stream."""
        return name.startswith(STREAMS)

    @property
    def recycles(self) -> bool:
        """True of layers that follow each other."""
        return not self.skip

    def chains(self, spaces: Spaces) -> list[list[str]]:
        """Return hidden layers that follow each other, before the torso; it joins several."""
        return []

    def incoming(self, name: str) -> tuple[str, ...]:
        """Return the layers whose outputs are the units of a hidden layer."""
        return (name,)

    def unit_links(self, spaces: Spaces) -> dict[str, Links]:
        """Return the layers before and after the units of each hidden layer."""
        torso = [f"torso.{index}" for index in range(len(self.widths[:-1]))]
        streams = STREAMS if self.dueling else STREAMS[:1]
        hidden = tuple(f"{stream}.hidden" for stream in streams) if self.widths else ()
        out = tuple(f"{stream}.out" for stream in streams)
        chains, links = self.chains(spaces), dict[str, Links]()
        for chain in (*chains, torso):
            for name, following in pairwise(chain):
                links[name] = Links(self.incoming(name), self.incoming(following))
        for index, chain in enumerate(chains):
            after = tuple(torso[:1]) or hidden or out
            links[chain[-1]] = Links(self.incoming(chain[-1]), after, index, len(chains))
        if torso:
            links[torso[-1]] = Links((torso[-1],), hidden)
        return links | {one: Links((one,), (to,)) for one, to in zip(hidden, out, strict=False)}

    def layout(self, spaces: Spaces, head: Head) -> Layout:
        """Return the layout of torso, head and streams.

        Raises:
            ValueError: If there is no layer for spectral norm.
        """
        layout, features = self.torso_layout(spaces)
        layout |= head.embedding(features)
        outputs = {"advantage": spaces.actions * head.outputs}
        if self.dueling:
            outputs["value"] = head.outputs
        dense: Callable[[str, int, int], Layout] = layers.linear_layout
        if self.noisy:
            dense = self._noisy
        for stream, count in outputs.items():
            inputs = features
            for width in self.widths[-1:]:
                name = f"{stream}.hidden"
                layout |= self.hidden_layout(name, dense(name, inputs, width), width)
                inputs = width
            layout |= dense(f"{stream}.out", inputs, count)
        if self.spectral_norm and not layers.has_spectral_norm(layout):
            raise ValueError(
                "network.spectral_norm=true finds no layer to normalise: give network.widths more"
                " layers, or leave network.noisy or network.spectral_norm false"
            )
        return layout

    def forward(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Map observations [batch, *shape] to z [batch, actions, atoms]."""
        return self.streams(p, self.torso(p, obs, spaces), spaces, head)

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of the layers before the streams, and the number of features."""
        return self.dense_torso_layout(spaces.observation_size)

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to features [batch, features]."""
        return self.dense_torso(p, obs.flatten(1))  # [batch, observation_size]

    def dense_torso_layout(self, inputs: int) -> tuple[Layout, int]:
        """Return the layout of all hidden layers but the last, and the number of features."""
        layout: Layout = {}
        skipped = inputs if self.skip else 0
        for index, width in enumerate(self.widths[:-1]):
            name = f"torso.{index}"
            layout |= self.hidden_layout(name, layers.linear_layout(name, inputs, width), width)
            inputs = width + skipped
        return layout, inputs

    def dense_torso(self, p: Parameters, x: Tensor) -> Tensor:
        """Map inputs [batch, inputs] to features [batch, features]."""
        first = x
        for index in range(len(self.widths[:-1])):
            x = layers.hidden(p, f"torso.{index}", x, self.activation)
            if self.skip:
                x = torch.cat([x, first], 1)  # [batch, width + inputs]
        return x

    def hidden_layout(self, name: str, layer: Layout, units: int) -> Layout:
        """Return the layout of a hidden layer with its normalisation."""
        if self.spectral_norm and f"{name}.weight_sigma" not in layer:
            layer = layer | layers.spectral_norm_layout(name, units)
        return self.with_layer_norm(name, layer, units)

    def with_layer_norm(self, name: str, layer: Layout, units: int) -> Layout:
        """Return the layout of a layer, with its LayerNorm if the network has one."""
        if not self.layer_norm:
            return layer
        return layer | layers.layer_norm_layout(name, units, self.norm_affine)

    def streams(self, p: Parameters, features: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Map features [batch, features] to z [batch, actions, atoms]."""

        def last_layers(x: Tensor) -> Tensor:
            advantage = self._stream(p, "advantage", x)
            advantage = advantage.view(-1, spaces.actions, head.outputs)  # [rows, actions, outputs]
            if not self.dueling:
                return advantage
            value = self._stream(p, "value", x).unsqueeze(1)  # [rows, 1, outputs]
            return value + advantage - advantage.mean(1, keepdim=True)

        return head.compute_z(p, features, last_layers)

    def _stream(self, p: Parameters, stream: str, x: Tensor) -> Tensor:
        if self.widths:
            x = layers.hidden(p, f"{stream}.hidden", x, self.activation)
        return layers.dense(p, f"{stream}.out", x)

    def _noisy(self, name: str, inputs: int, outputs: int) -> Layout:
        return layers.noisy_linear_layout(name, inputs, outputs, self.sigma)
