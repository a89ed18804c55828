"""Recurrent networks, for environments whose state one observation does not show."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Natural


@dataclass
class Recurrent(Multi):
    """Base of recurrent networks: torso, a cell of `units`, streams (Hausknecht & Stone 2015).

    Sequences of `length` steps are learned from. Each begins with a stored state, which is first
    refreshed over `burn_in` steps without gradient (Kapturowski et al. 2019, section 3).
    """

    units: Count
    burn_in: Natural
    length: Count

    @property
    def recycles(self) -> bool:
        """False: a cell's units lead to itself."""
        return False

    @property
    def state_size(self) -> int:
        """Length of the state, which is all zeros when an episode begins."""
        return self.units

    @property
    def gates(self) -> int:
        """Number of gates, each of `units`, that the cell computes in each step."""
        raise NotImplementedError

    def cell(self, p: Parameters, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return output [batch, units] and next state, from the inputs' part of the gates."""
        raise NotImplementedError

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of dense torso and cell, and the number of features."""
        layout, features = super().torso_layout(spaces)
        columns = self.gates * self.units
        layout |= layers.linear_layout("cell.input", features, columns)
        return layout | layers.linear_layout("cell.state", self.units, columns), self.units

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map each observation to features as if an episode began with it."""
        zeros = obs.new_zeros(obs.shape[0], self.state_size)
        return self.run_cell(p, obs.unsqueeze(1), zeros, None, spaces)[0]

    def unroll(
        self,
        p: Parameters,
        obs: Tensor,
        state: Tensor,
        starts: Tensor | None,
        spaces: Spaces,
        head: Head,
    ) -> tuple[Tensor, Tensor]:
        """Map sequences of observations to z.

        Args:
            p: Parameters by name.
            obs: Observations, [batch, time, *shape].
            state: State before the first observation, [batch, state].
            starts: True where an episode begins, [batch, time]; None for nowhere.
            spaces: Spaces of the environment.
            head: Head that reads z.

        Returns:
            z [batch * time, actions, atoms], and the state after the last observation.
        """
        features, state = self.run_cell(p, obs, state, starts, spaces)
        return self.streams(p, features, spaces, head), state

    def run_cell(
        self,
        p: Parameters,
        obs: Tensor,
        state: Tensor,
        starts: Tensor | None,
        spaces: Spaces,
    ) -> tuple[Tensor, Tensor]:
        """Return the cell's outputs [batch * time, units] along a sequence, and the last state."""
        batch, time = obs.shape[:2]
        rows = obs.reshape(batch * time, *obs.shape[2:])  # [batch * time, *shape]
        x = super().torso(p, rows, spaces)  # [batch * time, features]
        gates = layers.dense(p, "cell.input", x).view(batch, time, -1)  # [batch, time, gates]
        outputs = []
        for step in range(time):
            if starts is not None:
                state = state * ~starts[:, step, None]
            output, state = self.cell(p, gates[:, step], state)
            outputs.append(output)
        return torch.stack(outputs, 1).flatten(0, 1), state  # [batch * time, units]


@dataclass
class Gru(Recurrent):
    """Gated recurrent unit (Cho et al. 2014)."""

    @property
    def gates(self) -> int:
        """Reset, update and candidate."""
        return 3

    def cell(self, p: Parameters, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one step as PyTorch's GRUCell."""
        reset, keep, candidate = gates.chunk(3, 1)
        past = layers.dense(p, "cell.state", state)
        past_reset, past_keep, past_candidate = past.chunk(3, 1)
        keep = (keep + past_keep).sigmoid()
        candidate = (candidate + (reset + past_reset).sigmoid() * past_candidate).tanh()
        state = candidate + keep * (state - candidate)
        return state, state


@dataclass
class Lstm(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000)."""

    @property
    def state_size(self) -> int:
        """Length of output and cell state together, 2 * units."""
        size: int = 2 * self.units
        return size

    @property
    def gates(self) -> int:
        """Input, forget, candidate and output."""
        return 4

    def cell(self, p: Parameters, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one step as PyTorch's LSTMCell."""
        output, cell_state = state.chunk(2, 1)
        gates = gates + layers.dense(p, "cell.state", output)
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
        cell_state = forget_gate.sigmoid() * cell_state + input_gate.sigmoid() * candidate.tanh()
        output = output_gate.sigmoid() * cell_state.tanh()
        return output, torch.cat([output, cell_state], 1)
