from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from logged_data import random_log

from dqn_cli.data.columns import DataError
from dqn_cli.data.load import load_data
from dqn_cli.data.stored_replay import read_replay
from dqn_cli.data.transitions import Task
from dqn_cli.envs.environments import read_spaces
from dqn_cli.replay.logged import put_first
from dqn_cli.replay.stream import Stream
from dqn_cli.storage import save_checkpoint
from dqn_cli.training.settings import Settings


def saved(stream: Stream, folder: Path) -> Path:
    import torch

    contents = {name: torch.tensor(np.asarray(x)) for name, x in stream.contents(0).items()}
    save_checkpoint(folder / "last", {"stream": contents, "spaces": ((), 2, 0, None, None)})
    return folder / "last"


def test_a_replay_has_the_transitions_that_were_put_into_it(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    env = settings_of().env
    task = Task(env, read_spaces(env), False, "float32")
    data, _ = load_data(str(random_log(tmp_path / "log.npz")), task)
    obs, mask = np.zeros((1, 2, 4), np.float32), np.ones((1, 2, 2), bool)
    stream = Stream(200, obs, mask, False, 0, 1)
    put_first(stream, data)
    columns = read_replay(saved(stream, tmp_path))
    assert np.array_equal(columns.observations[""].values, data.obs)
    assert np.array_equal(columns.actions.values, data.action)
    assert np.array_equal(columns.terminations.values, data.terminated)
    assert np.array_equal(columns.truncations.values, data.truncated)
    assert np.array_equal(columns.next_observations[""].values[data.ends], data.last_obs)


def test_a_ring_that_went_round_begins_with_its_oldest_transition(tmp_path: Path) -> None:
    from dqn_cli.replay.stream import EnvStep

    def observation(value: float) -> np.ndarray:
        return np.full((1, 1, 1), value, np.float32)

    mask, no = np.ones((1, 1, 2), bool), np.zeros((1, 1), bool)
    stream = Stream(4, observation(0), mask, False, 0, 1)
    for step in range(1, 9):
        obs = observation(step)
        result = EnvStep(np.full((1, 1), float(step)), no, no, no, obs, mask, obs, mask)
        stream.append(np.zeros((1, 1), int), result)
    columns = read_replay(saved(stream, tmp_path))
    assert columns.observations[""].values[:, 0].tolist() == [3, 4, 5, 6, 7]
    assert columns.rewards.values.tolist() == [4, 5, 6, 7, 8]
    assert columns.truncations.values.tolist() == [False] * 4 + [True]  # the episode was running


def test_a_checkpoint_without_replay_says_what_is_needed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", {"stream": {}})
    with pytest.raises(DataError, match=r"has no replay: .* checkpoint.replay=true"):
        read_replay(tmp_path / "last")
