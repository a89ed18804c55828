from __future__ import annotations

from typing import Any

import gymnasium
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TimeAwareObservation, TransformReward

from dqn_cli.envs.wrappers import WrapperSpec, apply_wrappers, parse_wrappers

HERE = __name__


class Scaled(gymnasium.RewardWrapper[Any, Any]):
    """Multiplies rewards."""

    def __init__(self, env: gymnasium.Env[Any, Any], factor: float = 2.0) -> None:
        super().__init__(env)
        self.factor = factor

    def reward(self, reward: Any) -> float:
        return float(reward) * self.factor


def shifted(env: gymnasium.Env[Any, Any], by: float) -> gymnasium.Env[Any, Any]:
    return TransformReward(env, lambda reward: float(reward) + by)


def nothing(env: gymnasium.Env[Any, Any]) -> None:
    return None


def failing(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    raise OSError("no licence")


NUMBER = 3


def cart_pole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def reward_of(entries: list[Any]) -> float:
    env = apply_wrappers(cart_pole(), entries)
    env.reset(seed=0)
    return float(env.step(0)[1])


def test_wrappers_are_applied_in_order() -> None:
    scaled, moved = {f"{HERE}:Scaled": {"factor": 10}}, {f"{HERE}:shifted": {"by": 3}}
    assert reward_of([scaled, moved]) == 13
    assert reward_of([moved, scaled]) == 40
    assert reward_of([]) == 1


@pytest.mark.parametrize("entry", [f"{HERE}:Scaled", {f"{HERE}:Scaled": None}])
def test_arguments_have_their_defaults(entry: Any) -> None:
    assert reward_of([entry]) == 2


def test_gymnasiums_own_wrappers_are_named_in_the_same_way() -> None:
    env = apply_wrappers(
        cart_pole(),
        ["gymnasium.wrappers:TimeAwareObservation", "gymnasium.wrappers:RecordEpisodeStatistics"],
    )
    assert isinstance(env, RecordEpisodeStatistics)
    assert isinstance(env.env, TimeAwareObservation)
    assert env.observation_space.shape == (5,)


@pytest.mark.parametrize(
    "entry",
    [
        "Scaled",
        "mine:",
        ":Mine",
        "mine:not a name",
        3,
        None,
        ["mine:Mine"],
        {},
        {"mine:Mine": 3},
        {"mine:Mine": [1]},
        {"mine:Mine": {1: 2}},
        {"mine": "Mine"},
        {"mine:Mine": {}, "mine:Other": {}},
    ],
)
def test_an_entry_of_another_shape_is_named(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"env\.wrappers: .*module:Class") as caught:
        parse_wrappers([entry])
    assert str(entry) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("nowhere:Mine", ["nowhere:Mine", "No module named 'nowhere'"]),
        ("nowhere.deep:Mine", ["nowhere.deep:Mine", "No module named 'nowhere'"]),
        (f"{HERE}:Absent", [HERE, "has no Absent"]),
        (f"{HERE}:NUMBER", [f"{HERE}:NUMBER", "is 3"]),
        ({f"{HERE}:Scaled": {"amount": 3}}, [f"{HERE}:Scaled", "TypeError", "amount"]),
        (f"{HERE}:shifted", [f"{HERE}:shifted", "missing", "by"]),
        (f"{HERE}:nothing", [f"{HERE}:nothing", "None", "no environment"]),
        (f"{HERE}:failing", [f"{HERE}:failing", "OSError", "no licence"]),
    ],
)
def test_what_cannot_wrap_is_named(entry: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^env\.wrappers: ") as caught:
        apply_wrappers(cart_pole(), [entry])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("name", "is_harmless"),
    [
        ("gymnasium.wrappers:TimeAwareObservation", True),
        ("gymnasium.wrappers:RecordVideo", False),
        ("gymnasium.wrappers:HumanRendering", False),
        ("gymnasium.wrappers:import_module", False),
        ("gymnasium.wrappers:vector", False),
        ("gymnasium:make", False),
        (f"{HERE}:Scaled", False),
    ],
)
def test_only_gymnasiums_wrappers_without_side_effects_are_harmless(
    name: str, is_harmless: bool
) -> None:
    (spec,) = parse_wrappers([name])
    assert spec == WrapperSpec(*name.split(":"), {})
    assert spec.name == name
    assert spec.is_harmless is is_harmless
