from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scripted import Scripted

from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.envs.vector_envs import legal_actions


def test_every_environment_that_ended_is_newly_seeded_by_default() -> None:
    envs = SyncEnvs("Name-v0", [lambda: Scripted(length=1), lambda: Scripted(length=2)])
    envs.reset(3, np.dtype(np.float32))
    assert envs.newly_seeded(envs.step([0, 0]).ended).tolist() == [True, False]


@pytest.mark.parametrize("mask", [[1, 0, 1], np.array([1, 0, 1], np.int8), (True, False, True)])
def test_a_mask_may_be_any_sequence_of_truths(mask: Any) -> None:
    legal = legal_actions({"action_mask": mask}, 3, "Name-v0")
    assert legal.dtype == bool
    assert legal.tolist() == [True, False, True]


@pytest.mark.parametrize("info", [{}, {"action_mask": [0, 0, 0]}, {"mask": [1, 0, 0]}])
def test_all_actions_are_legal_without_a_mask_or_with_an_empty_one(info: dict[str, Any]) -> None:
    assert legal_actions(info, 3, "Name-v0").tolist() == [True] * 3


@pytest.mark.parametrize("mask", [1, [], [1], [[1, 1, 1]], [1, 1, 1, 1]])
def test_a_mask_of_another_shape_is_an_error(mask: Any) -> None:
    with pytest.raises(EnvironmentFailure, match="action_mask has shape"):
        legal_actions({"action_mask": mask}, 3, "Name-v0")
