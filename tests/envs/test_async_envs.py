from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from scripted import Scripted

from dqn_cli.envs.async_envs import AsyncEnvs
from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.envs.episode_seeds import SeededEpisodes
from dqn_cli.envs.space_adapter import AnyEnv
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.replay.stream import EnvStep
from dqn_cli.runs.signals import Interruption

FLOAT = np.dtype(np.float32)
MASKS = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]]
Maker = Callable[[], AnyEnv]
Start = Callable[..., AsyncEnvs]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, which end with the test."""
    started: list[AsyncEnvs] = []

    def processes(*makers: Maker) -> AsyncEnvs:
        started.append(AsyncEnvs("Name-v0", makers))
        return started[-1]

    yield processes
    for each in started:
        each.close()


def seeded(length: int = 3, **options: Any) -> AnyEnv:
    """As in a run, where this wrapper keeps last observations from being overwritten."""
    return SeededEpisodes(Scripted(length, **options), lambda episode: episode)


def copied(step: EnvStep) -> EnvStep:
    return EnvStep(*(array.copy() for array in step))


def equal(one: EnvStep, other: EnvStep) -> None:
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)
        assert mine.dtype == yours.dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize(
    "makers",
    [
        (seeded,),
        (partial(seeded, 1), partial(seeded, 2, process=9), partial(seeded, 3)),
        (partial(seeded, 2, truncates=True), partial(seeded, 3)),
        (partial(seeded, 1, masks=MASKS), partial(seeded, 3, masks=MASKS)),
        (partial(seeded, 3, masks=MASKS), partial(seeded, 2)),
        (partial(seeded, 2), partial(seeded, 3, truncates=True, masks=MASKS)),
    ],
)
def test_answers_are_those_of_environments_in_series(
    start: Start, makers: tuple[Maker, ...], dtype: str
) -> None:
    apart, together = start(*makers), SyncEnvs("Name-v0", makers)
    assert apart.observation_space == together.observation_space
    mine, yours = (each.reset(3, np.dtype(dtype)) for each in (apart, together))
    assert mine[0].dtype == yours[0].dtype == dtype
    assert mine[1].dtype == yours[1].dtype == bool
    assert mine[0].tolist() == yours[0].tolist()
    assert mine[1].tolist() == yours[1].tolist()
    assert mine[2] == yours[2]
    for _ in range(7):
        actions = [0] * len(makers)
        equal(apart.step(actions), together.step(actions))


def test_answers_stay_as_they_were(start: Start) -> None:
    envs = start(partial(seeded, 2, masks=MASKS), partial(seeded, 1, masks=MASKS))
    obs, mask, _ = envs.reset(3, FLOAT)
    kept_start = obs.copy(), mask.copy()
    steps = []
    for _ in range(5):
        step = envs.step([0, 0])
        steps.append((step, copied(step)))
    for step, kept in steps:
        equal(step, kept)
    np.testing.assert_array_equal(obs, kept_start[0])
    np.testing.assert_array_equal(mask, kept_start[1])


def test_where_nothing_ended_the_final_observation_is_the_next_one(start: Start) -> None:
    envs = start(partial(seeded, 2))
    envs.reset(3, FLOAT)
    step = envs.step([0])
    assert step.final_obs is step.obs
    assert step.final_mask is step.mask
    last = envs.step([0])
    assert last.final_obs is not last.obs


class InProcess(Scripted):
    """Observes the process that it is in, and is paid its actions."""

    def __init__(self) -> None:
        super().__init__(length=9, process=os.getpid())

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, _, *rest = super().step(action)
        return obs, float(action), *rest  # type: ignore[return-value]


def test_each_environment_has_a_process_and_gets_its_own_action(start: Start) -> None:
    envs = start(InProcess, InProcess, InProcess)
    obs, _, _ = envs.reset(3, np.dtype(np.float64))
    processes = obs[:, 2].astype(int).tolist()
    assert len({os.getpid(), *processes}) == 4
    for actions in ([0, 1, 2], [2, 2, 1]):
        assert envs.step(actions).reward.tolist() == actions


def test_closing_ends_every_process() -> None:
    before = set(multiprocessing.active_children())
    envs = AsyncEnvs("Name-v0", [seeded, seeded])
    envs.reset(3, FLOAT)
    own = set(multiprocessing.active_children()) - before
    assert len(own) == 2
    envs.close()
    assert not any(process.is_alive() for process in own)


def test_a_mask_of_another_size_is_refused(start: Start) -> None:
    envs = start(partial(seeded, masks=[[1, 0]]))
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        envs.reset(3, FLOAT)


class Broken(Scripted):
    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        raise OSError("the simulator is gone")


@pytest.mark.filterwarnings("ignore::UserWarning")  # where the worker says it too
def test_what_an_environment_raises_reaches_the_run(start: Start) -> None:
    envs = start(Broken, Scripted)
    envs.reset(3, FLOAT)
    with pytest.raises(OSError, match="the simulator is gone"):
        envs.step([0, 0])


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Watching(Scripted):
    """Observes its process, and its handlers: 1 where it ignores Ctrl-C, 2 where SIGTERM ends it.

    They add up to 3.
    """

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(**options)
        deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        mortal = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        obs[1:] = deaf + 2 * mortal, os.getpid()
        return obs, info


def watched() -> tuple[list[int], list[int], bool]:
    """Builds two: what each knows of its handlers, their processes, and if ours stayed."""
    with Interruption():
        before = [signal.getsignal(number) for number in SIGNALS]
        envs = AsyncEnvs("Name-v0", [Watching, Watching])
        obs, _, _ = envs.reset(3, np.dtype(np.float64))
        envs.close()
        same = before == [signal.getsignal(number) for number in SIGNALS]
    return obs[:, 1].tolist(), obs[:, 2].tolist(), same


def test_building_leaves_the_handlers_of_this_process_alone() -> None:
    handlers, processes, same = watched()
    assert same
    assert handlers == [3, 3]
    assert os.getpid() not in processes


def test_a_process_that_has_a_parent_keeps_its_handlers_too() -> None:
    mine, yours = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: yours.send(watched()))
    child.start()
    assert mine.poll(20)
    handlers, processes, same = mine.recv()
    child.join()
    assert same
    assert handlers == [3, 3]
    assert child.pid not in processes


def test_ctrl_c_leaves_environments_to_the_run(start: Start) -> None:
    envs = start(InProcess, InProcess)
    obs, _, _ = envs.reset(3, np.dtype(np.float64))
    for process in obs[:, 2].astype(int).tolist():
        os.kill(process, signal.SIGINT)
    assert envs.step([1, 2]).reward.tolist() == [1, 2]
    assert envs.step([2, 0]).reward.tolist() == [2, 0]
