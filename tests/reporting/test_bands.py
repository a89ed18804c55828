from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dqn_cli.evaluation.curves import Curve
from dqn_cli.evaluation.statistics import iqm_interval
from dqn_cli.reporting.bands import iqm_band, reachable_threshold, time_to
from dqn_cli.reporting.run_rows import RunRow


def row(returns: list[float], status: str = "finished") -> RunRow:
    steps = 100.0 * np.arange(1, len(returns) + 1)
    curve = Curve("a", steps, steps / 50, np.array(returns, float), greedy=True)
    return RunRow(Path("run"), "A", "a", [], status, curve=curve if returns else None)


def test_a_band_has_the_interquartile_mean_and_interval_of_each_point() -> None:
    band = iqm_band([row([s, 10.0 * s]) for s in (1.0, 2.0, 3.0, 4.0, 50.0)])
    assert band is not None
    assert band.x.tolist() == [100, 200]
    assert band.iqm.tolist() == [3, 30]
    assert (band.low[1], band.high[1]) == iqm_interval([10.0, 20.0, 30.0, 40.0, 500.0])


def test_the_band_of_few_runs_is_their_range() -> None:
    band = iqm_band([row([1.0]), row([4.0])])
    assert band is not None
    assert (band.low.tolist(), band.high.tolist()) == ([1], [4])


def test_a_run_that_trains_does_not_shorten_the_band_of_finished_ones() -> None:
    rows = [row([1.0, 2.0, 3.0]), row([3.0, 4.0, 5.0]), row([9.0], "running")]
    band = iqm_band(rows)
    assert band is not None
    assert band.x[-1] == 300
    assert band.iqm.tolist() == [2, 3, 4]
    assert len(band.curves) == 3
    begun = iqm_band([row([1.0, 2.0], "running"), row([3.0], "running")])
    assert begun is not None
    assert begun.x.tolist() == [100]


def test_runs_without_curves_have_no_band() -> None:
    assert iqm_band([row([])]) is None


def test_curves_of_many_points_are_thinned() -> None:
    band = iqm_band([row(list(range(1000)))])
    assert band is not None
    assert len(band.x) == 50
    assert band.iqm == pytest.approx(band.x / 100 - 1)


def test_the_goal_is_the_threshold_once_a_choice_reached_it() -> None:
    band = iqm_band([row([0.0, 50.0]), row([0.0, 150.0])])
    assert band is not None
    assert reachable_threshold(100.0, [band]) == 100
    assert reachable_threshold(101.0, [band]) == pytest.approx(90)
    assert reachable_threshold(None, [band]) == pytest.approx(90)


def test_the_median_counts_runs_that_never_got_there() -> None:
    rows = [row([0.0, 5.0, 9.0]), row([0.0, 9.0, 0.0]), row([0.0, 0.0, 9.0]), row([0.0, 1.0, 2.0])]
    reached = time_to(5.0, rows[:3])
    assert reached == (3, 3, 200, 4)
    assert time_to(5.0, rows) == (4, 3, 200, 4)
    assert time_to(5.0, [rows[0], rows[3]]) == (2, 1, None, None)
    assert time_to(5.0, [rows[3], row([9.0], "running")]) == (1, 0, None, None)
    assert time_to(5.0, [rows[3], row([9.0], "paused")]) == (1, 0, None, None)
    assert time_to(5.0, []) == (0, 0, None, None)
