"""Keys of `hydra.sweeper` in a search, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from omegaconf import ListConfig

from dqn_cli.config.validation import ConfigError
from dqn_cli.searching.study import Sampler
from dqn_cli.searching.trial_scores import Objective

Pruner = Enum("Pruner", ["halving", "none"])
Word = TypeVar("Word", bound=Enum)


class SearchOptions(NamedTuple):
    """Options of a search, as typed under `hydra.sweeper`."""

    trials: int
    seeds: int
    extra_seeds: int
    batch: int
    objective: Objective
    sampler: Sampler
    pruner: Pruner
    rungs: Sequence[float]
    reduction: float
    finalists: int
    fresh_seeds: int

    def plan(self) -> dict[str, Any]:
        """Return what must stay the same when the search goes on."""
        return {
            "seeds": self.seeds,
            "extra_seeds": self.extra_seeds,
            "batch": self.batch,
            "objective": self.objective.name,
            "sampler": self.sampler.name,
            "pruner": self.pruner.name,
            "rungs": list(self.rungs),
            "reduction": self.reduction,
        }


def read_options(values: Mapping[str, Any]) -> SearchOptions:
    """Return the options of a search.

    Raises:
        ConfigError: A value is not valid.
    """
    pruner, rungs = _word(values, "pruner", Pruner), _fractions(values, "rungs")
    if pruner is Pruner.halving and not rungs:
        right = "a list of fractions of steps, as [0.1,0.3]; pruner=none stops no trial early"
        raise _invalid("rungs", "[]", right)
    return SearchOptions(
        trials=_count(values, "trials"),
        seeds=_count(values, "seeds"),
        extra_seeds=_extra_seeds(values, pruner),
        batch=_count(values, "batch"),
        objective=_word(values, "objective", Objective),
        sampler=_word(values, "sampler", Sampler),
        pruner=pruner,
        rungs=rungs,
        reduction=_above_one(values, "reduction"),
        finalists=_count(values, "finalists", 0),
        fresh_seeds=_count(values, "fresh_seeds"),
    )


def _extra_seeds(values: Mapping[str, Any], pruner: Pruner) -> int:
    count = _count(values, "extra_seeds", 0)
    if count and pruner is Pruner.none:
        raise _invalid("extra_seeds", count, "0 with pruner=none, which has no rungs to pass")
    return count


def _count(values: Mapping[str, Any], key: str, least: int = 1) -> int:
    value = values[key]
    if type(value) is not int or value < least:
        raise _invalid(key, value, f"a whole number of at least {least}")
    return value


def _word(values: Mapping[str, Any], key: str, words: type[Word]) -> Word:
    value = "none" if values[key] is None else values[key]
    if value not in words.__members__:
        raise _invalid(key, value, " or ".join(words.__members__))
    return words[value]


def _fractions(values: Mapping[str, Any], key: str) -> list[float]:
    value = values[key]
    items: list[Any] = list(value) if isinstance(value, (list, ListConfig)) else [None]
    if not all(isinstance(item, float) and 0 < item < 1 for item in items):
        raise _invalid(key, value, "a list of fractions of steps, as [0.1,0.3]")
    return [float(item) for item in items]


def _above_one(values: Mapping[str, Any], key: str) -> float:
    value = values[key]
    if type(value) not in (int, float) or not 1 < value < math.inf:
        raise _invalid(key, value, "a number above 1")
    return float(value)


def _invalid(key: str, value: Any, right: str) -> ConfigError:
    return ConfigError(f"hydra.sweeper.{key}={value} is not valid: it must be {right}")
