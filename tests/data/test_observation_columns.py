from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.agent.spaces import Spaces
from dqn_cli.data.columns import Column, DataError
from dqn_cli.data.observation_columns import encoded_observations
from dqn_cli.data.transitions import Task
from dqn_cli.envs.observation_encoder import ObservationEncoder
from dqn_cli.envs.space_adapter import describe_space
from dqn_cli.training.settings import Settings


def pixels(settings: Settings, shape: tuple[int, ...], frames: int = 0) -> Task:
    space = spaces.Box(0, 255, shape, np.uint8)
    parts = ObservationEncoder(space).parts
    return Task(settings.env, Spaces(parts, 2, frames, describe_space(space)), False, "float32")


def test_pictures_stay_bytes_with_their_colors_last(
    settings_of: Callable[..., Settings],
) -> None:
    task = pixels(settings_of(), (3, 8, 9))
    own = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 9))
    found = encoded_observations("f", {"": Column("obs", own)}, task)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.moveaxis(own, 1, -1))
    assert np.array_equal(encoded_observations("f", {"": Column("obs", found)}, task), found)


def test_frames_of_a_stack_are_stored_once(settings_of: Callable[..., Settings]) -> None:
    task = pixels(settings_of(), (8, 8), frames=4)
    frames = np.zeros((2, 8, 8), np.uint8)
    assert encoded_observations("f", {"": Column("obs", frames)}, task).shape == (2, 8, 8)
    with pytest.raises(DataError, match=r"shape \[4, 8, 8\], and env=CartPole-v1 has .* \[8, 8\]"):
        encoded_observations("f", {"": Column("obs", np.zeros((2, 4, 8, 8)))}, task)


def test_a_missing_part_is_named_with_the_columns_that_are_there(
    settings_of: Callable[..., Settings],
) -> None:
    space = spaces.Dict(arm=spaces.Box(-1, 1, (2,)), side=spaces.Discrete(2))
    parts = ObservationEncoder(space).parts
    task = Task(settings_of().env, Spaces(parts, 2, 0, describe_space(space)), False, "float32")
    columns = {"arm": Column("next_observations.arm", np.zeros((3, 2)))}
    message = r"next_observations\.side is missing; .* are next_observations\.arm"
    with pytest.raises(DataError, match=message):
        encoded_observations("f", columns, task)
