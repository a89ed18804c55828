"""Recurrent networks: a memory between torso and streams, for what one observation hides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Natural


@dataclass
class Recurrent(Mlp):
    """Torso, a recurrent cell of `units`, streams (Hausknecht & Stone 2015).

    It learns on sequences of `length` steps from a stored state that is first brought up to date
    over `burn_in` steps without gradient (Kapturowski et al. 2019, section 3).
    """

    units: Count
    burn_in: Natural
    length: Count

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step; all 0 when an episode begins."""
        return self.units

    @property
    def gates(self) -> int:
        """How many vectors of `units` the cell computes in each step."""
        raise NotImplementedError

    def cell(self, p: Parameters, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output [batch, units] and next state, of the inputs' part of the gates and a state."""
        raise NotImplementedError

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """The dense torso and the cell, which has `units` features."""
        layout, features = self.dense_torso_layout(spaces.observation_size)
        columns = self.gates * self.units
        layout |= layers.linear("cell.input", features, columns)
        return layout | layers.linear("cell.state", self.units, columns), self.units

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Features of each observation as if an episode began with it."""
        zeros = obs.new_zeros(obs.shape[0], self.state_size)
        return self.remember(p, obs.unsqueeze(1), zeros, None)[0]

    def unroll(
        self,
        p: Parameters,
        obs: Tensor,
        state: Tensor,
        starts: Tensor | None,
        spaces: Spaces,
        head: Head,
    ) -> tuple[Tensor, Tensor]:
        """The z [batch * time, actions, atoms] and the last state, of obs [batch, time, *shape].

        Where `starts` [batch, time] is true an episode begins, with an empty memory.
        """
        features, state = self.remember(p, obs, state, starts)
        return self.streams(p, features, spaces, head), state

    def remember(
        self, p: Parameters, obs: Tensor, state: Tensor, starts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The cell's outputs [batch * time, units] along a sequence, and the last state."""
        batch, time = obs.shape[:2]
        x = self.dense_torso(p, obs.reshape(batch * time, -1))  # [batch * time, features]
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
        """As PyTorch's GRUCell computes it."""
        reset, update, candidate = gates.chunk(3, 1)
        past = layers.dense(p, "cell.state", state)
        past_reset, past_update, past_candidate = past.chunk(3, 1)
        update = (update + past_update).sigmoid()
        candidate = (candidate + (reset + past_reset).sigmoid() * past_candidate).tanh()
        state = candidate + update * (state - candidate)
        return state, state


@dataclass
class Lstm(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with Gers et al.'s forget gate)."""

    @property
    def state_size(self) -> int:
        """Output and cell, [2 * units]."""
        size: int = 2 * self.units
        return size

    @property
    def gates(self) -> int:
        """Input, forget, candidate and output."""
        return 4

    def cell(self, p: Parameters, gates: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As PyTorch's LSTMCell computes it."""
        output, memory = state.chunk(2, 1)
        gates = gates + layers.dense(p, "cell.state", output)
        enter, forget, candidate, leave = gates.chunk(4, 1)
        memory = forget.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
        output = leave.sigmoid() * memory.tanh()
        return output, torch.cat([output, memory], 1)
