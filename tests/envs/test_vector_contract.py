from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_envs import config, started, take
from recorded_vector import RecordedVector

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.vector_contract import VectorContract

ENDED = np.array([True, False, True])


@pytest.mark.parametrize(
    ("wrong", "options", "words"),
    [
        ("raises", {}, ["step raised RuntimeError: no licence", "recorded_vector.py"]),
        ("four", {}, ["step returned 4 values", "(observation, reward,"]),
        ("shape", {}, ["observations has shape [4, 2]; declared is [4, 4]"]),
        ("few", {}, ["observations has shape [1, 4]; declared is [4, 4]"]),
        ("rewards", {}, ["the reward is", "one value for each of the 4 copies"]),
        ("reward", {}, ["the reward is 1.0", "one value for each of the 4 copies"]),
        ("ends", {}, ["terminated is", "one value for each of the 4 copies"]),
        ("info", {}, ["info is None", "a dict"]),
        ("late", {}, ["action_mask is in a step's info", "first reset"]),
        ("mask", {"masked": True}, ["action_mask has shape [2, 2]", "[copies, actions], [4, 3]"]),
        ("no mask", {"masked": True}, ["action_mask is missing in a step"]),
        ("illegal", {"masked": True}, ["allows no action in copy 0"]),
        ("no final", {"mode": "SAME_STEP"}, ["no final_obs", "SAME_STEP"]),
    ],
)
def test_what_a_vector_does_wrong_is_one_line(
    wrong: str, options: dict[str, Any], words: list[str]
) -> None:
    envs = started(config(wrong=wrong, lengths=(20,), **options))
    take(envs, 2)
    with pytest.raises(EnvironmentFailure) as caught:
        take(envs, 1)
    line = str(caught.value)
    assert line.startswith("env=recorded_vector:make: ")
    assert all(word in line for word in words)
    assert "in step 3 of the vector with seed" in line
    assert "\n" not in line


class Saying(RecordedVector):
    """Gives prepared results of reset and step."""

    def __init__(self, start: Any = None, result: Any = None, **options: Any) -> None:
        super().__init__(3, **options)
        self.start, self.result, self.options = start, result, []  # type: ignore[var-annotated]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.options.append((seed, options))
        return self.start or super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        return self.result or super().step(actions)


def contract(*arguments: Any, **options: Any) -> tuple[Saying, VectorContract]:
    vector = Saying(*arguments, **options)
    return vector, VectorContract(vector, "mine:make")


@pytest.mark.parametrize("start", [3, (np.zeros((3, 4), np.float32),), [1, {}]])
def test_a_reset_gives_observations_and_info(start: Any) -> None:
    _, checked = contract(start)
    with pytest.raises(EnvironmentFailure, match=r"reset returned .* not \(observation, info\)"):
        checked.reset(5)


def test_rows_are_reset_with_a_mask_and_without_a_seed() -> None:
    vector, checked = contract(mode="DISABLED")
    checked.reset(5)
    checked.reset(None, ENDED)
    assert vector.options[0] == (5, None)
    seed, options = vector.options[1]
    assert seed is None
    assert options["reset_mask"].tolist() == ENDED.tolist()
    assert "in reset of the vector with seed 5" in str(checked.failure("it fails"))


def test_rewards_and_ends_are_copied_and_have_one_type() -> None:
    reward, ends = np.arange(3, dtype=np.float32), [0, 1, 0]
    obs = np.zeros((3, 4), np.float32)
    _, checked = contract(None, (obs, reward, ends, np.array(ends) == 0, {}))
    result = checked.step(np.zeros(3, int))
    reward[:] = 9
    assert result.reward.tolist() == [0, 1, 2]
    assert (result.terminated.dtype, result.terminated.tolist()) == (bool, [False, True, False])
    assert result.truncated.tolist() == [True, False, True]


@pytest.mark.parametrize("reward", [np.zeros((3, 1)), 0.5, ["a", "b", "c"], None])
def test_a_reward_is_a_number_for_each_copy(reward: Any) -> None:
    ends = np.zeros(3, bool)
    _, checked = contract(None, (np.zeros((3, 4), np.float32), reward, ends, ends, {}))
    with pytest.raises(EnvironmentFailure, match=r"the reward is .* each of the 3 copies"):
        checked.step(np.zeros(3, int))


@pytest.mark.parametrize("kind", ["box", "dict", "discrete"])
@pytest.mark.parametrize("is_dense", [True, False])
def test_final_observations_are_those_of_copies_that_ended(kind: str, is_dense: bool) -> None:
    vector, checked = contract(kind=kind)
    batch, _ = vector.reset(seed=0)
    final = batch
    if not is_dense:
        final = np.full(3, None, object)
        for row in (0, 2):
            final[row] = {k: v[row] for k, v in batch.items()} if kind == "dict" else batch[row]
    rows = checked.final_obs({"final_obs": final}, ENDED)
    if kind == "dict":
        assert set(rows) == set(batch)
        rows, batch = rows["box"], batch["box"]
    np.testing.assert_array_equal(rows, batch[ENDED])


def test_a_final_observation_that_is_missing_or_wrong_is_named() -> None:
    _, checked = contract()
    with pytest.raises(EnvironmentFailure, match="info has no final_obs"):
        checked.final_obs({}, ENDED)
    with pytest.raises(EnvironmentFailure, match=r"final_obs has shape .* or an array of objects"):
        checked.final_obs({"final_obs": np.zeros((2, 4))}, ENDED)
    final = np.array([np.zeros(4), None, None], object)
    with pytest.raises(EnvironmentFailure, match="the final observation of copy 2 has shape"):
        checked.final_obs({"final_obs": final}, ENDED)


def test_masks_become_booleans_of_one_shape() -> None:
    _, checked = contract()
    assert checked.mask([[0, 1.0], [1, 0]], 2, 2).tolist() == [[False, True], [True, False]]
    with pytest.raises(EnvironmentFailure, match="it must hold 0 and 1 only"):
        checked.mask([[0, 2], [1, 0]], 2, 2)
    with pytest.raises(EnvironmentFailure, match="action_mask has shape"):
        checked.mask([[0, 2], [1, 0]], 3, 2)
    mask = np.array([[True, False], [False, False], [False, True]])
    checked.require_legal(mask, ENDED)
    with pytest.raises(EnvironmentFailure, match="allows no action in copy 1"):
        checked.require_legal(mask, ~ENDED)
