from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.envs.space_adapter import adapt_spaces, describe_space, restore_space

LINE = spaces.Box(-1, 1, (1,), np.float32)


class ActionRecorder(gymnasium.Env[Any, Any]):
    """Observes samples of its space and remembers the last action."""

    def __init__(
        self, action_space: spaces.Space[Any], observation_space: spaces.Space[Any] = LINE
    ) -> None:
        self.action_space, self.observation_space = action_space, observation_space
        self.action: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.action = action
        return self.observation_space.sample(), 0.0, False, False, {}


ACTIONS = [
    (spaces.Discrete(3), 3, 0, 2),
    (spaces.Discrete(3, start=-1), 3, -1, 1),
    (spaces.Discrete(2, start=5), 2, 5, 6),
    (spaces.MultiDiscrete([2, 3]), 6, [0, 0], [1, 2]),
    (spaces.MultiDiscrete([2, 3], start=[1, -2]), 6, [1, -2], [2, 0]),
    (spaces.MultiDiscrete([[2, 2], [1, 3]]), 12, [[0, 0], [0, 0]], [[1, 1], [0, 2]]),
    (spaces.MultiDiscrete([100, 100]), 10_000, [0, 0], [99, 99]),
    (spaces.MultiBinary(3), 8, [0, 0, 0], [1, 1, 1]),
]


@pytest.mark.parametrize(("space", "count", "first", "last"), ACTIONS)
def test_the_environment_gets_its_own_actions(
    space: spaces.Space[Any], count: int, first: Any, last: Any
) -> None:
    recorder = ActionRecorder(space)
    env, described = adapt_spaces(recorder)
    env.reset()
    assert described.actions == count
    taken = []
    for index in range(min(count, 50)):
        env.step(np.int64(index))
        assert recorder.action in space
        taken.append(tuple(np.ravel(recorder.action).tolist()))
    assert len(set(taken)) == len(taken)
    env.step(0)
    np.testing.assert_array_equal(recorder.action, first)
    env.step(count - 1)
    np.testing.assert_array_equal(recorder.action, last)


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,), np.float32), spaces.Text(3)])
def test_other_action_spaces_are_an_error(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match="needs actions that can be counted"):
        adapt_spaces(ActionRecorder(space))


OBSERVATIONS = [
    (spaces.Discrete(4), (4,), True),
    (spaces.Discrete(4, start=2), (4,), True),
    (spaces.MultiDiscrete([2, 3]), (5,), False),
    (spaces.MultiBinary(3), (3,), False),
    (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2, 2), np.float32)]), (6,), False),
    (spaces.Dict({"a": spaces.Discrete(3), "b": LINE}), (4,), False),
    (spaces.Box(0, 255, (2, 3, 3), np.uint8), (2, 3, 3), False),
]


@pytest.mark.parametrize(("space", "shape", "one_hot"), OBSERVATIONS)
def test_observations_become_one_array(
    space: spaces.Space[Any], shape: tuple[int, ...], one_hot: bool
) -> None:
    env, described = adapt_spaces(ActionRecorder(spaces.Discrete(2), space))
    obs, _ = env.reset(seed=1)
    assert described.observation_shape == shape == obs.shape == env.observation_space.shape
    assert described.is_one_hot is one_hot
    space.seed(1)
    expected = space.sample()
    if not isinstance(space, spaces.Box):
        expected = spaces.flatten(space, expected)
    np.testing.assert_array_equal(obs, expected)
    low, high = (np.reshape(bound, shape) for bound in described.bounds)
    np.testing.assert_array_equal(obs, obs.clip(low, high))


def test_a_discrete_observation_is_one_hot() -> None:
    env, _ = adapt_spaces(gymnasium.make("FrozenLake-v1"))
    obs, _ = env.reset(seed=0)
    assert obs.tolist() == [1] + [0] * 15


def test_a_tuple_of_numbers_is_flattened() -> None:
    env, described = adapt_spaces(gymnasium.make("Blackjack-v1"))
    obs, _ = env.reset(seed=0)
    assert described.observation_shape == obs.shape == (32 + 11 + 2,)
    assert obs.sum() == 3
    assert not described.is_one_hot


def test_each_element_has_its_bounds() -> None:
    box = spaces.Box(np.array([[-1, 0]], np.float32), np.array([[2, np.inf]], np.float32))
    _, described = adapt_spaces(ActionRecorder(spaces.Discrete(2), box))
    assert described.bounds == ([-1, 0], [2, np.inf])


def test_frames_of_nested_observations_are_stacked() -> None:
    space = spaces.Dict(flag=spaces.Discrete(2), numbers=spaces.Box(-1, 1, (2,), np.float32))
    env, described = adapt_spaces(ActionRecorder(spaces.Discrete(2), space), frames=3)
    first, _ = env.reset(seed=1)
    assert described.observation_shape == first.shape == (3, 4)
    assert not first[:2].any()
    second, *_ = env.step(0)
    np.testing.assert_array_equal(second[1], first[2])


class OneArray(ActionRecorder):
    """Writes each observation into the same array."""

    obs = np.zeros(1, np.float32)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.obs[:] = action
        return self.obs, 0.0, False, False, {}


def test_frames_keep_what_they_showed_when_an_environment_reuses_its_array() -> None:
    env, _ = adapt_spaces(OneArray(spaces.Discrete(9)), frames=3)
    env.reset(seed=1)
    frames = [env.step(action)[0] for action in (1, 2, 3)][-1]
    assert frames.ravel().tolist() == [1, 2, 3]


NESTED = spaces.Dict(
    a=spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiBinary([2, 2])]),
    b=spaces.MultiDiscrete([2, 3], start=[1, 5]),
    c=spaces.Box(-1, 1, (2, 2), np.float64),
    d=spaces.Box(0, 255, (2,), np.uint8),
)


@pytest.mark.parametrize("space", [NESTED, *(space for space, *_ in ACTIONS)])
def test_a_space_is_restored_from_its_description(space: spaces.Space[Any]) -> None:
    described = describe_space(space)
    json.dumps(described)  # plain data
    restored = restore_space(described)
    assert describe_space(restored) == described
    space.seed(2)
    for _ in range(5):
        sample = space.sample()
        np.testing.assert_array_equal(
            spaces.flatten(restored, sample), spaces.flatten(space, sample)
        )


def test_parts_keep_numbers_as_their_names_and_their_order() -> None:
    space = spaces.Dict([("z", LINE), (2, LINE), (1, spaces.Discrete(2))])
    assert list(restore_space(describe_space(space)).spaces) == ["z", 2, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [("a", 1), "a\nb", np.int64(3), None])
def test_a_name_that_cannot_be_stored_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="names must be text of one line or whole numbers"):
        describe_space(spaces.Dict([(name, LINE)]))


def test_a_space_that_no_network_reads_is_described_too() -> None:
    described = describe_space(spaces.Dict(text=spaces.Text(5), number=LINE))
    assert describe_space(restore_space(described))["parts"]["text"] == {"type": "Text"}
