from __future__ import annotations

import numpy as np
import pytest

from dqn_cli.evaluation.statistics import bootstrap_interval, interquartile_mean, summarize


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7),
        ([1, 3], 2),
        ([100, 2, 4, -50], 3),
        ([9, 1, 2, 3, 100], (0.75 * 2 + 3 + 0.75 * 9) / 2.5),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 99], (0.5 * 2 + 3 + 4 + 5 + 6 + 0.5 * 7) / 5),
        ([5, 5, 5, 5, 5, 5], 5),
    ],
)
def test_interquartile_mean_by_hand(values: list[float], expected: float) -> None:
    assert interquartile_mean(np.array(values, float)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8, 10, 21, 100])
def test_interquartile_mean_is_the_mean_of_the_middle_half(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    quarters = sorted(
        value for value in values for _ in range(4)
    )  # so that no quartile cuts through a value
    assert interquartile_mean(values) == pytest.approx(sum(quarters[n:-n]) / (2 * n))


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
    assert summary.iqm == pytest.approx((0.75 * 1 + 3 + 0.75 * 8) / 2.5)
    assert summary.mean_ci95 == bootstrap_interval(values, mean)
    assert summary.iqm_ci95 == bootstrap_interval(values, interquartile_mean)
    assert summary.mean_ci95[0] < summary.mean < summary.mean_ci95[1]
    assert all(type(number) is float for number in (*summary[:3], *summary[5:]))
