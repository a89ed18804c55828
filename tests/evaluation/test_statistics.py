from __future__ import annotations

import numpy as np
import pytest

from dqn_cli.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    iqm_interval,
    mean_interval,
    summarize,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7),
        ([1, 3], 2),
        ([100, 2, 4, -50], 3),
        ([2, 6, 40], 16),
        ([9, 1, 2, 3, 100], (2 + 3 + 9) / 3),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 99], (2 + 3 + 4 + 5 + 6 + 7) / 6),
        ([5, 5, 5, 5, 5, 5], 5),
    ],
)
def test_interquartile_mean_by_hand(values: list[float], expected: float) -> None:
    assert interquartile_mean(np.array(values, float)) == pytest.approx(expected)


# scipy 1.17's trim_mean(values, 0.25), which rliable 1.2 calls, of the first n values below.
VALUES = [3.1, -0.4, 7.25, 2.0, 11.5, 0.3, -6.0, 4.75, 2.9, 100.0, 5.5]
TRIMMED = {
    1: 3.1,
    2: 1.35,
    3: 3.3166666666666664,
    4: 2.55,
    5: 4.116666666666666,
    6: 3.1625,
    7: 2.45,
    8: 2.5375,
    9: 2.61,
    10: 3.383333333333333,
    11: 3.6857142857142855,
}


@pytest.mark.parametrize("n", TRIMMED)
def test_interquartile_mean_is_that_of_scipy_and_rliable(n: int) -> None:
    assert interquartile_mean(np.array(VALUES[:n])) == pytest.approx(TRIMMED[n], abs=1e-12)


@pytest.mark.parametrize("n", [4, 8, 20, 100])
def test_interquartile_mean_is_the_mean_of_the_middle_half(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    middle = sorted(values)[n // 4 : -n // 4]
    assert interquartile_mean(values) == pytest.approx(sum(middle) / (n / 2))


def test_interquartile_mean_is_taken_along_the_last_axis() -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 9))
    means = interquartile_mean(values)
    assert means.shape == (3, 2)
    assert means[2, 1] == pytest.approx(float(interquartile_mean(values[2, 1])))


def mean(sample: np.ndarray) -> np.ndarray:
    return np.asarray(sample.mean(-1))


def test_about_95_percent_of_intervals_contain_the_true_mean() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(random.normal(3, 2, size=40), mean)
        hits += low <= 3 <= high
    assert 0.88 <= hits / 200 <= 0.985


def test_the_interval_of_a_large_sample_is_the_normal_one() -> None:
    values = np.random.default_rng(2).normal(size=400)
    low, high = bootstrap_interval(values, mean)
    half = 1.96 * values.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_an_interval_is_reproducible() -> None:
    values = np.random.default_rng(3).normal(size=20)
    assert bootstrap_interval(values, mean) == bootstrap_interval(values.tolist(), mean)


def test_one_value_is_its_own_interval() -> None:
    assert bootstrap_interval([4.0], mean) == (4.0, 4.0)


def test_a_summary_agrees_with_numpy() -> None:
    values = [3.0, 8.0, 1.0, -4.0, 10.0]
    summary = summarize(values)
    assert (summary.mean, summary.min, summary.max) == pytest.approx((3.6, -4, 10))
    assert summary.std == pytest.approx(np.sqrt(sum((v - 3.6) ** 2 for v in values) / 5))
    assert summary.iqm == pytest.approx((1 + 3 + 8) / 3)
    assert summary.mean_ci95 == mean_interval(np.array(values))
    assert summary.iqm_ci95 == iqm_interval(values)
    assert summary.iqm_ci95 == bootstrap_interval(values, interquartile_mean)
    assert summary.mean_ci95[0] < summary.mean < summary.mean_ci95[1]
    assert all(type(number) is float for number in (*summary[:3], *summary[5:]))


def test_the_interval_of_the_mean_of_few_values_is_wider_than_their_range() -> None:
    low, high = mean_interval(np.array([1.0, 2.0]))
    assert (low, high) == pytest.approx((1.5 - 12.7062 / 2, 1.5 + 12.7062 / 2), abs=1e-4)


def test_without_skewness_the_interval_of_the_mean_is_students() -> None:
    low, high = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.776445 * np.sqrt(2.5 / 5)  # t of 4 degrees of freedom, by scipy
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_a_long_tail_widens_the_interval_of_the_mean_on_its_side() -> None:
    values = np.array([0.0, 0.1, 0.2, 0.4, 3.0])
    half = 2.776445 * values.std(ddof=1) / np.sqrt(5)
    low, high = mean_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=1e-5)
    assert high > values.mean() + 1.5 * half
    mirrored = mean_interval(-values)
    assert mirrored == pytest.approx((-high, -low))


def test_intervals_of_the_mean_are_taken_along_the_last_axis() -> None:
    values = np.random.default_rng(0).exponential(size=(3, 2, 6))
    low, high = mean_interval(values)
    assert low.shape == high.shape == (3, 2)
    assert (low[2, 1], high[2, 1]) == pytest.approx(mean_interval(values[2, 1]))


def test_equal_values_are_their_own_interval() -> None:
    assert mean_interval(np.full(7, 2.0)) == (2, 2)
    assert iqm_interval([2.0] * 7) == (2, 2)


def test_five_seeds_make_an_interval_of_their_range() -> None:
    assert iqm_interval([5.0, 1.0, 4.0, 8.0, 2.0]) == (1, 8)


def test_environments_are_resampled_by_themselves() -> None:
    easy, hard = np.arange(8) / 100 + 0.9, np.arange(8) / 100
    values, environments = np.concatenate([easy, hard]), ["easy"] * 8 + ["hard"] * 8
    low, high = bootstrap_interval(values, mean, environments)
    mixed = bootstrap_interval(values, mean)
    assert 0.46 < low < values.mean() < high < 0.51
    assert mixed[1] - mixed[0] > 10 * (high - low)
    one_each = bootstrap_interval([0.0, 1.0], mean, ["easy", "hard"])
    assert one_each == (0.5, 0.5)
