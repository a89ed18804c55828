"""Environments in processes of their own, for environments with slow steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.episode_seeds import NOT_RESTORED, SeededEpisodes
from dqn_cli.envs.info_scalars import SCALARS, scalars_by_name
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.processes import process_context
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.envs.worker_pool import WorkerPool
from dqn_cli.envs.worker_process import CallRecord
from dqn_cli.replay.stream import EnvStep

EnvFn = Callable[[], tuple[AnyEnv, Spaces]]
Result = TypeVar("Result")
RESET = None  # the command; all others are actions


class Answer(NamedTuple):
    """Answer of a worker to an action; its observation lies in shared memory."""

    reward: Any
    terminated: Any
    truncated: Any
    info: dict[str, Any]
    final_obs: Array | None = None  # if an episode ended
    reset_info: dict[str, Any] | None = None  # of the next one


class AsyncEnvs(VectorEnvs):
    """A process for each environment."""

    def __init__(
        self,
        env_id: str,
        env_fns: Sequence[EnvFn],
        info_names: Sequence[str] = (),
        timeout: float | None = None,
    ) -> None:
        """Start a process for each of `env_fns`, which return an environment with its spaces.

        None of their code runs in this process. A process that takes longer than `timeout` seconds
        for a call of its environment is a failure.

        Raises:
            EnvironmentFailure: An environment can't be made.
        """
        self._env_id, self._num_envs, self._info_names = env_id, len(env_fns), info_names
        # It ends before the others start: some environments can't have two instances.
        probe = WorkerPool(env_id, [partial(_Probe, env_fns[0])], timeout)
        try:
            ((self.spaces, shape, dtype),) = probe.call([RESET])
        finally:
            probe.close()
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize * len(env_fns)
        memory = process_context().RawArray("b", max(size, 1))
        self._obs = _view(memory, shape, dtype)
        services = [
            partial(_EnvService, env_fn, memory, shape, dtype, row)
            for row, env_fn in enumerate(env_fns)
        ]
        self._pool = WorkerPool(env_id, services, timeout)

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes, as `VectorEnvs.reset` describes."""
        self._actions, self._dtype = actions, dtype
        infos = self._pool.call([RESET] * self._num_envs)
        self._has_mask = [KEY in info for info in infos]
        self._masked = any(self._has_mask)
        self.not_restored = {
            row: info[NOT_RESTORED] for row, info in enumerate(infos) if NOT_RESTORED in info
        }
        return np.array(self._obs, dtype), self._masks(infos), self._masked

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each environment."""
        answers: list[Answer] = self._pool.call(actions)
        reward, terminated, truncated, infos, _, _ = zip(*answers, strict=True)
        ended = [row for row, answer in enumerate(answers) if answer.final_obs is not None]
        obs = np.array(self._obs, self._dtype)
        final_obs, final_mask = obs, self._masks(infos, ended)
        mask = final_mask
        if ended:
            final_obs, mask = obs.copy(), final_mask.copy()
            for row in ended:
                final_obs[row] = answers[row].final_obs
                mask[row] = self._legal_actions(row, answers[row].reset_info or {})
        lost = [
            answer.final_obs is None and answer.info.get("life_lost", False) for answer in answers
        ]
        scalars = [info[SCALARS] for info in infos] if self._info_names else []
        return EnvStep(
            reward=np.array(reward, np.float64),
            terminated=np.array(terminated, bool),
            truncated=np.array(truncated, bool),
            lost=np.array(lost, bool),
            final_obs=final_obs,
            final_mask=final_mask,
            obs=obs,
            mask=mask,
            info=scalars_by_name(self._info_names, np.stack(scalars)) if scalars else {},
        )

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """End every process; one that does not close in so many seconds is killed."""
        self._pool.close(patience)

    def _masks(self, infos: Sequence[dict[str, Any]], ended: Sequence[int] = ()) -> Array:
        """Return the legal actions [envs, actions]; all where an environment gives no mask."""
        if not self._masked and not any(KEY in info for info in infos):
            return np.ones((self._num_envs, self._actions), bool)
        masks = [self._legal_actions(row, info, row in ended) for row, info in enumerate(infos)]
        return np.stack(masks)  # [envs, actions]

    def _legal_actions(self, row: int, info: dict[str, Any], is_last: bool = False) -> Array:
        return legal_actions(info, self._actions, self._env_id, self._has_mask[row], is_last)


class _Probe:
    """The spaces of an environment."""

    def __init__(self, make_env: EnvFn, record: CallRecord) -> None:
        self._env, self._spaces = make_env()

    def handle(self, command: Any) -> tuple[Spaces, tuple[int, ...], np.dtype[Any]]:
        """Return the spaces, and shape and dtype of observations."""
        space = self._env.observation_space
        assert space.shape is not None
        assert space.dtype is not None
        return self._spaces, space.shape, np.dtype(space.dtype)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class _EnvService:
    """An environment in a worker, whose observations go to a row of the shared memory."""

    def __init__(
        self,
        make_env: EnvFn,
        memory: Any,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        row: int,
        record: CallRecord,
    ) -> None:
        self._env, _ = make_env()
        if isinstance(self._env, SeededEpisodes):
            self._env.guard = _Recorded(record)
        self._obs = _view(memory, shape, dtype)[row]

    def handle(self, command: Any) -> Any:
        """Reset, and return the info; or take an action, and return an Answer."""
        if command is RESET:
            self._obs[...], info = self._env.reset()
            return info
        obs, reward, terminated, truncated, info = self._env.step(command)
        if not (terminated or truncated):
            self._obs[...] = obs
            return Answer(reward, terminated, truncated, info)
        self._obs[...], reset_info = self._env.reset()
        return Answer(reward, terminated, truncated, info, obs, reset_info)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class _Recorded(NamedTuple):
    """Calls of an environment, each of which is noted when it begins."""

    record: CallRecord

    def __call__(self, seed: int, step: int, call: Callable[[], Result]) -> Result:
        self.record.begin(seed, step)
        return call()


def _view(memory: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the observations in shared memory, [envs, *shape]."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    envs = len(memory) // max(size, 1)
    return np.frombuffer(memory, dtype, envs * size // dtype.itemsize).reshape(envs, *shape)
