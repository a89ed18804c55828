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
        ({name: values[:0] for name, values in cartpole_log().items()}, "log.npz has no rows"),
    ],
)
def test_columns_that_are_no_log_are_named(log: Log, message: str) -> None:
    with pytest.raises(DataError) as error:
        sort_columns("log.npz", log)
    assert message in str(error.value)
