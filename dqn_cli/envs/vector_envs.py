"""The interface of environments that are stepped together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.replay.stream import EnvStep


class VectorEnvs(ABC):
    """Environments whose arrays have one leading axis, [envs].

    Where an episode ends, the next one starts in the same step. Arrays that a method returns are
    never overwritten by a later call.
    """

    spaces: Spaces  # of a single environment
    is_restorable = True  # False if no snapshot brings them back
    not_restored: Mapping[int, str] = {}  # why these left their snapshot

    @abstractmethod
    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes, or restore the snapshots; call it once, before the first step.

        An environment that can't be restored begins a new episode, see `not_restored`.

        Args:
            actions: Number of actions, legal or not.
            dtype: Type that observations are converted to.

        Returns:
            Observations [envs, *shape], legal actions [envs, actions], and whether any environment
            masks its actions.
        """

    @abstractmethod
    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each environment."""

    def newly_seeded(self, ended: Array) -> Array:
        """Return which environments moved on to their next seed in the last step, [envs].

        By default every episode has its own seed, so these are the environments that `ended`.
        """
        return ended

    @abstractmethod
    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Close every environment; what fails or takes longer than `patience` gets a warning."""
