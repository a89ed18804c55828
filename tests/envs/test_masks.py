from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.masks import MaskSource, find_mask_source, legal_actions, with_mask_in_info
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


@pytest.mark.parametrize("mask", [[1, 0, 1], np.array([1, 0, 1], np.int8), (True, False, True)])
def test_a_mask_may_be_any_sequence_of_truths(mask: Any) -> None:
    legal = legal_actions({"action_mask": mask}, 3, "Name-v0", masked=True)
    assert legal.dtype == bool
    assert legal.tolist() == [True, False, True]


@pytest.mark.parametrize("info", [{}, {"mask": [1, 0, 0]}])
def test_all_actions_are_legal_without_a_mask(info: dict[str, Any]) -> None:
    assert legal_actions(info, 3, "Name-v0").tolist() == [True] * 3


@pytest.mark.parametrize("info", [{}, {"action_mask": [0, 0, 0]}])
def test_an_episode_may_end_without_a_mask_or_a_legal_action(info: dict[str, Any]) -> None:
    assert legal_actions(info, 3, "Name-v0", masked=True, is_last=True).tolist() == [True] * 3


@pytest.mark.parametrize("mask", [1, [], [1], [[1, 1, 1]], [1, 1, 1, 1]])
def test_a_mask_of_another_shape_is_an_error(mask: Any) -> None:
    with pytest.raises(EnvironmentFailure, match="action_mask has shape"):
        legal_actions({"action_mask": mask}, 3, "Name-v0", masked=True)


@pytest.mark.parametrize("mask", [[0.0, -np.inf, 0.0], [0, 1, 2], [np.nan, 1, 1], [0.5, 0.5, 0]])
def test_logits_and_numbers_of_actions_are_no_mask(mask: Any) -> None:
    with pytest.raises(EnvironmentFailure, match=r"action_mask is .*; it must hold 0 and 1 only"):
        legal_actions({"action_mask": mask}, 3, "Name-v0", masked=True)


@pytest.mark.parametrize(
    ("info", "masked", "reason"),
    [
        ({}, True, "is missing in a step"),
        ({"action_mask": [0, 0, 0]}, True, "allows no action"),
        ({"action_mask": [1, 0, 0]}, False, "must be there from the first reset on"),
    ],
)
def test_a_mask_is_there_always_or_never_and_allows_an_action(
    info: dict[str, Any], masked: bool, reason: str
) -> None:
    with pytest.raises(EnvironmentFailure, match=f"^env=Name-v0: action_mask .*{reason}"):
        legal_actions(info, 3, "Name-v0", masked)


