from __future__ import annotations

from math import atan, pi, sqrt

import numpy as np
import pytest

from dqn_cli.evaluation.student_t import t_quantile, two_sided_p

# By scipy 1.17: stats.t.ppf(0.5 + confidence / 2, freedom).
QUANTILES = {
    (0.95, 1): 12.7062047362,
    (0.95, 2): 4.30265272975,
    (0.95, 3.7): 2.86752070719,
    (0.95, 4): 2.7764451052,
    (0.9, 9): 1.83311293266,
    (0.99, 9): 3.24983554159,
    (0.95, 29): 2.04522964213,
    (0.999, 29): 3.65940501947,
    (0.95, 400.5): 1.96590489497,
}


@pytest.mark.parametrize(("confidence", "freedom"), QUANTILES)
def test_quantiles_are_those_of_tables(confidence: float, freedom: float) -> None:
    quantile = t_quantile(confidence, freedom)
    assert quantile == pytest.approx(QUANTILES[confidence, freedom], rel=1e-8)
    assert two_sided_p(quantile, freedom) == pytest.approx(1 - confidence, rel=1e-8)


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 4.0, 50.0])
def test_small_degrees_have_closed_forms(t: float) -> None:
    assert two_sided_p(t, 1) == pytest.approx(1 - 2 * atan(t) / pi, abs=1e-12)
    assert two_sided_p(t, 2) == pytest.approx(1 - t / sqrt(2 + t * t), abs=1e-12)


def test_both_tails_count_alike() -> None:
    assert two_sided_p(-2.0, 7.5) == two_sided_p(2.0, 7.5)


def test_t_statistics_of_samples_follow_the_distribution() -> None:
    samples = np.random.default_rng(0).normal(size=(20_000, 4))
    t = samples.mean(-1) / samples.std(-1, ddof=1) * 2
    for bound in (0.5, 2.0, 4.0):
        assert np.mean(np.abs(t) > bound) == pytest.approx(two_sided_p(bound, 3), abs=0.01)
