from __future__ import annotations

import numpy as np
import pytest

from dqn_cli.evaluation.comparison import compare, compare_all, compare_best, holm

FIRST = np.array([12.1, 9.4, 15.0, 11.2, 10.8, 13.3])
SECOND = np.array([8.0, 9.9, 7.1, 12.5, 6.4, 8.8, 9.1])


def test_one_environment_is_welchs_test() -> None:
    # By scipy 1.17: ttest_ind(FIRST, SECOND, equal_var=False) and its confidence_interval().
    found = compare([FIRST], [SECOND])
    assert found.difference == pytest.approx(FIRST.mean() - SECOND.mean())
    assert found.p == pytest.approx(0.0166880298532, rel=1e-8)
    assert (found.low, found.high) == pytest.approx((0.691197363196, 5.58499311299), rel=1e-8)
    assert found.is_different


def test_the_other_way_round_is_the_same_test() -> None:
    one, other = compare([FIRST], [SECOND]), compare([SECOND], [FIRST])
    assert (other.difference, other.low, other.high) == (-one.difference, -one.high, -one.low)
    assert other.p == one.p


def test_environments_count_alike_and_keep_their_own_spread() -> None:
    random = np.random.default_rng(0)
    calm, wild = random.normal(size=(2, 6)), 100 + 5 * random.normal(size=(2, 6))
    found = compare([calm[0], wild[0]], [calm[1], wild[1]])
    differences = calm[0].mean() - calm[1].mean(), wild[0].mean() - wild[1].mean()
    assert found.difference == pytest.approx(np.mean(differences))
    variance = sum(sample.var(ddof=1) for sample in (*calm, *wild)) / 6 / 4
    half = (found.high - found.low) / 2
    # The wild environment has nearly all the variance, and so about ten degrees of freedom.
    assert half / np.sqrt(variance) == pytest.approx(2.2, abs=0.07)


def test_few_seeds_never_show_a_difference() -> None:
    far = compare([np.array([0.0, 0.1, 0.2, 0.3])], [np.array([9.0, 9.1, 9.2, 9.3, 9.4])])
    assert far.p < 1e-6
    assert not far.is_enough
    assert not far.is_different


def test_one_seed_has_no_spread_to_compare_with() -> None:
    found = compare([np.array([1.0])], [np.array([2.0, 3.0])])
    assert (found.low, found.high, found.p) == (-np.inf, np.inf, 1)
    assert found.seeds_needed is None


def test_scores_without_spread_are_as_sure_as_their_number_allows() -> None:
    equal, higher = np.full(5, 490.0), np.full(5, 500.0)
    assert compare([equal], [equal]).p == 1
    found = compare([higher], [equal])
    assert found.p == pytest.approx(2 / 252)  # of 252 ways to deal ten scores, two are as extreme
    assert (found.low, found.high) == (10, 10)


def test_holms_adjustment_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_many_choices_share_one_error_rate() -> None:
    choices = [[FIRST], [SECOND], [FIRST + 0.5]]
    found = compare_all(choices)
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    alone = [compare(choices[a], choices[b]).p for a, b in found]
    assert [comparison.p for comparison in found.values()] == pytest.approx(holm(alone))


def test_equal_choices_are_rarely_called_different() -> None:
    random = np.random.default_rng(1)
    scores = random.exponential(size=(400, 4, 1, 5))
    false = [any(c.is_different for c in compare_all(choices).values()) for choices in scores]
    assert np.mean(false) <= 0.07


@pytest.mark.parametrize(("difference", "comparisons"), [(0.8, 1), (1.5, 1), (1.5, 10)])
def test_the_seeds_needed_have_the_power(difference: float, comparisons: int) -> None:
    pair = np.array([-1.0, 1.0]) / np.sqrt(2)  # of variance 1
    seeds = compare([pair + difference], [pair], comparisons).seeds_needed
    assert seeds is not None
    random = np.random.default_rng(2)
    one, other = random.normal(size=(2, 600, seeds))
    found = [compare([a + difference], [b]).p for a, b in zip(one, other, strict=True)]
    assert 0.74 < np.mean(np.array(found) <= 0.05 / comparisons) < 0.88


def test_the_best_choice_is_compared_with_the_others_that_have_enough_seeds() -> None:
    choices = {"low": [SECOND], "high": [FIRST + 9], "middle": [FIRST], "few": [FIRST[:4] + 99]}
    ranking = compare_best(choices)
    assert ranking is not None
    assert ranking.best == "high"
    assert list(ranking.comparisons) == ["middle", "low"]
    pairs = compare_all([choices["high"], choices["middle"], choices["low"]])
    assert ranking.comparisons["low"] == pairs[0, 2]
    assert compare_best({"few": choices["few"], "high": choices["high"]}) is None
