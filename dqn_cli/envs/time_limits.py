"""The time limit of an environment in the process of the run, and its end in any case."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from dqn_cli.envs.contract import EnvironmentFailure, describe_error, describe_place, warn_once
from dqn_cli.interrupts import TimeIsUp, is_ours, time_limit

CLOSE_SECONDS = 3.0  # that environments may take to close
LEAST_SECONDS = 0.05  # that each one gets
MAKING = "while it was made"
Result = TypeVar("Result")


class TimedCalls(NamedTuple):
    """Makes calls of an environment, each of which may take `seconds`; None for no limit."""

    env_id: str
    seconds: float | None

    def __call__(self, seed: int, step: int, call: Callable[[], Result]) -> Result:
        """Return the result of a step, or of the reset (step 0), of the episode with this seed.

        Raises:
            EnvironmentFailure: It takes too long.
        """
        return self.limited(call, describe_place(step, seed))

    def limited(self, call: Callable[[], Result], place: str) -> Result:
        """Return the result of any call; the `place` says in words what it does.

        Raises:
            EnvironmentFailure: It takes too long.
        """
        if self.seconds is None:
            return call()
        hang = f"env={self.env_id}: did not answer in {self.seconds:g} s (env.timeout)"
        try:
            with time_limit(self.seconds, f"{hang}, and swallows every exception ({place})"):
                return call()
        except TimeIsUp as error:
            raise EnvironmentFailure(f"{hang} {_line_of(error)} ({place})") from error


def close_all(
    closes: Sequence[Callable[[], object]], env_id: str, patience: float = CLOSE_SECONDS
) -> None:
    """Close environments, in `patience` seconds together; one that does not gets a warning."""
    deadline = time.monotonic() + patience
    for close in closes:
        try:
            with time_limit(max(deadline - time.monotonic(), LEAST_SECONDS)):
                close()
        except TimeIsUp:
            warn_once(f"env={env_id}: it did not close in {patience:g} s")
        except BaseException as error:  # it may even raise SystemExit
            if is_ours(error):
                raise
            warn_once(f"env={env_id}: close raised {describe_error(error)}")


def _line_of(error: BaseException) -> str:
    """Return the line of the code whose time was up."""
    frames = traceback.extract_tb(error.__traceback__)[:-1]  # without the handler of the alarm
    own = [frame for frame in frames if "gymnasium" not in Path(frame.filename).parts]
    return f"({own[-1].filename}:{own[-1].lineno})" if own else ""
