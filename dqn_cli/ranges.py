"""Types of configuration values, each with its range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple


class Range(NamedTuple):
    """A range of numbers; its string describes it in error messages."""

    low: float
    high: float = math.inf
    low_included: bool = True
    high_included: bool = True
    whole: bool = False

    def contains(self, value: float) -> bool:
        """Return whether `value` lies in the range; NaN and infinity never do."""
        if not math.isfinite(value):
            return False
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        return above and below and (not self.whole or value % 1 == 0)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.low == -math.inf:
            return kind if self.high == math.inf else f"{kind} of at most {self.high:g}"
        low = (
            f"{kind} of at least {self.low:g}"
            if self.low_included
            else f"{kind} above {self.low:g}"
        )
        if self.high == math.inf:
            return low
        return f"{low} and {'at most' if self.high_included else 'below'} {self.high:g}"


if TYPE_CHECKING:
    from typing import TypeAlias

    Count: TypeAlias = int
    Several: TypeAlias = int
    Natural: TypeAlias = int
    Real: TypeAlias = float
    Positive: TypeAlias = float
    NonNegative: TypeAlias = float
    NonPositive: TypeAlias = float
    Probability: TypeAlias = float
    Decay: TypeAlias = float
else:
    # Any, because a number's type is checked together with its range: YAML reads steps=1e6 as a
    # float and lr=1 as an int.
    Count = Annotated[Any, Range(1, whole=True)]
    Several = Annotated[Any, Range(2, whole=True)]
    Natural = Annotated[Any, Range(0, whole=True)]
    Real = Annotated[Any, Range(-math.inf)]
    Positive = Annotated[Any, Range(0, low_included=False)]
    NonNegative = Annotated[Any, Range(0)]
    NonPositive = Annotated[Any, Range(-math.inf, 0)]
    Probability = Annotated[Any, Range(0, 1)]
    Decay = Annotated[Any, Range(0, 1, high_included=False)]
