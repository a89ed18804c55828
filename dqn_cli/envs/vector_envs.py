"""The interface of environments that are stepped together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.replay.stream import EnvStep


class VectorEnvs(ABC):
    """Environments whose arrays have one leading axis, [envs].

    Where an episode ends, the next one starts in the same step. Arrays that a method returns are
    never overwritten by a later call.
    """

    observation_space: gymnasium.Space[Any]  # of a single environment

    @abstractmethod
    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes; call it once, before the first step.

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
    def close(self) -> None:
        """Close every environment."""


def legal_actions(info: dict[str, Any], actions: int, env_id: str) -> Array:
    """Return the mask of legal actions [actions] in an environment's `info`.

    All actions are legal without a mask. They are all legal too if the mask allows none, as it may
    at the end of an episode, where no action follows.

    Raises:
        EnvironmentFailure: The mask has another size.
    """
    if "action_mask" not in info:
        return np.ones(actions, bool)
    mask = np.asarray(info["action_mask"])
    if mask.shape != (actions,):
        raise EnvironmentFailure(
            f"env={env_id}: action_mask has shape {mask.shape}, but there are {actions} actions"
        )
    mask = mask.astype(bool)
    return mask if mask.any() else np.ones(actions, bool)
