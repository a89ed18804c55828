from __future__ import annotations

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dqn_cli.envs.contract import Contract, EnvironmentFailure, misfit, with_contract

BYTES = spaces.Box(0, 255, (2, 2), np.uint8)
REALS = spaces.Box(-1, 1, (2,), np.float32)
OBS = np.zeros(2, np.float32)
NESTED = spaces.Dict(
    camera=BYTES, rest=spaces.Tuple([spaces.Discrete(3, start=2), spaces.MultiBinary(2)])
)


class Told(gymnasium.Env[Any, Any]):
    """Returns from `reset` and `step` what it is told, or raises it."""

    observation_space, action_space = REALS, spaces.Discrete(2)

    def __init__(self, first: Any, then: Any = None) -> None:
        self.first, self.then = first, then

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.returned(self.first)

    def step(self, action: Any) -> Any:
        return self.returned(self.then)

    def returned(self, value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (REALS, OBS),
        (REALS, [0, 1]),
        (REALS, np.zeros(2)),  # another precision
        (REALS, np.array([7, -7])),  # out of bounds, and whole numbers
        (BYTES, np.full((2, 2), 200)),
        (BYTES, np.full((2, 2), 3.0)),
        (BYTES, np.ones((2, 2), bool)),
        (spaces.Discrete(3, start=-1), -1),
        (spaces.Discrete(3), np.int32(2)),
        (spaces.MultiDiscrete([2, 3]), [1, 2]),
        (NESTED, {"camera": np.zeros((2, 2), np.uint8), "rest": (4, np.array([0, 1], np.int8))}),
        (spaces.Text(5), "door"),
    ],
)
def test_what_can_be_stored_unchanged_is_accepted(space: Any, value: Any) -> None:
    assert misfit(space, value) is None


@pytest.mark.parametrize(
    ("space", "value", "reason"),
    [
        (REALS, np.zeros(1, np.float32), r"has shape \[1\]; declared is \[2\]"),
        (REALS, 0.5, r"has shape \[\]; declared is \[2\]"),
        (REALS, np.array(["a", "b"]), "which float32 can't hold"),
        (REALS, None, "has shape"),
        (REALS, torch.ones(2, requires_grad=True), "is tensor.*; declared is Box"),
        (spaces.Dict(a=REALS), {"a": OBS, 3: OBS}, r"is \[3, 'a'\]; declared are the parts"),
        (BYTES, np.full((2, 2), 0.5), "float64 values from 0.5 to 0.5, which uint8 can't hold"),
        (BYTES, np.full((2, 2), -1), "int64 values from -1 to -1, which uint8 can't hold"),
        (BYTES, np.full((2, 2), 256), "which uint8 can't hold"),
        (BYTES, np.full((2, 2), 256, np.uint16), "uint16 values from 256 to 256, which uint8"),
        (BYTES, np.full((2, 2), np.nan), "which uint8 can't hold"),
        (BYTES, np.zeros((2, 2, 1), np.uint8), r"has shape \[2, 2, 1\]"),
        (spaces.Discrete(3), 3, r"is 3; declared is Discrete\(3\)"),
        (spaces.Discrete(3, start=1), 0, "is 0; declared is Discrete"),
        (spaces.MultiBinary(2), [0, 2], "declared is MultiBinary"),
        (NESTED, {"camera": np.zeros((2, 2), np.uint8)}, "declared are the parts"),
        (NESTED, 5, "declared are the parts"),
        (
            NESTED,
            {"camera": np.zeros((2, 2), np.uint8), "rest": (0, [0, 1])},
            "part rest.0 is 0; declared is Discrete",
        ),
        (spaces.Tuple([REALS]), (OBS, OBS), "declared is a tuple of 1 parts"),
    ],
)
def test_what_would_be_changed_is_named(space: Any, value: Any, reason: str) -> None:
    found = misfit(space, value)
    assert found is not None
    assert re.search(reason, found), found


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (OBS, r"reset returned no \(observation, info\); this is the old Gym API"),
        ((OBS,), r"reset returned no \(observation, info\); it returned \(array"),
        (None, r"reset returned no \(observation, info\); it returned None"),
        (TypeError("f() got an unexpected keyword argument 'seed'"), r".*must be reset\(self, \*,"),
        ((OBS, None), "info is None; it must be a dict"),
        ((OBS[:1], {}), r"the observation has shape \[1\]"),
        (KeyError("port"), r"reset raised KeyError: 'port' \(.*test_contract.py:\d+\)"),
    ],
)
def test_a_reset_that_breaks_the_contract_is_named(first: Any, reason: str) -> None:
    env = Contract(Told(first), "Told-v0")
    where = r"\(in reset of the episode with seed 7\)"
    with pytest.raises(EnvironmentFailure, match=rf"^env=Told-v0: {reason}.*{where}$"):
        env.reset(seed=7)


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ((OBS, 1.0, False, {}), "step returned 4 values; this is the old Gym API"),
        ((OBS, 1.0, False), "step returned 3 values, not"),
        ((OBS, None, False, False, {}), "the reward is None; it must be one number"),
        ((OBS, [1.0, 2.0], False, False, {}), "the reward is .* it must be one number"),
        ((OBS, "much", False, False, {}), "the reward is 'much'"),
        ((OBS, np.complex128(1j), False, False, {}), "the reward is .*1j.*; it must be one number"),
        ((OBS, "1.5", False, False, {}), "the reward is '1.5'; it must be one number"),
        ((OBS, 10**400, False, False, {}), "the reward is 1000.*; it must be one number"),
        ((OBS, 1.0, "False", False, {}), "terminated is 'False'; it must be True or False"),
        ((OBS, 1.0, False, [True, False], {}), r"truncated is \[True, False\]; it must be True"),
        ((OBS, 1.0, None, False, {}), "terminated is None; it must be True or False"),
        ((OBS, 1.0, False, False, None), "info is None"),
        ((np.zeros(3), 1.0, False, False, {}), r"the observation has shape \[3\]"),
        (RuntimeError("no\nlicence"), r"step raised RuntimeError: no licence \(.*:\d+\)"),
    ],
)
def test_a_step_that_breaks_the_contract_is_named(then: Any, reason: str) -> None:
    env = Contract(Told((OBS, {}), (OBS, 1.0, False, False, {})), "Told-v0")
    env.reset(seed=7)
    env.step(0)
    env.unwrapped.then = then  # type: ignore[attr-defined]
    where = r"\(in step 2 of the episode with seed 7\)"
    with pytest.raises(EnvironmentFailure, match=rf"^env=Told-v0: {reason}.*{where}$"):
        env.step(0)


