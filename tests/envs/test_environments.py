from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import unseeded
from conftest import PLAIN
from gymnasium import spaces
from numpy.typing import NDArray
from scripted import arrays_of

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.masks import MaskSource

Array = NDArray[Any]


class Scripted(gymnasium.Env[Any, Any]):
    """Observes [episode, time] in an array that it overwrites; rewards are the time."""

    def __init__(
        self,
        length: int = 3,
        truncates: bool = False,
        masks: list[list[int]] | None = None,
        nan_obs_at: int = -1,
        nan_reward_at: int = -1,
        reward_scale: float = 1,
    ) -> None:
        self.observation_space = spaces.Box(0, 1000, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._length, self._truncates, self._masks = length, truncates, masks
        self._nan_obs_at, self._nan_reward_at = nan_obs_at, nan_reward_at
        self._obs, self._reward_scale = np.array([-1, 0], np.float32), reward_scale

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._obs[0] += 1
        self._obs[1] = np.nan if self._nan_obs_at == 0 and self._obs[0] == 1 else 0
        self._time = 0
        return self._obs, self._info()

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._time += 1
        self._obs[1] = np.nan if self._time == self._nan_obs_at else self._time
        reward = self._reward_scale * self._time
        if self._time == self._nan_reward_at:
            reward = float("nan")
        ended = self._time == self._length
        terminated, truncated = ended and not self._truncates, ended and self._truncates
        return self._obs, reward, terminated, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        if self._masks is None:
            return {"noise": self._time}
        return {"action_mask": np.array(self._masks[self._time], np.int8)}


@pytest.fixture(autouse=True)
def _scripted() -> Iterator[None]:
    gymnasium.register(id="Scripted-v0", entry_point=Scripted)
    yield
    del gymnasium.registry["Scripted-v0"]


def environments(
    env_id: str = "Scripted-v0",
    envs: int = 1,
    snapshots: list[EnvSnapshot] | None = None,
    vectorization: str = "sync",
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> Environments:
    config = EnvConfig(env_id, kwargs, envs, Vectorization[vectorization], PLAIN, MaskSource.auto)
    seed_functions = [[episode_seeds(7, "environment", env) for env in range(envs)]]
    return Environments(config, seed_functions, "float32", snapshots, max_episode_steps)


@pytest.fixture
def no_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseeded, "starts", 0)


@pytest.fixture
def licences(tmp_path: Path) -> Path:
    """A folder with two licences; an instance takes one."""
    for name in ("first", "second"):
        (tmp_path / name).touch()
    return tmp_path


class Licensed(Scripted):
    """Exists only while it holds one of the licences in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        for licence in sorted(folder.iterdir()):
            with suppress(FileNotFoundError):
                self._licence = licence.rename(folder.parent / f"{licence.name}.taken")
                self._folder = folder
                return
        raise OSError("no licence is left")

    def close(self) -> None:
        self._licence.rename(self._folder / self._licence.stem)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_there_are_never_more_instances_than_environments(
    licences: Path, vectorization: str
) -> None:
    gymnasium.register(id="Licensed-v0", entry_point=Licensed)
    for count in (2, 1):
        envs = environments("Licensed-v0", count, None, vectorization, folder=licences)
        play(envs, 4)
        assert len(list(licences.iterdir())) == 2 - count
        envs.close()
        if vectorization == "async":  # processes may end a little later
            wait_for(lambda: len(list(licences.iterdir())) == 2)
        assert len(list(licences.iterdir())) == 2
    with pytest.raises(EnvironmentFailure, match="no licence is left"):
        environments("Licensed-v0", 3, folder=licences)
    assert len(list(licences.iterdir())) == 2
    del gymnasium.registry["Licensed-v0"]


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)


def actions(envs: Environments, seed: int, steps: int) -> Array:
    random = np.random.default_rng(seed)
    return random.integers(envs.spaces.actions, size=(steps, *envs.mask.shape[:2]))


@pytest.mark.parametrize("truncates", [False, True])
def test_an_episode_ends_and_the_next_begins_in_the_same_step(truncates: bool) -> None:
    envs = environments(length=2, truncates=truncates)
    assert envs.obs.tolist() == [[[0, 0]]]
    first, last = envs.step(np.array([[0]])), envs.step(np.array([[0]]))
    assert first.final_obs.tolist() == first.obs.tolist() == [[[0, 1]]]
    assert not first.ended.any()
    assert last.final_obs.tolist() == [[[0, 2]]]
    assert last.obs.tolist() == envs.obs.tolist() == [[[1, 0]]]
    assert last.reward.tolist() == [[2]]
    assert (last.terminated.item(), last.truncated.item()) == (not truncates, truncates)


def test_later_steps_do_not_change_earlier_ones() -> None:
    envs = environments(length=2)
    steps = [envs.step(np.array([[0]])) for _ in range(5)]
    expected = [[0, 1], [0, 2], [1, 1], [1, 2], [2, 1]]
    assert [step.final_obs.tolist()[0][0] for step in steps] == expected
    assert [step.reward.item() for step in steps] == [1, 2, 1, 2, 1]


def test_only_an_environment_that_ended_restarts() -> None:
    envs = environments(envs=2, length=3, snapshots=[EnvSnapshot(0, (0,)), EnvSnapshot(0, ())])
    assert envs.obs.tolist() == [[[0, 1], [0, 0]]]
    envs.step(np.zeros((1, 2), int))
    step = envs.step(np.zeros((1, 2), int))
    assert step.ended.tolist() == [[True, False]]
    assert step.final_obs.tolist() == [[[0, 3], [0, 2]]]
    assert step.obs.tolist() == [[[1, 0], [0, 2]]]


def test_an_episode_is_truncated_at_max_episode_steps() -> None:
    envs = environments(length=9, max_episode_steps=2)
    steps = [envs.step(np.array([[0]])) for _ in range(4)]
    assert [step.truncated.item() for step in steps] == [False, True, False, True]


def test_there_are_masks_of_the_final_state_and_of_the_next_one() -> None:
    masks = [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    envs = environments(length=2, masks=masks)
    assert envs.masked
    assert envs.mask.tolist() == [[[True, False, False]]]
    first, last = envs.step(np.array([[0]])), envs.step(np.array([[0]]))
    assert first.mask.tolist() == first.final_mask.tolist() == [[[False, True, False]]]
    assert last.final_mask.tolist() == [[[False, True, True]]]
    assert last.mask.tolist() == envs.mask.tolist() == [[[True, False, False]]]


def test_final_masks_are_those_of_the_environments_that_ended() -> None:
    masks = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    envs = environments(
        envs=2, length=2, masks=masks, snapshots=[EnvSnapshot(0, (0,)), EnvSnapshot(0, ())]
    )
    step = envs.step(np.zeros((1, 2), int))
    assert step.final_mask.tolist() == [[[False, False, True], [False, True, False]]]
    assert step.mask.tolist() == [[[True, False, False], [False, True, False]]]


def test_all_actions_are_legal_if_a_final_mask_allows_none() -> None:
    envs = environments(length=1, masks=[[0, 1, 0], [0, 0, 0]])
    step = envs.step(np.array([[1]]))
    assert step.final_mask.all()
    assert step.mask.tolist() == [[[False, True, False]]]


def test_without_masks_all_actions_are_legal() -> None:
    envs = environments(envs=2)
    assert not envs.masked
    assert envs.mask.shape == (1, 2, 3)
    assert envs.mask.all()


def test_a_mask_of_the_wrong_size_is_an_error() -> None:
    with pytest.raises(EnvironmentFailure, match=r"Scripted-v0.*\(2,\).*3 actions"):
        environments(masks=[[1, 0]] * 4)


def play(envs: Environments, steps: int) -> None:
    for _ in range(steps):
        envs.step(np.zeros(envs.mask.shape[:2], int))


@pytest.mark.parametrize("time", [1, 2, 3])
@pytest.mark.parametrize(
    ("cause", "word"), [("nan_obs_at", "observation"), ("nan_reward_at", "reward")]
)
def test_nan_ends_the_run_at_once(time: int, cause: str, word: str) -> None:
    envs = environments(envs=2, length=3, **{cause: time})
    play(envs, time - 1)
    with pytest.raises(EnvironmentFailure, match=f"Scripted-v0 gave a {word}"):
        play(envs, 1)


def test_a_reward_that_cannot_be_stored_ends_the_run() -> None:
    envs = environments(envs=2, length=9, reward_scale=-1e38)
    play(envs, 3)
    with pytest.raises(EnvironmentFailure, match=r"Scripted-v0 gave a reward of 4e\+38; at most 3"):
        play(envs, 1)


def test_nan_in_a_first_observation_ends_the_run() -> None:
    envs = environments(length=2, nan_obs_at=0)
    play(envs, 1)
    with pytest.raises(EnvironmentFailure, match="observation"):
        play(envs, 1)


def ended_in_lockstep(left: Environments, right: Environments, steps: Array) -> int:
    """Steps both, checks that they are equal, and counts the episodes that ended."""
    ended = 0
    for action in steps:
        step, expected = left.step(action), right.step(action)
        for value, expected_value in zip(arrays_of(step), arrays_of(expected), strict=True):
            np.testing.assert_array_equal(value, expected_value)
        ended += int(step.ended.sum())
    return ended


@pytest.mark.parametrize("before", [0, 1, 37, 150])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_environments_continue_from_snapshots(env_id: str, before: int) -> None:
    first = environments(env_id, envs=3)
    for action in actions(first, 1, before):
        first.step(action)
    second = environments(env_id, envs=3, snapshots=first.snapshots)
    np.testing.assert_array_equal(first.obs, second.obs)
    assert ended_in_lockstep(first, second, actions(first, 2, 120)) >= 6
    assert first.snapshots == second.snapshots


def test_a_time_limit_continues_from_a_snapshot() -> None:
    first = environments(length=9, max_episode_steps=4)
    play(first, 3)
    second = environments(length=9, max_episode_steps=4, snapshots=first.snapshots)
    assert second.step(np.array([[0]])).truncated.all()


def test_a_snapshot_is_an_episodes_number_and_its_actions() -> None:
    envs = environments(envs=2, length=3)
    for action in ([0, 1], [1, 2], [2, 0], [1, 2]):
        envs.step(np.array([action]))
    assert envs.snapshots == [EnvSnapshot(1, (1,)), EnvSnapshot(1, (2,))]


def with_obs(envs: Environments) -> list[EnvSnapshot]:
    """The snapshots as a checkpoint has them."""
    rows = envs.obs.reshape(-1, *envs.obs.shape[2:])
    pairs = zip(envs.snapshots, rows, strict=True)
    return [snapshot._replace(obs=row) for snapshot, row in pairs]


def test_environments_continue_from_snapshots_with_observations() -> None:
    first = environments("CartPole-v1", envs=3)
    for action in actions(first, 1, 60):
        first.step(action)
    second = environments("CartPole-v1", envs=3, snapshots=with_obs(first))
    assert not second.not_restored
    ended_in_lockstep(first, second, actions(first, 2, 50))


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize(
    ("steps", "lengths", "reason"),
    [
        (6, (7, 4), "its episode ended at action 4 of 6 when replayed"),
        (3, (7, 4), "3 actions led to another observation when replayed"),
        (7, (7,), "0 actions led to another observation when replayed"),
    ],
)
def test_where_a_seed_is_not_repeated_a_new_episode_begins(
    no_starts: None, steps: int, lengths: tuple[int, ...], reason: str, vectorization: str
) -> None:
    first = environments("unseeded:Unseeded-v0", lengths=lengths)
    play(first, steps)
    kept = with_obs(first)
    seeds = first.snapshots[0].seed_number
    second = environments(
        "unseeded:Unseeded-v0", snapshots=kept, vectorization=vectorization, lengths=lengths
    )
    try:
        assert second.not_restored == {0: f"does not repeat its seed: {reason}"}
        assert second.obs[0, 0, 1] == 0
        assert second.snapshots == [EnvSnapshot(seeds + 1, ())]
        play(second, 2)
        assert second.obs[0, 0, 1] == 2
        assert second.snapshots == [EnvSnapshot(seeds + 1, (0, 0))]
    finally:
        second.close()


def test_an_action_that_fails_when_it_is_replayed_is_no_failure(no_starts: None) -> None:
    options: dict[str, Any] = {"lengths": (9,), "raises_at": 5}
    first = environments("unseeded:Unseeded-v0", **options)
    play(first, 6)
    second = environments("unseeded:Unseeded-v0", snapshots=with_obs(first), **options)
    (reason,) = second.not_restored.values()
    assert "does not repeat its seed: action 5 of 6 failed when replayed" in reason
    assert "ValueError: this action is illegal here" in reason
    assert second.obs[0, 0, 1] == 0


def test_only_environments_that_do_not_repeat_their_seeds_begin_anew(no_starts: None) -> None:
    first = environments(envs=2, length=9)
    play(first, 3)
    kept = with_obs(first)
    kept[1] = kept[1]._replace(obs=kept[1].obs + 1)  # type: ignore[operator]
    second = environments(envs=2, length=9, snapshots=kept)
    assert list(second.not_restored) == [1]
    assert second.snapshots == [EnvSnapshot(0, (0, 0, 0)), EnvSnapshot(1, ())]
    assert second.obs.tolist() == [[[0, 3], [1, 0]]]


def test_processes_give_the_same_steps() -> None:
    sync_envs, async_envs = (
        environments("FrozenLake-v1", envs=2, vectorization=kind) for kind in ("sync", "async")
    )
    try:
        np.testing.assert_array_equal(sync_envs.obs, async_envs.obs)
        assert ended_in_lockstep(sync_envs, async_envs, actions(sync_envs, 3, 60)) >= 4
    finally:
        async_envs.close()


def test_an_overwritten_array_is_safe_in_processes_too() -> None:
    masks = [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    sync_envs, async_envs = (
        environments(envs=2, vectorization=kind, length=2, masks=masks)
        for kind in ("sync", "async")
    )
    try:
        assert ended_in_lockstep(sync_envs, async_envs, actions(sync_envs, 3, 9)) == 8
    finally:
        async_envs.close()


def test_members_and_environments_are_leading_axes() -> None:
    config = EnvConfig("CartPole-v1", {}, 2, Vectorization["sync"], PLAIN, MaskSource.auto)
    seed_functions = [[episode_seeds(s, "environment", e) for e in range(2)] for s in range(3)]
    envs = Environments(config, seed_functions, "float64")
    assert envs.obs.shape == (3, 2, 4)
    assert envs.obs.dtype == np.float64
    step = envs.step(np.zeros((3, 2), int))
    assert step.reward.shape == step.ended.shape == (3, 2)
    alone = Environments(config, seed_functions[2:], "float64")
    np.testing.assert_array_equal(alone.step(np.zeros((1, 2), int)).obs[0], step.obs[2])


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_signal_handlers_of_a_child_process_stay_its_own(vectorization: str) -> None:
    receiver, sender = multiprocessing.Pipe()

    def build() -> None:
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        ours = [signal.getsignal(number) for number in numbers]
        environments(envs=2, vectorization=vectorization).close()
        sender.send([signal.getsignal(number) for number in numbers] == ours)

    child = multiprocessing.get_context("fork").Process(target=build)
    child.start()
    assert receiver.poll(20)
    assert receiver.recv()
    child.join()
