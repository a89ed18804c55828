"""Search space: the hyperparameters that a search varies."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isclose, isfinite

Value = float | int | str
DIGITS = 4  # of a decimal number; more would only make names of folders long


@dataclass(frozen=True)
class Decimal:
    """A number from `low` to `high`, or one of their logarithms; in steps if `step` is given."""

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True)
class Choice:
    """One of several words, as they are typed."""

    words: tuple[str, ...]


Domain = Decimal | Whole | Choice


@dataclass(frozen=True)
class Space:
    """The domain of each hyperparameter, and the words that all runs have in common."""

    domains: dict[str, Domain]
    words: list[str] = field(default_factory=list)


def first_words(space: Space) -> list[str]:
    """Return a word of each domain: its lowest number, or its first choice."""
    return [
        f"{key}={domain.words[0]}" if isinstance(domain, Choice) else typed_word(key, domain.low)
        for key, domain in space.domains.items()
    ]


def is_short(value: float) -> bool:
    """Return whether a number is the same when it is typed: whole, or with few digits."""
    is_same = isclose(float(f"{value:.{DIGITS}g}"), value)
    return isinstance(value, int) or (isfinite(value) and is_same)


def typed_word(key: str, value: Value) -> str:
    """Return a value as it is typed."""
    return f"{key}={value:.{DIGITS}g}" if isinstance(value, float) else f"{key}={value}"
