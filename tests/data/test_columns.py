from __future__ import annotations

import numpy as np
import pytest
from logged_data import Log, cartpole_log

from dqn_cli.data.columns import DataError, sort_columns


def test_columns_are_found_by_any_of_their_names_and_others_are_left_out() -> None:
    log = cartpole_log()
    singular = {
        "obs": log["observations"], "action": log["actions"], "reward": log["rewards"],
        "terminated": log["terminations"], "truncated": log["truncations"], "time": np.arange(5),
    }  # fmt: skip
    columns = sort_columns("log.npz", singular)
    assert columns.actions.name == "action"
    assert columns.observations[""].values is log["observations"]
    assert not columns.next_observations
    assert columns.masks is None


def test_parts_of_observations_have_columns_of_their_own() -> None:
    log = cartpole_log(observations=None, next_observations=None)
    parts = {"observations.side": np.zeros(5), "observations.arm.joint": np.ones((5, 2))}
    columns = sort_columns("log.npz", log | parts)
    assert set(columns.observations) == {"side", "arm.joint"}


def test_single_numbers_may_have_an_axis_of_their_own() -> None:
    names = ("rewards", "terminations", "truncations")
    log = cartpole_log(life_lost=np.zeros((5, 1), bool))
    columns = sort_columns("log.npz", log | {name: log[name][:, None] for name in names})
    assert columns.rewards.values.tolist() == [1, 2, 4, 8, 16]
    assert columns.terminations.values.tolist() == [False, False, True, False, False]
    assert columns.truncations.values.shape == (5,)
    assert columns.lives_lost is not None
    assert columns.lives_lost.values.shape == (5,)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (cartpole_log(rewards=None), "log.npz: column rewards is missing; its columns are obs"),
        (cartpole_log(observations=None), "column observations is missing"),
        (cartpole_log(truncations=None), "column truncations is missing"),
        (cartpole_log(reward=np.zeros(5)), "columns rewards and reward mean the same"),
        (cartpole_log(obs=np.zeros((5, 4))), "columns observations, obs mean the same"),
        (cartpole_log(rewards=np.zeros(4)), "column rewards has 4 rows, and actions has 5"),
        (cartpole_log(actions=np.array(1)), "column actions is a single value"),
        (cartpole_log(rewards=np.zeros((5, 2))), "column rewards has rows of shape [2], and must"),
        (cartpole_log(terminations=np.zeros((5, 2))), "column terminations has rows of shape [2]"),
        (cartpole_log(truncations=np.zeros((5, 1, 1))), "column truncations has rows of shape [1,"),
        (cartpole_log(life_lost=np.zeros((5, 2))), "column life_lost has rows of shape [2]"),
        ({f"x{number}": np.zeros(5) for number in range(23)}, "x18, x19 and 3 more"),
        ({name: values[:0] for name, values in cartpole_log().items()}, "log.npz has no rows"),
    ],
)
def test_columns_that_are_no_log_are_named(log: Log, message: str) -> None:
    with pytest.raises(DataError) as error:
        sort_columns("log.npz", log)
    assert message in str(error.value)
