"""Streams of random numbers: one for each purpose, derived from a run's seed and that purpose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024  # numbers drawn at once, for a call costs as much as a hundred of them
KINDS = ("random", "standard_normal")


class Purpose(Enum):
    """What random numbers are drawn for; a draw for one never shifts those for another."""

    weights = "weights"
    exploration = "exploration"
    replay = "replay"
    noise = "noise"
    resets = "resets"
    environment = "environment"
    evaluation = "evaluation"  # while a run goes on
    final_evaluation = "judgement"  # by dqn-eval; the word is part of each seed


class Randomness:
    """The streams of every member of a run, for one purpose.

    Numbers are drawn in blocks, which a member's stream does not show: it gives the same numbers,
    whatever is asked of it at once.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose) -> None:
        word = int.from_bytes(purpose.value.encode(), "little")
        self._generators = [np.random.default_rng([seed, word]) for seed in seeds]
        self._kinds = {
            kind: _Blocks([np.random.default_rng([seed, word, nth]) for seed in seeds], kind)
            for nth, kind in enumerate(KINDS, 1)
        }

    def __iter__(self) -> Iterator[np.random.Generator]:
        """A generator for each member, apart from the streams below."""
        return iter(self._generators)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), [members, *shape], each member's from its own stream."""
        return self._kinds["random"].take(shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Standard normal numbers, [members, *shape], each member's from its own stream."""
        return self._kinds["standard_normal"].take(shape)

    def state(self, member: int) -> dict[str, Any]:
        """Where a member's streams stand, as plain numbers and strings."""
        own = dict(self._generators[member].bit_generator.state)
        return {"own": own} | {kind: self._kinds[kind].state(member) for kind in KINDS}

    def load(self, state: Mapping[str, Any], member: int) -> None:
        """Goes on from a member's `state`."""
        self._generators[member].bit_generator.state = dict(state["own"])
        for kind in KINDS:
            self._kinds[kind].load(state[kind], member)


class RandomStreams(NamedTuple):
    """The streams that training moves on, and that a checkpoint has to remember."""

    exploration: Randomness
    replay: Randomness
    noise: Randomness
    resets: Randomness

    @classmethod
    def of(cls, seeds: Sequence[int]) -> RandomStreams:
        """Those of fresh runs with these seeds."""
        return cls(*(Randomness(seeds, Purpose(name)) for name in cls._fields))


class _Blocks:
    """Numbers of one kind, drawn for each member by the thousand and given out in order."""

    def __init__(self, generators: list[np.random.Generator], kind: str) -> None:
        self._generators, self._kind = generators, kind
        self._block = np.zeros((len(generators), 0))  # members ask for the same, in step
        self._used = 0

    def take(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The next numbers, [members, *shape]."""
        count = math.prod(shape)
        if self._used + count > self._block.shape[1]:
            fresh = max(BLOCK, count)
            drawn = [getattr(each, self._kind)(fresh) for each in self._generators]
            self._block = np.concatenate([self._block[:, self._used :], drawn], 1)
            self._used = 0
        numbers = self._block[:, self._used : self._used + count]
        self._used += count
        return numbers.reshape(-1, *shape)  # [members, *shape]

    def state(self, member: int) -> dict[str, Any]:
        """The generator's state, and the numbers that were drawn but not given out."""
        generator = dict(self._generators[member].bit_generator.state)
        rest = self._block[member, self._used :].tolist()
        return {"generator": generator, "rest": rest}

    def load(self, state: Mapping[str, Any], member: int) -> None:
        """Goes on from a `state`; all members have as many numbers left."""
        self._generators[member].bit_generator.state = dict(state["generator"])
        rest = state["rest"]
        if self._used or self._block.shape[1] != len(rest):
            self._block, self._used = np.zeros((len(self._generators), len(rest))), 0
        self._block[member] = rest
