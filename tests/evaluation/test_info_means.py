from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dqn_cli.evaluation.info_means import InfoMeans, info_metrics

NAN = math.nan


def record(means: InfoMeans, values: list[float], ended: list[bool], name: str = "a") -> None:
    means.record({name: np.array(values)}, ended)


def test_means_are_over_the_steps_that_had_a_value_and_over_the_ends_of_episodes() -> None:
    means = InfoMeans(["a", "b"])
    record(means, [1, NAN], [False, True])
    record(means, [2, 6], [True, False])
    record(means, [NAN, 11], [False, True])
    assert means.summary() == {
        "a": {"mean": 5, "at_end": 6.5},
        "b": {"mean": None, "at_end": None},
    }
    assert list(means.absent) == ["b"]


def test_a_restart_keeps_the_ends_of_episodes() -> None:
    means = InfoMeans(["a"])
    record(means, [4], [True])
    means.restart()
    assert means.summary() == {"a": {"mean": None, "at_end": 4}}
    record(means, [1], [False])
    assert means.summary() == {"a": {"mean": 1, "at_end": 4}}


def test_only_recent_episodes_count() -> None:
    means = InfoMeans(["a"], recent=2)
    for value in (1, 2, 4):
        record(means, [value], [True])
    assert means.summary()["a"] == {"mean": pytest.approx(7 / 3), "at_end": 3}


def test_a_sum_that_overflows_is_no_value() -> None:
    means = InfoMeans(["a"])
    record(means, [1e308, 1e308], [True, True])
    assert means.summary() == {"a": {"mean": None, "at_end": None}}


def test_means_go_on_from_a_state_with_the_names_that_are_still_logged() -> None:
    first = InfoMeans(["a", "b", "c"], recent=2)
    record(first, [1], [True])
    record(first, [3], [False], "b")
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    second = InfoMeans(["new", "c", "b", "a"], recent=2)
    second.load(state)
    assert {name: second.summary()[name] for name in "abc"} == first.summary()
    assert list(second.absent) == ["new", "c"]
    record(second, [5], [True])
    assert second.summary()["a"] == {"mean": 3, "at_end": 3}


def test_tags_leave_out_what_has_no_value() -> None:
    summary = {"x": {"mean": 1.0, "at_end": None}, "y.z": {"mean": None, "at_end": 2.0}}
    assert info_metrics("eval/", summary) == {"eval/info/x": 1.0, "eval/info/y.z_at_end": 2.0}
    assert info_metrics("", {}) == {}
