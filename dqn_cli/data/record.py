"""Recording of episodes, in a file that `data=` reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.data.columns import (
    ACTIONS,
    LIVES_LOST,
    MASKS,
    NEXT_MASKS,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINATIONS,
    TRUNCATIONS,
    DataError,
)
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.space_adapter import restore_space
from dqn_cli.replay.stream import EnvStep
from dqn_cli.storage import write_atomically

SUFFIX = ".npz"
COLUMNS = tuple(
    names[0]
    for names in (
        OBSERVATIONS,
        ACTIONS,
        REWARDS,
        TERMINATIONS,
        TRUNCATIONS,
        LIVES_LOST,
        NEXT_OBSERVATIONS,
        MASKS,
        NEXT_MASKS,
    )
)


class Row(NamedTuple):
    """One transition; the fields are those of COLUMNS, in this order."""

    obs: Array
    action: int
    reward: float
    terminated: bool
    truncated: bool
    lost: bool
    next_obs: Array
    mask: Array
    next_mask: Array


class Recording:
    """Episodes as they happen, and the file that they are written to.

    Observations are recorded as a run stores them: after its preprocessing, encoded, and of stacked
    frames only the newest. Actions are the environment's own.
    """

    def __init__(self, spaces: Spaces, masked: bool) -> None:
        self._spaces, self.masked = spaces, masked
        self._episodes: dict[int, list[Row]] = {}
        self.file: Path | None = None  # that they were written to

    def add(self, episode: int, row: Row) -> None:
        """Record a transition of an episode."""
        if self._spaces.frames:
            row = row._replace(obs=row.obs[-1], next_obs=row.next_obs[-1])
        self._episodes.setdefault(episode, []).append(row)

    def add_step(
        self, episodes: Array, obs: Array, mask: Array, action: Array, step: EnvStep
    ) -> None:
        """Record a step of several environments.

        Args:
            episodes: The episode that each environment plays, [envs]; negative for none.
            obs: Observations that were acted on, [envs, *shape].
            mask: Legal actions there, [envs, actions].
            action: The actions, [envs].
            step: Their result, with leading axes [1, envs].
        """
        for env, episode in enumerate(episodes.tolist()):
            if episode >= 0:
                row = Row(
                    obs[env],
                    int(action[env]),
                    float(step.reward[0, env]),
                    bool(step.terminated[0, env]),
                    bool(step.truncated[0, env]),
                    bool(step.lost[0, env]),
                    step.final_obs[0, env],
                    mask[env],
                    step.final_mask[0, env],
                )
                self.add(episode, row)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    @property
    def returns(self) -> list[float]:
        """Undiscounted return of each episode."""
        return [sum(row.reward for row in self._episodes[number]) for number in self._numbers]

    @property
    def rows(self) -> int:
        """Number of transitions."""
        return sum(map(len, self._episodes.values()))

    def end(self) -> None:
        """Mark the last row of each episode that is still running as truncated."""
        for rows in self._episodes.values():
            if not (rows[-1].terminated or rows[-1].truncated):
                rows[-1] = rows[-1]._replace(truncated=True)

    def write(self, file: Path) -> None:
        """Write all episodes, in the order of their numbers, as a whole or not at all.

        The name gets a number if another command took it in the meantime; see `file`.
        """
        columns: dict[str, Any] = dict(zip(COLUMNS, self._columns(), strict=True))
        if not self.masked:
            del columns[MASKS[0]], columns[NEXT_MASKS[0]]
        names = (file.with_stem(f"{file.stem}_{number}") for number in count(2))
        self.file = file if not file.exists() else next(x for x in names if not x.exists())
        write_atomically(self.file, lambda stream: np.savez_compressed(stream, **columns))

    def _columns(self) -> Iterator[Array]:
        fields = zip(
            *(row for number in self._numbers for row in self._episodes[number]), strict=True
        )
        for name, values in zip(Row._fields, fields, strict=True):
            column = np.array(values)  # [rows, ...]
            yield self._own_actions(column) if name == "action" else column

    def _own_actions(self, actions: Array) -> Array:
        """Return the environment's own actions, as one number or those of their parts."""
        if self._spaces.own_actions is None:
            return actions
        numbers = ActionDecoder(restore_space(self._spaces.own_actions)).numbers(actions)
        return numbers[:, 0] if numbers.shape[1] == 1 else numbers

    @property
    def _numbers(self) -> list[int]:
        return sorted(self._episodes)


def check_new_file(file: Path) -> None:
    """Check that a recording can be written to a file.

    Raises:
        DataError: It exists, has another suffix, or no folder.
    """
    if file.suffix != SUFFIX:
        raise DataError(f"record={file} must be the name of an {SUFFIX} file")
    if file.exists():
        raise DataError(f"record={file} exists, and is not overwritten: choose another name")
    if not file.absolute().parent.is_dir():
        raise DataError(f"record={file}: there is no folder {file.parent}")
