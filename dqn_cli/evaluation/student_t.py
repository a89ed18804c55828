"""Student's t distribution."""

from __future__ import annotations

from math import atan, exp, lgamma, pi, sqrt
from statistics import NormalDist

import numpy as np

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
TOLERANCE = 1e-12  # of a quantile, relative
MOST_ITERATIONS = 200  # Newton's method takes fewer than ten; tails of one degree more


def two_sided_p(t: float, freedom: float) -> float:
    """Return the probability of a value farther from 0 than `t`.

    Args:
        t: The value, of either sign.
        freedom: Degrees of freedom, at least 1; a fraction is allowed.
    """
    # With x = sqrt(freedom) tan(angle) the density is a power of a cosine on a bounded interval.
    end = atan(abs(t) / sqrt(freedom))
    middle = WEIGHTS @ np.cos(end * (NODES + 1) / 2) ** (freedom - 1) * end / 2
    return max(0.0, 1 - 2 * sqrt(freedom) * _density(0.0, freedom) * float(middle))


def t_quantile(confidence: float, freedom: float) -> float:
    """Return the value that bounds the middle `confidence` of the distribution."""
    t = NormalDist().inv_cdf(0.5 + confidence / 2)
    for _ in range(MOST_ITERATIONS):
        # The distribution is concave here, so that Newton's steps approach the value from below.
        step = (two_sided_p(t, freedom) - (1 - confidence)) / (2 * _density(t, freedom))
        t += step
        if step <= TOLERANCE * t:
            return t
    return t


def _density(t: float, freedom: float) -> float:
    scale = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2)) / sqrt(freedom * pi)
    return float(scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2))
