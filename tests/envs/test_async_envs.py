from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from scripted import MadeEnv, Scripted, arrays_of, made

from dqn_cli.envs.async_envs import AsyncEnvs
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.episode_seeds import SeededEpisodes
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.replay.stream import EnvStep
from dqn_cli.runs.signals import GracefulShutdown

FLOAT = np.dtype(np.float32)
MASKS = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]  # an episode may end without a legal action
EnvFn = Callable[[], MadeEnv]
Start = Callable[..., AsyncEnvs]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts environments whose processes end with the test."""
    started: list[AsyncEnvs] = []

    def start_envs(*env_fns: EnvFn) -> AsyncEnvs:
        started.append(AsyncEnvs("Name-v0", env_fns))
        return started[-1]

    yield start_envs
    for envs in started:
        envs.close()


def seeded(length: int = 3, **options: Any) -> MadeEnv:
    """Wraps the environment as a run does; the wrapper copies final observations."""
    return made(SeededEpisodes(Scripted(length, **options), lambda number: number))


def copied(step: EnvStep) -> EnvStep:
    return EnvStep(*(array.copy() for array in arrays_of(step)))


def assert_equal(actual: EnvStep, expected: EnvStep) -> None:
    for value, expected_value in zip(arrays_of(actual), arrays_of(expected), strict=True):
        np.testing.assert_array_equal(value, expected_value)
        assert value.dtype == expected_value.dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize(
    "env_fns",
    [
        (seeded,),
        (partial(seeded, 1), partial(seeded, 2, process=9), partial(seeded, 3)),
        (partial(seeded, 2, truncates=True), partial(seeded, 3)),
        (partial(seeded, 1, masks=MASKS), partial(seeded, 3, masks=MASKS)),
        (partial(seeded, 3, masks=MASKS), partial(seeded, 2)),
        (partial(seeded, 2), partial(seeded, 3, truncates=True, masks=MASKS)),
    ],
)
def test_steps_equal_those_of_sync_envs(
    start: Start, env_fns: tuple[EnvFn, ...], dtype: str
) -> None:
    async_envs, sync_envs = start(*env_fns), SyncEnvs("Name-v0", env_fns)
    assert async_envs.spaces == sync_envs.spaces
    actual, expected = (envs.reset(3, np.dtype(dtype)) for envs in (async_envs, sync_envs))
    assert actual[0].dtype == expected[0].dtype == dtype
    assert actual[1].dtype == expected[1].dtype == bool
    assert actual[0].tolist() == expected[0].tolist()
    assert actual[1].tolist() == expected[1].tolist()
    assert actual[2] == expected[2]
    for _ in range(7):
        actions = [0] * len(env_fns)
        assert_equal(async_envs.step(actions), sync_envs.step(actions))


def test_returned_arrays_are_never_overwritten(start: Start) -> None:
    envs = start(partial(seeded, 2, masks=MASKS), partial(seeded, 1, masks=MASKS))
    obs, mask, _ = envs.reset(3, FLOAT)
    kept_start = obs.copy(), mask.copy()
    steps = []
    for _ in range(5):
        step = envs.step([0, 0])
        steps.append((step, copied(step)))
    for step, kept in steps:
        assert_equal(step, kept)
    np.testing.assert_array_equal(obs, kept_start[0])
    np.testing.assert_array_equal(mask, kept_start[1])


def test_the_final_observation_is_the_next_one_unless_an_episode_ended(start: Start) -> None:
    envs = start(partial(seeded, 2))
    envs.reset(3, FLOAT)
    step = envs.step([0])
    assert step.final_obs is step.obs
    assert step.final_mask is step.mask
    last = envs.step([0])
    assert last.final_obs is not last.obs


class InProcess(Scripted):
    """Observes its process; rewards are the actions."""

    def __init__(self) -> None:
        super().__init__(length=9, process=os.getpid())

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, _, *rest = super().step(action)
        return obs, float(action), *rest  # type: ignore[return-value]


def in_process() -> MadeEnv:
    return made(InProcess())


def test_each_environment_has_a_process_and_gets_its_own_action(start: Start) -> None:
    envs = start(*[in_process] * 3)
    obs, _, _ = envs.reset(3, np.dtype(np.float64))
    processes = obs[:, 2].astype(int).tolist()
    assert len({os.getpid(), *processes}) == 4
    for actions in ([0, 1, 2], [2, 2, 1]):
        assert envs.step(actions).reward.tolist() == actions


def test_closing_ends_every_process() -> None:
    before = set(multiprocessing.active_children())
    envs = AsyncEnvs("Name-v0", [seeded, seeded])
    envs.reset(3, FLOAT)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    envs.close()
    assert not any(process.is_alive() for process in started)


def test_a_mask_of_another_size_is_an_error(start: Start) -> None:
    envs = start(partial(seeded, masks=[[1, 0]]))
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        envs.reset(3, FLOAT)


class Broken(Scripted):
    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        raise OSError("the simulator is gone")


def test_an_exception_in_an_environment_reaches_the_run(start: Start) -> None:
    envs = start(seeded, lambda: made(Broken()))
    envs.reset(3, FLOAT)
    message = r"^env=Name-v0: worker 1 raised OSError: the simulator is gone \(.*test_async"
    with pytest.raises(EnvironmentFailure, match=message):
        envs.step([0, 0])


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class HandlerObserver(Scripted):
    """Observes its signal handlers and its process.

    Handlers are the sum of 1 if Ctrl-C is ignored and 2 if SIGTERM has its default.
    """

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(**options)
        ignores_sigint = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        default_sigterm = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        obs[1:] = ignores_sigint + 2 * default_sigterm, os.getpid()
        return obs, info


def observed_handlers() -> tuple[list[int], list[int], bool]:
    """Returns the handlers and processes of two environments, and whether ours stayed the same."""
    with GracefulShutdown():
        before = [signal.getsignal(number) for number in SIGNALS]
        envs = AsyncEnvs("Name-v0", [lambda: made(HandlerObserver())] * 2)
        obs, _, _ = envs.reset(3, np.dtype(np.float64))
        envs.close()
        same = before == [signal.getsignal(number) for number in SIGNALS]
    return obs[:, 1].tolist(), obs[:, 2].tolist(), same


def test_building_leaves_the_handlers_of_this_process_alone() -> None:
    handlers, processes, same = observed_handlers()
    assert same
    assert handlers == [3, 3]
    assert os.getpid() not in processes


def test_building_in_a_child_process_leaves_its_handlers_alone_too() -> None:
    receiver, sender = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sender.send(observed_handlers())
    )
    child.start()
    assert receiver.poll(20)
    handlers, processes, same = receiver.recv()
    child.join()
    assert same
    assert handlers == [3, 3]
    assert child.pid not in processes


def test_ctrl_c_does_not_end_environments(start: Start) -> None:
    envs = start(in_process, in_process)
    obs, _, _ = envs.reset(3, np.dtype(np.float64))
    for process in obs[:, 2].astype(int).tolist():
        os.kill(process, signal.SIGINT)
    assert envs.step([1, 2]).reward.tolist() == [1, 2]
    assert envs.step([2, 0]).reward.tolist() == [2, 0]
