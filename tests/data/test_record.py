from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dqn_cli.data.columns import DataError
from dqn_cli.data.load import load_data
from dqn_cli.data.record import Recording, check_new_file
from dqn_cli.data.transitions import Task
from dqn_cli.envs.environments import read_spaces
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.play import play_episodes
from dqn_cli.training.settings import Settings


def first_action(obs: np.ndarray, mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return mask.argmax(-1)


def test_what_was_played_is_read_back_exactly(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    env, file = settings_of("env.preprocess.stack=3").env, tmp_path / "own.npz"
    spaces = read_spaces(env)
    recording = Recording(spaces, masked=False)
    seeds = episode_seeds(0, "test", 0)
    played = play_episodes(first_action, env, seeds, 5, 4, "float32", recording=recording)
    assert played is not None
    recording.write(file)
    data, _ = load_data(str(file), Task(env, spaces, False, "float32"))
    assert data.obs.shape == (played.lengths.sum(), 4)  # single frames
    assert np.array_equal(data.returns, played.returns)
    assert recording.returns == played.returns.tolist()
    assert (recording.rows, recording.episodes) == (data.rows, data.episodes)
    assert (data.truncated.sum(), data.terminated.sum()) == (5, 0)
    assert not (data.action != 0).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [("old.npz", "exists"), ("new.csv", "an .npz file"), ("nowhere/new.npz", "no folder")],
)
def test_a_file_that_can_not_be_new_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "old.npz").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        check_new_file(tmp_path / name)
    check_new_file(tmp_path / "new.npz")


def test_a_name_that_was_taken_meanwhile_costs_no_episode(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    env, file = settings_of().env, tmp_path / "own.npz"
    recording = Recording(read_spaces(env), masked=False)
    seeds = episode_seeds(0, "test", 0)
    play_episodes(first_action, env, seeds, 1, 4, "float32", recording=recording)
    written = []
    for _ in range(3):
        recording.write(file)
        written.append(recording.file)
    assert [each.name for each in written if each] == ["own.npz", "own_2.npz", "own_3.npz"]
    assert {each.name for each in tmp_path.iterdir()} == {"own.npz", "own_2.npz", "own_3.npz"}
