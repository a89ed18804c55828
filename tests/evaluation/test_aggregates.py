from __future__ import annotations

import numpy as np
import pytest

from dqn_cli.evaluation.aggregates import (
    improvement,
    improvement_interval,
    normalise,
    performance_profile,
    profile_band,
)
from dqn_cli.evaluation.statistics import interquartile_mean

random = np.random.default_rng(7)
# Rounded, so that there are ties; [seeds] in each of three environments.
FIRST = [np.round(random.normal(0.5, 0.3, 6), 1) for _ in range(3)]
SECOND = [np.round(random.normal(0.4, 0.3, 6), 1) for _ in range(3)]
LEVELS = np.linspace(-0.2, 1.2, 8)


def test_the_interquartile_mean_is_that_of_rliable() -> None:
    # rliable 1.2.0: metrics.aggregate_iqm of runs x environments.
    assert interquartile_mean(np.concatenate(FIRST)) == pytest.approx(0.45, abs=1e-9)


def test_a_performance_profile_is_that_of_rliable() -> None:
    # rliable 1.2.0: library.create_performance_profile.
    expected = [1, 1, 17 / 18, 13 / 18, 5 / 18, 1 / 18, 0, 0]
    assert performance_profile(FIRST, LEVELS) == pytest.approx(expected, abs=1e-9)


def test_the_probability_of_improvement_is_that_of_rliable() -> None:
    # rliable 1.2.0: metrics.probability_of_improvement.
    assert improvement(FIRST, SECOND) == pytest.approx(0.7916666666666666, abs=1e-9)
    assert improvement(SECOND, FIRST) == pytest.approx(0.20833333333333334, abs=1e-9)


def test_a_tie_is_half_an_improvement() -> None:
    tied = [np.array([1.0, 1.0])]
    assert improvement(tied, tied) == 0.5
    assert improvement([np.array([1.0, 2.0])], [np.array([1.0])]) == 0.75


def test_atari_games_are_normalised_by_a_human_tester() -> None:
    scores = [[np.array([1.7, 30.5])], [np.array([59.3])]]
    (first, second), scale = normalise(["ALE/Breakout-v5"], scores)
    assert first[0] == pytest.approx([0, 1])
    assert second[0] == pytest.approx([2])
    assert scale == "human-normalised score"


def test_other_environments_are_scaled_by_their_own_scores() -> None:
    scores = [[np.array([0.0, 500.0]), np.array([-200.0])], [np.array([250.0]), np.array([-100.0])]]
    (first, second), scale = normalise(["CartPole-v1", "Acrobot-v1"], scores)
    assert [values.tolist() for values in first] == [[0, 1], [0]]
    assert [values.tolist() for values in second] == [[0.5], [1]]
    assert "lowest (0)" in scale


def test_an_environment_where_all_score_alike_divides_by_nothing() -> None:
    (only,), _ = normalise(["CartPole-v1"], [[np.array([500.0, 500.0])]])
    assert only[0].tolist() == [0, 0]


def test_bounds_surround_what_they_bound() -> None:
    low, high = profile_band(FIRST, LEVELS)
    share = performance_profile(FIRST, LEVELS)
    assert (low <= share).all()
    assert (share <= high).all()
    assert (low < high).any()
    below, above = improvement_interval(FIRST, SECOND)
    assert 0 <= below < improvement(FIRST, SECOND) < above <= 1


def test_a_clear_improvement_is_certain() -> None:
    higher = [scores + 9 for scores in FIRST]
    assert improvement_interval(higher, FIRST) == (1, 1)


def test_about_95_percent_of_intervals_contain_the_probability_of_improvement() -> None:
    experiments = np.random.default_rng(3).normal(size=(200, 2, 1, 10))
    hits = 0
    for first, second in experiments:
        low, high = improvement_interval(list(first), list(second))
        hits += low <= 0.5 <= high
    assert hits / 200 >= 0.91
