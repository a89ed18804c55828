from __future__ import annotations

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.runs.metric_warnings import MetricWarnings


def test_a_support_that_is_too_narrow_is_told_once() -> None:
    warnings = MetricWarnings(C51(51, -1.0, 2.0))
    assert list(warnings.new({"train/edge_mass": 0.1}, [])) == []
    (line,) = warnings.new({"train/edge_mass": 0.5}, [])
    assert line.startswith("50% of the returns' distribution is at the edges of head.v_min=-1")
    assert list(warnings.new({"train/edge_mass": 0.9}, [])) == []


def test_other_heads_have_no_support() -> None:
    assert list(MetricWarnings(Scalar(Loss.huber)).new({"train/edge_mass": 0.9}, [])) == []


def test_numbers_that_no_step_had_are_told_once() -> None:
    warnings = MetricWarnings(Scalar(Loss.huber))
    (line,) = warnings.new({}, ["fuel", "hits"])
    assert line == "log.info=[fuel,hits]: no step so far had such a number in its info"
    assert list(warnings.new({}, ["fuel"])) == []