class Lamps(gymnasium.Env[Any, Any]):
    """Two lamps; only the one that is on may be taken. `places` say where the mask is given."""

    def __init__(self, *places: str) -> None:
        self.places, self.on = places, 0
        lamps = spaces.Box(0, 1, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.observation_space: Any = lamps
        if "observation" in places:
            self.observation_space = spaces.Dict(lamps=lamps, action_mask=spaces.MultiBinary(2))
        if "method" in places:
            self.action_masks = self.mask

    def mask(self) -> Any:
        return np.eye(2, dtype=np.int8)[self.on]

    def answer(self, place: str) -> Any:
        obs: Any = np.eye(2, dtype=np.float32)[self.on]
        if "observation" in self.places:
            obs = {"lamps": obs, "action_mask": self.mask()}
        return obs, {"action_mask": self.mask()} if place in self.places else {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.on = 0
        return self.answer("info")

    def step(self, action: Any) -> Any:
        self.on = 1 - self.on
        obs, info = self.answer("late" if "late" in self.places else "info")
        return obs, 1.0, False, False, info


@pytest.mark.parametrize("place", ["info", "observation", "method"])
@pytest.mark.parametrize("named", [False, True])
def test_a_mask_is_found_wherever_it_is(place: str, named: bool) -> None:
    source = MaskSource[place] if named else MaskSource.auto
    env = with_mask_in_info(Lamps(place), "Lamps-v0", source)
    obs, info = env.reset()
    assert np.asarray(info["action_mask"]).tolist() == [1, 0]
    obs, _, _, _, info = env.step(0)
    assert np.asarray(info["action_mask"]).tolist() == [0, 1]
    assert env.observation_space.contains(obs)
    if place == "observation":
        assert set(obs) == {"lamps"}  # the mask is no feature


def test_a_mask_can_be_ignored() -> None:
    env = with_mask_in_info(Lamps("info", "method"), "Lamps-v0", MaskSource.none)
    assert env.reset()[1] == {}
    assert env.step(1)[4] == {}


@pytest.mark.parametrize("place", ["observation", "method"])
def test_a_mask_that_is_not_where_it_is_said_to_be_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=f"^env.mask={place} needs a"):
        with_mask_in_info(Lamps("info"), "Lamps-v0", MaskSource[place])


def test_a_mask_that_comes_late_is_an_error_though_there_is_a_method_too() -> None:
    env = with_mask_in_info(Lamps("method", "late"), "Lamps-v0", MaskSource.auto)
    env.reset()
    with pytest.raises(EnvironmentFailure, match="must be there from the first reset on"):
        env.step(0)


class Undecided(Lamps):
    """Gives two masks, which differ from the first step on."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated, truncated, info | {"action_mask": [1, 1]}


@pytest.mark.parametrize("place", ["observation", "method"])
def test_two_masks_that_differ_are_an_error_until_one_is_chosen(place: str) -> None:
    for source in (MaskSource.info, MaskSource[place], MaskSource.auto):
        env = with_mask_in_info(Undecided(place, "info"), "Lamps-v0", source)
        assert np.asarray(env.reset()[1]["action_mask"]).tolist() == [1, 0]
        if source is not MaskSource.auto:
            env.step(0)
            continue
        with pytest.raises(EnvironmentFailure, match=f"in info and {place}: choose env.mask=info"):
            env.step(0)


class WithProperty(Lamps):
    """Has its mask in a property, which works from the first reset on."""

    @property
    def action_masks(self) -> Any:
        return self.mask()[self.unknown]  # type: ignore[attr-defined]


class Nested(Lamps):
    """Has its mask in a part of a part."""

    def __init__(self) -> None:
        super().__init__("observation")
        self.observation_space = spaces.Tuple([spaces.Discrete(2), self.observation_space])


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (WithProperty(), "action_masks is a property: make it a method"),
        (gymnasium.Wrapper(WithProperty()), "action_masks is a property: make it a method"),
        (Nested(), "part 1 of observations has action_mask inside, which is not read"),
    ],
)
def test_a_mask_that_is_not_read_is_refused(env: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}.*env.mask=none"):
        with_mask_in_info(env, "Lamps-v0", MaskSource.auto)
    with_mask_in_info(env, "Lamps-v0", MaskSource.none)


def test_a_method_that_raises_is_named() -> None:
    lamps = Lamps("method")
    lamps.action_masks = lambda number: number  # type: ignore[misc]
    env = with_mask_in_info(lamps, "Lamps-v0", MaskSource.auto)
    with pytest.raises(EnvironmentFailure, match=r"^env=Lamps-v0: action_masks\(\) raised Type"):
        env.reset()


def test_every_source_is_a_choice_of_a_key(settings_of: Compose) -> None:
    for source in MaskSource:
        assert settings_of(f"env.mask={source.name}").env.mask is source


class Lights(gymnasium.Env[Any, Any]):
    """Two switches, of which the second may only be set to the number of the step, modulo 3."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = spaces.MultiDiscrete([2, 3])

    def action_masks(self) -> list[bool]:
        return [True, True, *(self.steps % 3 == value for value in range(3))]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        assert action[1] == self.steps % 3, "an illegal action was taken"
        self.steps += 1
        return np.zeros(1, np.float32), 1.0, False, self.steps >= 10, {}


def test_masks_of_an_actions_parts_are_obeyed(settings_of: Compose) -> None:
    gymnasium.register("Lights-v0", Lights)
    try:
        settings = settings_of("env=Lights-v0", "steps=60", "network.widths=[4]")
        _, run = build_run([settings])
        assert run.envs.mask.tolist() == [[[True, False, False, True, False, False]]]
        for _ in train([settings], run):
            pass
        run.envs.close()
    finally:
        del gymnasium.registry["Lights-v0"]


class WithMethod(gymnasium.Env[Any, Any]):
    observation_space: spaces.Space[Any] = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def action_masks(self) -> Any:
        return np.ones(2, bool)


def test_a_part_of_the_observation_comes_before_a_method_and_that_before_info() -> None:
    both = WithMethod()
    both.observation_space = spaces.Dict(a=spaces.Discrete(2), action_mask=spaces.MultiBinary(2))
    assert find_mask_source(both, MaskSource.auto) is MaskSource.observation
    assert find_mask_source(WithMethod(), MaskSource.auto) is MaskSource.method
    plain = gymnasium.make("CartPole-v1")
    assert find_mask_source(plain, MaskSource.auto) is MaskSource.info
    assert find_mask_source(both, MaskSource.info) is MaskSource.info
    with pytest.raises(ValueError, match="needs a method action_masks"):
        find_mask_source(plain, MaskSource.method)
