"""Several vector environments side by side, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.replay.stream import EnvStep

ARRAYS = EnvStep._fields[:8]  # that every step has


class JoinedEnvs(VectorEnvs):
    """Vectors of the same size; each member of a population has its own, and so its own seed."""

    def __init__(self, vectors: Sequence[VectorEnvs]) -> None:
        self._vectors = vectors
        self.spaces, self.is_restorable = vectors[0].spaces, vectors[0].is_restorable

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes of all vectors."""
        started = [vector.reset(actions, dtype) for vector in self._vectors]
        obs, mask, masked = zip(*started, strict=True)
        size = len(obs[0])
        self.not_restored = {
            number * size + row: reason
            for number, vector in enumerate(self._vectors)
            for row, reason in vector.not_restored.items()
        }
        return np.concatenate(obs), np.concatenate(mask), any(masked)

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each copy."""
        size = len(actions) // len(self._vectors)
        steps = [
            vector.step(actions[number * size : (number + 1) * size])
            for number, vector in enumerate(self._vectors)
        ]
        joined = {name: np.concatenate([getattr(step, name) for step in steps]) for name in ARRAYS}
        # These are the same array unless an episode ended.
        if all(step.obs is step.final_obs for step in steps):
            joined["obs"], joined["mask"] = joined["final_obs"], joined["final_mask"]
        info = {name: np.concatenate([step.info[name] for step in steps]) for name in steps[0].info}
        is_reset = None
        if any(step.is_reset is not None for step in steps):
            none = np.zeros(size, bool)
            resets = [none if step.is_reset is None else step.is_reset for step in steps]
            is_reset = np.concatenate(resets)
        return EnvStep(**joined, info=info, is_reset=is_reset)

    def newly_seeded(self, ended: Array) -> Array:
        """Return which copies moved on to their next seed in the last step, [envs]."""
        parts = np.split(ended, len(self._vectors))
        pairs = zip(self._vectors, parts, strict=True)
        return np.concatenate([vector.newly_seeded(part) for vector, part in pairs])

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Close every vector, each in `patience` seconds."""
        for vector in self._vectors:
            vector.close(patience)
