"""Random streams: one for each purpose, derived from a run's seed and the purpose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024  # numbers drawn at once, because a call is expensive
KINDS = ("random", "standard_normal")


class Purpose(Enum):
    """Purpose of random numbers; a draw for one purpose never shifts those of another."""

    weights = "weights"
    exploration = "exploration"
    replay = "replay"
    noise = "noise"
    resets = "resets"
    environment = "environment"
    evaluation = "evaluation"  # while a run goes on
    recording = "recording"  # by dqn-eval
    final_evaluation = "judgement"  # by dqn-eval; the word is part of each seed


class Randomness:
    """Random streams of all members for one purpose.

    Numbers are drawn in blocks. A member's numbers don't depend on how many are asked for at once.
    """

    def __init__(self, seeds: Sequence[int], purpose: Purpose) -> None:
        word = int.from_bytes(purpose.value.encode(), "little")
        self._generators = [np.random.default_rng([seed, word]) for seed in seeds]
        self._kinds = {
            kind: _Blocks([np.random.default_rng([seed, word, nth]) for seed in seeds], kind)
            for nth, kind in enumerate(KINDS, 1)
        }

    def __iter__(self) -> Iterator[np.random.Generator]:
        """Return a generator for each member, independent of the streams below."""
        return iter(self._generators)

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draw numbers in [0, 1), [members, *shape], each member's from its own stream."""
        return self._kinds["random"].take(shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Draw standard normal numbers, [members, *shape], each member's from its own stream."""
        return self._kinds["standard_normal"].take(shape)

    def state(self, member: int) -> dict[str, Any]:
        """Return the state of a member's streams, as plain numbers and strings."""
        own = dict(self._generators[member].bit_generator.state)
        return {"own": own} | {kind: self._kinds[kind].state(member) for kind in KINDS}

    def load(self, state: Mapping[str, Any], member: int) -> None:
        """Restore a member's `state`."""
        self._generators[member].bit_generator.state = dict(state["own"])
        for kind in KINDS:
            self._kinds[kind].load(state[kind], member)


class RandomStreams(NamedTuple):
    """Random streams that training advances; a checkpoint has their states."""

    exploration: Randomness
    replay: Randomness
    noise: Randomness
    resets: Randomness

    @classmethod
    def of(cls, seeds: Sequence[int]) -> RandomStreams:
        """Return the streams of new runs with these seeds."""
        return cls(*(Randomness(seeds, Purpose(name)) for name in cls._fields))


class _Blocks:
    """Random numbers of one kind; they are drawn for each member in blocks and used in order."""

    def __init__(self, generators: list[np.random.Generator], kind: str) -> None:
        self._generators, self._kind = generators, kind
        self._block = np.zeros((len(generators), 0))  # members use the same count, in lockstep
        self._used = 0

    def take(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the next numbers, [members, *shape]."""
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
        """Return the generator's state, and the numbers that were drawn but not used."""
        generator = dict(self._generators[member].bit_generator.state)
        rest = self._block[member, self._used :].tolist()
        return {"generator": generator, "rest": rest}

    def load(self, state: Mapping[str, Any], member: int) -> None:
        """Restore a `state`; all members have the same count of numbers left."""
        self._generators[member].bit_generator.state = dict(state["generator"])
        rest = state["rest"]
        if self._used or self._block.shape[1] != len(rest):
            self._block, self._used = np.zeros((len(self._generators), len(rest))), 0
        self._block[member] = rest
