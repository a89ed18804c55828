"""Warnings about metrics that show a wrong setting, each given once in a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head

EDGE_MASS_LIMIT = 0.2  # share of the targets' probability; above it, the support is too narrow


class MetricWarnings:
    """Warnings of one member."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._warned_of_edge_mass = self._warned_of_info = False

    def new(self, metrics: Mapping[str, float], absent: Collection[str]) -> Iterator[str]:
        """Yield what has not been said yet.

        Args:
            metrics: A row of metrics.
            absent: Keys of `log.info` that no step so far had.
        """
        mass, head = metrics.get("train/edge_mass", 0.0), self._head
        if mass > EDGE_MASS_LIMIT and isinstance(head, C51) and not self._warned_of_edge_mass:
            self._warned_of_edge_mass = True
            yield (
                f"{mass:.0%} of the returns' distribution is at the edges of head.v_min="
                f"{head.v_min:g} and head.v_max={head.v_max:g}, beyond which returns can't be told"
                " apart: widen them"
            )
        if absent and not self._warned_of_info:
            self._warned_of_info = True
            yield f"log.info=[{','.join(absent)}]: no step so far had such a number in its info"
