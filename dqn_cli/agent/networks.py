"""Networks that map observations to `z`, the atoms that a head reads each action's value from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.parameters import Layout, Parameter, linear
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Real

Parameters = Mapping[str, Tensor]

LARGEST_TABLE = 10**8


@dataclass
class Network:
    """What every network answers; a new one is a dataclass with these two methods."""

    def layout(self, spaces: Spaces, atoms: int) -> Layout:
        """The parameters this network needs for these spaces; ValueError if it can't serve them."""
        raise NotImplementedError

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, atoms: int) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, atoms]."""
        raise NotImplementedError


@dataclass
class Mlp(Network):
    """Fully connected layers with ReLU; optionally with LayerNorm, optionally dueling.

    Dueling (Wang et al. 2016, eq. 9): the last hidden layer exists twice, once for the state's
    value and once for the actions' advantages.
    """

    widths: list[Count]
    layer_norm: bool
    dueling: bool

    def layout(self, spaces: Spaces, atoms: int) -> Layout:
        """Weights and biases of the torso, then of one stream (`advantage`) or two (`value`)."""
        layout: dict[str, Parameter] = {}
        inputs = spaces.observation_size
        for index, width in enumerate(self._torso):
            layout |= self._hidden(f"torso.{index}", inputs, width)
            inputs = width
        streams = {"advantage": spaces.actions * atoms}
        if self.dueling:
            streams["value"] = atoms
        for name, outputs in streams.items():
            stream_inputs = inputs
            for width in self._stream:
                layout |= self._hidden(f"{name}.hidden", inputs, width)
                stream_inputs = width
            layout |= linear(f"{name}.out", stream_inputs, outputs)
        return layout

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, atoms: int) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, atoms]."""
        x = obs.flatten(1)  # [batch, observation_size]
        for index in range(len(self._torso)):
            x = self._activation(p, f"torso.{index}", x)
        advantage = self._output(p, "advantage", x).view(-1, spaces.actions, atoms)
        if not self.dueling:
            return advantage  # [batch, actions, atoms]
        value = self._output(p, "value", x).unsqueeze(1)  # [batch, 1, atoms]
        return value + advantage - advantage.mean(1, keepdim=True)

    @property
    def _torso(self) -> list[int]:
        return self.widths[:-1] if self.dueling else self.widths

    @property
    def _stream(self) -> list[int]:
        return self.widths[-1:] if self.dueling else []

    def _hidden(self, name: str, inputs: int, width: int) -> dict[str, Parameter]:
        layer = linear(name, inputs, width)
        if self.layer_norm:
            layer[f"{name}.scale"] = Parameter((width,), 1, 1)
            layer[f"{name}.shift"] = Parameter((width,), 0, 0)
        return layer

    def _activation(self, p: Parameters, name: str, x: Tensor) -> Tensor:
        x = torch.addmm(p[f"{name}.bias"], x, p[f"{name}.weight"])
        if self.layer_norm:
            x = F.layer_norm(x, x.shape[1:], p[f"{name}.scale"], p[f"{name}.shift"])
        return x.relu()

    def _output(self, p: Parameters, name: str, x: Tensor) -> Tensor:
        if self._stream:
            x = self._activation(p, f"{name}.hidden", x)
        return torch.addmm(p[f"{name}.out.bias"], x, p[f"{name}.out.weight"])


@dataclass
class Table(Network):
    """One value for each cell of a discretised observation: tabular Q-learning (Watkins 1989).

    One-hot observations are their own cells. Others are cut into `bins` for each element between
    `low` and `high` (null: the environment's own bounds); beyond them the outermost bin counts.
    """

    bins: Count
    low: list[Real] | None
    high: list[Real] | None

    def layout(self, spaces: Spaces, atoms: int) -> Layout:
        """One table of zeros, [cells, actions * atoms]; ValueError if it would be huge."""
        self._bounds(spaces)
        cells = self._cells(spaces)
        if cells * spaces.actions * atoms > LARGEST_TABLE:
            raise ValueError(
                f"network=table would need {cells * spaces.actions * atoms:.2g} values;"
                f" at most {LARGEST_TABLE:.0e} are possible: use fewer network.bins or network=mlp"
            )
        return {"table": Parameter((cells, spaces.actions * atoms), 0, 0)}

    def __call__(self, p: Parameters, obs: Tensor, spaces: Spaces, atoms: int) -> Tensor:
        """Observations [batch, *shape] to z [batch, actions, atoms]."""
        x = obs.flatten(1)  # [batch, observation_size]
        if spaces.one_hot:
            cell = x.argmax(1)
        else:
            low, high = self._bounds(spaces)
            unit = (x - x.new_tensor(low)) / (x.new_tensor(high) - x.new_tensor(low))
            digits = (unit * self.bins).clamp(0, self.bins - 1).long()
            cell = reduce(lambda cell, digit: cell * self.bins + digit, digits.unbind(1))
        return F.embedding(cell, p["table"]).view(
            -1, spaces.actions, atoms
        )  # [batch, actions, atoms]

    def _cells(self, spaces: Spaces) -> int:
        if spaces.one_hot:
            return spaces.observation_size
        cells: int = self.bins**spaces.observation_size
        return cells

    def _bounds(self, spaces: Spaces) -> tuple[list[float], list[float]]:
        low = list(spaces.low) if self.low is None else self.low
        high = list(spaces.high) if self.high is None else self.high
        size = spaces.observation_size
        if len(low) != size or len(high) != size:
            raise ValueError(
                f"network.low and network.high need {size} numbers each, one for each element"
                f" of the observation; they have {len(low)} and {len(high)}"
            )
        for element, (least, most) in enumerate(zip(low, high, strict=True)):
            if not (math.isfinite(least) and math.isfinite(most) and least < most):
                raise ValueError(
                    f"network=table needs finite bounds, and element {element} of the observation"
                    f" runs from {least:g} to {most:g}: set network.low and network.high"
                )
        return low, high
