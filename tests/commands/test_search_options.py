from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from dqn_cli.commands.search_options import Pruner, read_options
from dqn_cli.config.validation import ConfigError
from dqn_cli.searching.study import Sampler
from dqn_cli.searching.trial_scores import Objective

SHIPPED = {
    "trials": 40, "seeds": 3, "extra_seeds": 0, "batch": 8, "objective": "final", "sampler": "tpe",
    "pruner": "halving", "rungs": OmegaConf.create([0.1, 0.3]), "reduction": 3, "finalists": 3,
    "fresh_seeds": 10,
}  # fmt: skip


def test_options_are_read() -> None:
    options = read_options(SHIPPED | {"finalists": 0, "pruner": "none", "reduction": 2.5})
    assert (options.trials, options.finalists, options.reduction) == (40, 0, 2.5)
    assert (options.objective, options.sampler) == (Objective.final, Sampler.tpe)
    assert (options.pruner, options.rungs) == (Pruner.none, [0.1, 0.3])
    assert read_options(SHIPPED | {"pruner": None, "rungs": []}).pruner is Pruner.none


def test_a_search_may_go_on_to_more_trials_and_finalists() -> None:
    plan = read_options(SHIPPED).plan()
    more = {"trials": 50, "finalists": 5, "fresh_seeds": 20}
    assert read_options(SHIPPED | more).plan() == plan
    for change in ({"seeds": 4}, {"batch": 2}, {"objective": "best"}, {"pruner": "none"}):
        assert read_options(SHIPPED | change).plan() != plan


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("trials", 0, "a whole number of at least 1"),
        ("trials", "many", "a whole number"),
        ("seeds", True, "a whole number"),
        ("extra_seeds", -1, "at least 0"),
        ("finalists", -1, "at least 0"),
        ("objective", "median", "final or best or mean"),
        ("sampler", "grid", "tpe or random"),
        ("pruner", "foo", "halving or none"),
        ("rungs", 0.5, "a list of fractions"),
        ("rungs", [0.5, 2.0], "a list of fractions"),
        ("rungs", [], "a list of fractions of steps, as .*; pruner=none stops no trial early"),
        ("rungs", [1], "a list of fractions"),
        ("reduction", 1, "a number above 1"),
        ("reduction", "3x", "a number above 1"),
        ("reduction", float("inf"), "a number above 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(key: str, value: Any, right: str) -> None:
    with pytest.raises(ConfigError, match=right) as caught:
        read_options(SHIPPED | {key: value})
    assert str(caught.value).startswith(f"hydra.sweeper.{key}={value} is not valid: it must be ")


def test_without_rungs_no_trial_gets_more_seeds() -> None:
    assert read_options(SHIPPED | {"extra_seeds": 2}).plan()["extra_seeds"] == 2
    with pytest.raises(ConfigError, match=r"extra_seeds=2 .* 0 with pruner=none"):
        read_options(SHIPPED | {"extra_seeds": 2, "pruner": "none"})
