"""The contract of a vector environment: what its `reset` and `step` must return, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import RESET, STEP, EnvironmentFailure, describe_error, misfit, shorten
from dqn_cli.envs.make_vector import AnyVector
from dqn_cli.envs.masks import is_binary
from dqn_cli.envs.processes import describe_end
from dqn_cli.envs.time_limits import TimedCalls
from dqn_cli.envs.vector_spaces import take_rows
from dqn_cli.interrupts import is_ours


class VectorResult(NamedTuple):
    """Result of a step of all copies, as the environment returned it."""

    obs: Any  # a batch of the environment's own observations
    reward: Array  # [envs], as are the two below
    terminated: Array
    truncated: Array
    info: dict[str, Any]


class VectorContract:
    """Calls a vector environment, checks what it returns, and reports what its code raises."""

    def __init__(
        self,
        vector: AnyVector,
        env_id: str,
        timeout: float | None = None,
        processes: Sequence[BaseProcess] = (),
    ) -> None:
        """Wrap a vector environment.

        Args:
            vector: The vector environment.
            env_id: Its name, for messages.
            timeout: Seconds that a call may take; None for no limit.
            processes: Those that it has started, for messages about their ends.
        """
        self._vector, self._env_id, self._processes = vector, env_id, processes
        self._calls = TimedCalls(env_id, timeout)
        self._steps = 0
        self._seed: int | None = None
        space = vector.observation_space
        self._dtype = space.dtype if isinstance(space, spaces.Box) else None
        self._shape = space.shape

    def reset(self, seed: int | None, rows: Array | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all copies, or in some rows [envs] only."""
        if rows is None:
            self._seed = seed
        options = None if rows is None else {"reset_mask": rows}
        result = self._called("reset", lambda: self._vector.reset(seed=seed, options=options))
        if not (isinstance(result, tuple) and len(result) == 2):
            raise self.failure(f"reset returned {shorten(result)}, not {RESET}")
        self._check(*result)
        return result

    def step(self, actions: Any) -> VectorResult:
        """Take a batch of actions."""
        self._steps += 1
        result = self._called("step", lambda: self._vector.step(actions))
        if not (isinstance(result, tuple) and len(result) == 5):
            count = f"{len(result)} values" if isinstance(result, tuple) else shorten(result)
            raise self.failure(f"step returned {count}, not {STEP}")
        obs, reward, terminated, truncated, info = result
        self._check(obs, info)
        return VectorResult(
            obs,
            self.row("the reward", reward, np.dtype(float)),
            self.row("terminated", terminated, np.dtype(bool)),
            self.row("truncated", truncated, np.dtype(bool)),
            info,
        )

    def final_obs(self, info: dict[str, Any], ended: Array) -> Any:
        """Return the batch of final observations of the copies that `ended`, [envs]."""
        if "final_obs" not in info:
            raise self.failure(
                "info has no final_obs, which a vector with AutoresetMode.SAME_STEP must give"
                " where an episode ended"
            )
        final, space = info["final_obs"], self._vector.single_observation_space
        if not (isinstance(final, np.ndarray) and final.dtype == object):
            if reason := misfit(self._vector.observation_space, final):
                raise self.failure(f"final_obs {reason}, or an array of objects")
            return take_rows(final, ended)
        # Gymnasium's own vectors give an array of objects.
        rows = {row: final[row] for row in np.flatnonzero(ended).tolist()}
        for row, observation in rows.items():
            if reason := misfit(space, observation):
                raise self.failure(f"the final observation of copy {row} {reason}")
        batch: Any = create_empty_array(space, len(rows))
        return concatenate(space, list(rows.values()), batch)

    def row(self, name: str, values: Any, dtype: np.dtype[Any]) -> Array:
        """Return one number of each copy, [envs]."""
        try:
            row = np.array(values, dtype)
        except (TypeError, ValueError):
            row = np.zeros(())
        if row.shape != (self._vector.num_envs,):
            raise self.failure(
                f"{name} is {shorten(values)}; it must be one value for each of the"
                f" {self._vector.num_envs} copies"
            )
        return row

    def mask(self, value: Any, rows: int, actions: int) -> Array:
        """Return a mask of legal actions as booleans, [rows, actions]."""
        mask = np.asarray(value)
        if mask.shape != (rows, actions):
            raise self.failure(
                f"action_mask has shape {list(mask.shape)}; it must be [copies, actions],"
                f" {[rows, actions]}"
            )
        if not is_binary(mask):
            raise self.failure(f"action_mask is {shorten(value)}; it must hold 0 and 1 only")
        return mask.astype(bool)

    def require_legal(self, mask: Array, acting: Array) -> None:
        """Check that copies which are `acting` [envs] have a legal action in `mask`."""
        blocked = acting & ~mask.any(1)
        if blocked.any():
            raise self.failure(
                f"action_mask allows no action in copy {int(blocked.argmax())}; one at least must"
                " be legal"
            )

    def failure(self, what: str) -> EnvironmentFailure:
        """Return a failure that names the environment, the step and the seed."""
        return EnvironmentFailure(f"env={self._env_id}: {what} ({self._place})")

    @property
    def _place(self) -> str:
        where = f"in step {self._steps}" if self._steps else "in reset"
        return f"{where} of the vector with seed {self._seed}"

    def _called(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return self._calls.limited(call, self._place)
        except EnvironmentFailure:  # its time was up
            raise
        except BaseException as error:  # the user's code may even raise SystemExit
            if is_ours(error):
                raise
            what = f"{name} raised {describe_error(error)}{self._end_of_process(error)}"
            raise self.failure(what) from error

    def _end_of_process(self, error: BaseException) -> str:
        """Return what became of a process whose connection is closed."""
        if not (isinstance(error, (EOFError, OSError)) and self._processes):
            return ""
        ended = wait([process.sentinel for process in self._processes], 1)
        for process in self._processes:
            if process.sentinel in ended:
                process.join(1)
                return f": its process {describe_end(process.exitcode)}"
        return ""

    def _check(self, obs: Any, info: Any) -> None:
        if not isinstance(info, dict):
            raise self.failure(f"info is {shorten(info)}; it must be a dict, if only an empty one")
        is_array = type(obs) is np.ndarray and obs.dtype is self._dtype
        if is_array and obs.shape == self._shape:
            return
        if reason := misfit(self._vector.observation_space, obs):
            raise self.failure(f"the batch of observations {reason}")
