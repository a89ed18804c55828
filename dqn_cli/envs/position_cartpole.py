"""CartPole without its velocities, a small environment that needs a recurrent network."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from numpy.typing import NDArray

Observation = NDArray[np.float32]

POSITIONS = [0, 2]  # cart position and pole angle; elements 1 and 3 are their velocities


class PositionCartPole(gymnasium.ObservationWrapper[Observation, Any, Any]):
    """CartPole whose observations are [position of the cart, angle of the pole]."""

    def __init__(self, **kwargs: Any) -> None:
        """Pass `kwargs` on to CartPole."""
        super().__init__(CartPoleEnv(**kwargs))
        box = self.env.observation_space
        assert isinstance(box, gymnasium.spaces.Box)
        low, high = box.low[POSITIONS], box.high[POSITIONS]
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)

    def observation(self, observation: Observation) -> Observation:
        """Return the two positions among CartPole's four numbers."""
        return observation[POSITIONS]
