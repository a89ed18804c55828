from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from strange_inspections import config_of, new_progress

from dqn_cli.checking.description import describe
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import Vectorization
from dqn_cli.envs.masks import MaskSource
from dqn_cli.training.settings import Settings


def test_parts_that_no_network_reads_are_apart_from_the_others() -> None:
    description = describe(config_of("texts"), new_progress())
    assert [described.part.name for described in description.parts] == ["number", "still"]
    assert description.unread == ("text",)
    assert description.observation_error == ""


def test_parts_that_are_dropped_already_are_not_named_again() -> None:
    description = describe(config_of("texts", drop=["text"]), new_progress())
    assert description.unread == ()


def test_observations_that_nothing_reads_are_an_error() -> None:
    error = describe(config_of("text"), new_progress()).observation_error
    assert "observations are text, which no network reads" in error


def test_types_and_moved_colors_are_told() -> None:
    (described,) = describe(config_of("first"), new_progress()).parts
    assert described.part.shape == (12, 12, 3)
    assert described.colors_moved
    assert described.dtype == "uint8"


def test_actions_are_told_by_the_environments_own_words() -> None:
    actions = describe(config_of("many"), new_progress()).actions
    assert actions is not None
    assert (actions.total, actions.first, actions.last) == (5_000, "2", "5001")
    actions = describe(config_of("nested"), new_progress()).actions
    assert actions is not None
    assert (actions.total, actions.first, actions.last) == (8, "(0, [0, 0])", "(1, [1, 1])")


def test_actions_that_can_not_be_counted_are_an_error_beside_the_observations() -> None:
    description = describe(config_of("continuous"), new_progress())
    assert "actions that can be counted" in description.action_error
    assert description.actions is None
    assert len(description.parts) == 1


@pytest.mark.parametrize(
    ("env_id", "limit"), [("Strange-v0", None), ("StrangeLimited-v0", 100_000)]
)
def test_the_limit_of_an_episode_is_told(env_id: str, limit: int | None) -> None:
    assert describe(config_of(env_id=env_id), new_progress()).step_limit == limit


def test_a_limit_of_the_configuration_is_told() -> None:
    config = config_of(max_episode_steps=7)
    assert describe(config, new_progress()).step_limit == 7


def test_the_limit_of_a_protocol_is_told(settings_of: Callable[..., Settings]) -> None:
    pytest.importorskip("ale_py")
    env = settings_of("env=ALE/Pong-v5").env
    assert describe(env, new_progress()).step_limit == 27_000


def test_scalars_and_a_mask_by_another_name_are_found_in_info() -> None:
    description = describe(config_of("other_mask"), new_progress())
    assert description.mask_like == "legal_moves"
    assert description.info_scalars == ("score",)
    assert describe(config_of("masked"), new_progress()).mask_like == ""


def test_a_part_of_observations_that_looks_like_a_mask_is_found() -> None:
    flags = spaces.Box(0, 1, (3,), np.int8)
    space = spaces.Dict(x=flags, legal_actions=flags, valid=spaces.Box(0, 9, (3,), np.int8))
    config = config_of(kwargs={"space": space})
    assert describe(config, new_progress()).mask_like_part == "legal_actions"
    assert describe(config_of("masked"), new_progress()).mask_like_part == ""


class Masked(gymnasium.Env[Any, Any]):
    action_space = spaces.Discrete(2)
    observation_space = spaces.Dict(
        a=spaces.Discrete(3), action_mask=spaces.Box(0, 1, (2,), np.int8)
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return {"a": 0, "action_mask": np.ones(2, np.int8)}, {}

    def action_masks(self) -> Any:
        return np.ones(2, bool)


gymnasium.register("Masked-v0", entry_point=Masked)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (MaskSource.auto, "part action_mask of the observation"),
        (MaskSource.method, "method action_masks()"),
        (MaskSource.info, 'info["action_mask"]'),
        (MaskSource.none, "nowhere: env.mask=none"),
    ],
)
def test_the_place_of_a_mask_is_told(source: MaskSource, place: str) -> None:
    config = replace(config_of(env_id="Masked-v0", mask=source), kwargs={})
    assert describe(config, new_progress()).mask_place == place


def test_names_of_actions_are_told_where_there_are_some() -> None:
    pytest.importorskip("ale_py")
    config = replace(config_of(env_id="ALE/Pong-v5"), kwargs={})
    actions = describe(config, new_progress()).actions
    assert actions is not None
    assert actions.names[:2] == ("NOOP", "FIRE")


def test_an_environment_that_can_not_be_made_is_a_failure() -> None:
    with pytest.raises(EnvironmentFailure, match="unexpected keyword argument"):
        describe(config_of(kwargs={"no_such": 1}), new_progress())


class Vector(VectorEnv[Any, Any, Any]):
    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(4)
        self.single_observation_space = Masked.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)


def make_vector(num_envs: int) -> Vector:
    return Vector(num_envs)


def test_a_vector_environment_is_described_by_a_single_copy() -> None:
    native = {"num_envs": 3, "vectorization": Vectorization.native}
    config = replace(config_of(env_id=f"{__name__}:make_vector"), kwargs={}, **native)  # type: ignore[arg-type]
    description = describe(config, new_progress())
    assert description.mask_place == "part action_mask of the observation"
    assert [described.part.name for described in description.parts] == ["a"]
    assert description.actions is not None
    assert description.actions.total == 4
