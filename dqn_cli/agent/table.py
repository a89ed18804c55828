"""A table in place of a network: tabular Q-learning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Network
from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.agent.spaces import Spaces
from dqn_cli.ranges import Count, Real

LARGEST_TABLE = 10**8


@dataclass
class Table(Network):
    """One value for each cell of a discretised observation: tabular Q-learning (Watkins 1989).

    A one-hot observation is a cell. Otherwise each element is cut into `bins` between `low` and
    `high` (null: the environment's own bounds); values outside fall into the outermost bins.
    """

    bins: Count
    low: list[Real] | None
    high: list[Real] | None

    def layout(self, spaces: Spaces, head: Head) -> Layout:
        """Return one table of zeros, [cells, actions * outputs].

        Raises:
            ValueError: If the table would be huge, or its bounds are infinite or too few.
        """
        self._bounds(spaces)
        cells = self._cells(spaces)
        columns = spaces.actions * head.outputs
        if cells * columns > LARGEST_TABLE:
            raise ValueError(
                f"network=table would need {min(cells * columns, 10**300):.2g} values;"
                f" at most {LARGEST_TABLE:.0e} are possible: use fewer network.bins or network=mlp"
            )
        return {"table": Parameter((cells, columns), 0, 0)}

    def forward(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        """Map observations [batch, *shape] to z [batch, actions, atoms]."""
        x = obs.flatten(1)  # [batch, observation_size]
        if spaces.is_one_hot:
            cell = x.argmax(1)
        else:
            low, high = self._bounds(spaces)
            unit = (x - x.new_tensor(low)) / (x.new_tensor(high) - x.new_tensor(low))
            digits = (unit * self.bins).clamp(0, self.bins - 1).long()
            cell = reduce(lambda cell, digit: cell * self.bins + digit, digits.unbind(1))
        row = F.embedding(cell, p["table"])  # [batch, actions * outputs]
        return head.fold(p, row.view(-1, spaces.actions, head.outputs))

    def prior_layout(self, spaces: Spaces, head: Head) -> Layout:
        """Return one table of numbers from -1 to 1."""
        return {
            name: entry._replace(low=-1, high=1)
            for name, entry in self.layout(spaces, head).items()
        }

    def _cells(self, spaces: Spaces) -> int:
        if spaces.is_one_hot:
            return spaces.observation_size
        cells: int = self.bins**spaces.observation_size
        return cells

    def _bounds(self, spaces: Spaces) -> tuple[list[float], list[float]]:
        lows, highs = spaces.bounds
        low = lows if self.low is None else self.low
        high = highs if self.high is None else self.high
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
