from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from logged_data import Log, cartpole_log

from dqn_cli.agent.spaces import Spaces
from dqn_cli.data.columns import DataError, sort_columns
from dqn_cli.data.transitions import Task, transitions_of
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.observation_encoder import ObservationEncoder
from dqn_cli.envs.space_adapter import describe_space
from dqn_cli.replay.logged import Transitions
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
FLOATS = spaces.Box(-np.inf, np.inf, (4,), np.float32)


@pytest.fixture
def task(settings_of: Compose) -> Callable[..., Task]:
    """A task with these spaces, which are those of CartPole-v1 unless others are given."""

    def made(obs: Any = FLOATS, actions: Any = None, masked: bool = False) -> Task:
        actions = actions or spaces.Discrete(2)
        own = describe_space(obs), describe_space(actions)
        parts, count = ObservationEncoder(obs).parts, ActionDecoder(actions).count
        return Task(settings_of().env, Spaces(parts, count, 0, *own), masked, "float32")

    return made


def read(log: Log, task: Task) -> Transitions:
    return transitions_of(sort_columns("log.npz", log), task)


def test_a_file_is_read_as_it_says(task: Callable[..., Task]) -> None:
    log = cartpole_log()
    data = read(log, task())
    assert np.array_equal(data.obs, log["observations"])
    assert data.action.tolist() == [0, 1, 0, 1, 1]
    assert data.reward.tolist() == [1, 2, 4, 8, 16]
    assert data.terminated.tolist() == [False, False, True, False, False]
    assert data.truncated.tolist() == [False] * 4 + [True]
    assert np.array_equal(data.last_obs, log["next_observations"][[2, 4]])
    assert data.mask.all()


def test_without_next_observations_a_truncated_episode_loses_its_last_action(
    task: Callable[..., Task],
) -> None:
    data = read(cartpole_log(next_observations=None), task())
    # What followed the last of 5 rows is unknown, and its observation ends the second episode.
    assert data.reward.tolist() == [1, 2, 4, 8]
    assert data.truncated.tolist() == [False, False, False, True]
    assert np.array_equal(data.last_obs[1], cartpole_log()["observations"][4])
    rows = {name: values[4:] for name, values in cartpole_log(next_observations=None).items()}
    with pytest.raises(DataError, match="single truncated rows"):
        read(rows, task())


def test_one_row_episodes_that_are_truncated_are_left_out(task: Callable[..., Task]) -> None:
    log = cartpole_log(next_observations=None, truncations=np.array([0, 0, 0, 1, 1]))
    data = read(log, task())
    assert (data.rows, data.episodes) == (3, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"actions": [0, 1, 2, 0, 0]},
            "column actions, row 2: 2 is not a whole number from 0 to 1",
        ),
        ({"actions": np.zeros((5, 2))}, "column actions has rows of shape [2], and an action is a"),
        ({"observations": np.zeros((5, 3))}, "rows of shape [3], and env=CartPole-v1 has obs"),
        ({"rewards": [0, 0, 0, np.nan, 0]}, "column rewards, row 3: nan is not a finite number"),
        ({"terminations": [0, 0, 0, 0, 0]}, "column next_observations, row 2: it is not the"),
        ({"truncations": [0, 0, 0, 0, 0]}, "column truncations, row 4: the last row ends no"),
        ({"action_masks": np.ones((5, 3))}, "column action_masks has rows of shape [3], and"),
        ({"action_masks": np.eye(5, 2)}, "column action_masks has illegal actions, and env="),
    ],
)
def test_what_does_not_fit_is_named_with_its_row(
    task: Callable[..., Task], changes: dict[str, Any], message: str
) -> None:
    log = cartpole_log(**{name: np.array(values) for name, values in changes.items()})
    with pytest.raises(DataError) as error:
        read(log, task())
    assert message in str(error.value)


def test_a_masked_environment_needs_masks_which_its_actions_respect(
    task: Callable[..., Task],
) -> None:
    masked = task(masked=True)
    with pytest.raises(DataError, match="column action_masks is missing"):
        read(cartpole_log(), masked)
    mask = np.array([[1, 0], [0, 1], [1, 1], [1, 1], [1, 1]])
    data = read(cartpole_log(action_masks=mask), masked)
    assert data.mask.tolist() == mask.astype(bool).tolist()
    assert data.last_mask.all()
    with pytest.raises(DataError, match=r"column actions, row 1: 1 is illegal by action_masks"):
        read(cartpole_log(action_masks=mask[[0, 0, 2, 3, 4]]), masked)
    with pytest.raises(DataError, match=r"column action_masks, row 4: \[0 0\] allows no action"):
        read(cartpole_log(action_masks=np.array([*mask[:4], [0, 0]])), masked)


def test_actions_are_the_environments_own(task: Callable[..., Task]) -> None:
    grid = task(actions=spaces.MultiDiscrete([2, 3]))
    own = np.array([[0, 0], [0, 2], [1, 0], [1, 1], [1, 2]])
    assert read(cartpole_log(actions=own), grid).action.tolist() == [0, 2, 3, 4, 5]
    with pytest.raises(DataError, match=r"row 2: 3 is not a whole number in its range"):
        read(cartpole_log(actions=np.array([*own[:2], [1, 3], *own[3:]])), grid)
    shifted = task(actions=spaces.Discrete(2, start=5))
    assert read(cartpole_log(actions=np.array([5, 6, 5, 6, 6])), shifted).action.tolist() == [
        0, 1, 0, 1, 1,
    ]  # fmt: skip


def test_observations_of_parts_are_encoded_as_the_environments_are(
    task: Callable[..., Task],
) -> None:
    space = spaces.Dict(
        picture=spaces.Box(0, 255, (5, 5, 1), np.uint8),
        room=spaces.Discrete(3, start=1),
        speed=spaces.Box(-1, 1, (2,), np.float32),
    )
    encode = ObservationEncoder(space)
    space.seed(0)
    values = [space.sample() for _ in range(6)]
    log = cartpole_log(observations=None, next_observations=None, terminations=np.zeros(5))
    for name in space:
        column = np.array([value[name] for value in values])
        log |= {f"observations.{name}": column[:5], f"next_observations.{name}": column[1:]}
    data = read(log, task(space))
    assert np.array_equal(data.obs, [encode(value) for value in values[:5]])
    assert np.array_equal(data.last_obs, [encode(values[5])])
    # A run's own recordings are encoded.
    encoded = np.array([encode(value) for value in values])
    own = {"observations": encoded[:5], "next_observations": encoded[1:]}
    plain = cartpole_log(terminations=np.zeros(5)) | own
    assert np.array_equal(read(plain, task(space)).obs, data.obs)
    with pytest.raises(
        DataError, match=r"observations.room, row 1: 9 is not a whole number from 1"
    ):
        read(log | {"observations.room": np.array([1, 9, 1, 1, 1])}, task(space))
    del log["observations.speed"]
    with pytest.raises(DataError, match=r"column observations.speed is missing"):
        read(log, task(space))
