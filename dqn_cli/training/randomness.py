"""Streams of random numbers: one for each purpose, derived from a run's seed and that purpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Purpose(Enum):
    """What random numbers are drawn for; a draw for one never shifts those for another."""

    weights = "weights"
    exploration = "exploration"
    replay = "replay"
    noise = "noise"
    resets = "resets"
    environment = "environment"
    evaluation = "evaluation"


class Randomness:
    """The streams of every member of a run."""

    def __init__(self, seeds: Sequence[int], purpose: Purpose) -> None:
        word = int.from_bytes(purpose.value.encode(), "little")
        self._generators = [np.random.default_rng([seed, word]) for seed in seeds]

    def __iter__(self) -> Iterator[np.random.Generator]:
        return iter(self._generators)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), [members, *shape], each member's from its own stream."""
        return self._drawn("random", shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Standard normal numbers, [members, *shape], each member's from its own stream."""
        return self._drawn("standard_normal", shape)

    def _drawn(self, kind: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        draws = [getattr(generator, kind)(shape) for generator in self._generators]
        return draws[0][None] if len(draws) == 1 else np.stack(draws)

    def state(self) -> list[dict[str, Any]]:
        """Where each stream stands, as plain numbers and strings."""
        return [dict(generator.bit_generator.state) for generator in self._generators]

    def load(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Goes on from a `state()`."""
        for generator, saved in zip(self._generators, state, strict=True):
            generator.bit_generator.state = dict(saved)