@pytest.mark.parametrize("reward", [1, True, np.float32(1), np.array([1.0]), np.array(1)])
def test_a_reward_is_any_single_number(reward: Any) -> None:
    env = Contract(Told((OBS, {}), (OBS, reward, False, False, {})), "Told-v0")
    env.reset()
    assert env.step(0)[1] == 1.0


@pytest.mark.parametrize("flag", [0, 1, np.bool_(True), np.array([False]), [True], np.float32(1)])
def test_an_end_is_any_single_truth(flag: Any) -> None:
    env = Contract(Told((OBS, {}), (OBS, 1.0, flag, False, {})), "Told-v0")
    env.reset()
    assert env.step(0)[2] is bool(np.asarray(flag).item())


@pytest.mark.parametrize("space", [None, 2, spaces.Box])
def test_spaces_that_are_none_are_refused(space: Any) -> None:
    env = Told(OBS)
    env.action_space = space
    with pytest.raises(
        ValueError, match=r"^action_space is .*; __init__ must set it to a space of"
    ):
        Contract(env, "Told-v0")


def test_the_contract_is_inside_all_wrappers_that_gymnasium_adds() -> None:
    env = with_contract(gymnasium.make("CartPole-v1"), "CartPole-v1")
    wrappers = []
    inner: Any = env
    while isinstance(inner, gymnasium.Wrapper):
        wrappers.append(type(inner).__name__)
        inner = inner.env
    assert wrappers[-1] == "Contract"
    assert wrappers[0] == "TimeLimit"
    assert inner is env.unwrapped


def test_an_environment_without_wrappers_has_a_contract_too() -> None:
    assert isinstance(with_contract(Told((OBS, {})), "Told-v0"), Contract)


def test_a_tuple_of_two_parts_is_no_observation_and_info() -> None:
    env = Told((OBS, OBS))
    env.observation_space = spaces.Tuple([REALS, REALS])  # type: ignore[assignment]
    with pytest.raises(EnvironmentFailure, match="reset returned no"):
        Contract(env, "Told-v0").reset()
