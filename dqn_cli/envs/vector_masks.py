"""Masks of legal actions of a vector environment, a row for each copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.arrays import Array
from dqn_cli.envs.masks import KEY, LATE, MaskSource, refuse_nested_mask
from dqn_cli.envs.vector_contract import VectorContract


class VectorMasks:
    """Reads the masks of all copies from a part of observations, or from `info`."""

    def __init__(
        self, contract: VectorContract, space: gymnasium.Space[Any], source: MaskSource
    ) -> None:
        """Find where masks are; `space` is that of one observation.

        Raises:
            ValueError: The observations have no mask, though `source` says so, or with `auto`, one
                that is not read.
        """
        if source is MaskSource.auto:
            refuse_nested_mask(space)
        self._contract, self._source = contract, source
        is_part = isinstance(space, spaces.Dict) and KEY in space.spaces
        if source is MaskSource.observation and not is_part:
            raise ValueError(f"env.mask=observation needs a Dict with a part {KEY}; it is {space}")
        self._is_part = is_part and source in (MaskSource.auto, MaskSource.observation)
        self.space = space  # of an observation without its mask
        if self._is_part:
            assert isinstance(space, spaces.Dict)
            self.space = spaces.Dict({key: part for key, part in space.items() if key != KEY})

    def start(
        self,
        own_obs: Any,
        info: dict[str, Any],
        shape: tuple[int, int],
        join: Callable[[Any], Array],
    ) -> tuple[Array, bool]:
        """Read the first masks, which show which copies have one.

        Args:
            own_obs: The environment's own observations, of its first reset.
            info: `info` of that reset.
            shape: Number of copies and of actions.
            join: Makes masks of all actions from masks of their parts.

        Returns:
            Legal actions [envs, actions], and whether any copy masks its actions.
        """
        self._join = join
        self._all_legal, self._has_mask = np.ones(shape, bool), np.zeros(shape[0], bool)
        if self._is_part:
            self._has_mask[:] = True
        elif self._source in (MaskSource.auto, MaskSource.info):
            self._has_mask = self._is_in(info)
        self._masked = bool(self._has_mask.any())
        return self.read(own_obs, info, np.ones(shape[0], bool)), self._masked

    def read(self, own_obs: Any, info: dict[str, Any], acting: Array) -> Array:
        """Return the legal actions [envs, actions]; all in copies without a mask.

        Copies that are not `acting` [envs] may have no legal action, or no mask at an episode's
        end: all their actions count as legal.
        """
        if not self._masked:
            if self._source is not MaskSource.none and KEY in info:
                raise self._contract.failure(f"{KEY} {LATE}")
            return self._all_legal
        if self._is_part:
            mask = self._checked(own_obs[KEY], len(acting))
        else:
            if (acting & self._has_mask & ~self._is_in(info)).any():
                raise self._contract.failure(f"{KEY} is missing in a step, and was there at reset")
            mask = self._of_info(info)
        self._contract.require_legal(mask, acting)
        return mask | ~(acting | mask.any(1))[:, None]

    def read_final(self, final_obs: Any, final_info: Any, ended: Array, mask: Array) -> Array:
        """Return masks [envs, actions] with the rows of copies that ended replaced.

        Args:
            final_obs: Final observations of the copies that ended alone.
            final_info: Final `info` of all copies; all actions are legal where it has no mask.
            ended: True for copies that ended, [envs].
            mask: The masks of the step, [envs, actions].
        """
        if not self._masked:
            return mask
        if self._is_part:
            rows = self._checked(final_obs[KEY], int(ended.sum()))
        else:
            rows = self._of_info(final_info)[ended]
        final_mask = mask.copy()
        final_mask[ended] = rows | ~rows.any(1, keepdims=True)
        return final_mask

    def _is_in(self, info: Any) -> Array:
        """Return which copies have a mask in `info`, [envs]."""
        if not isinstance(info, dict) or KEY not in info:
            return np.zeros(len(self._all_legal), bool)
        # Gymnasium's own vectors say which copies have an entry.
        flags = info.get(f"_{KEY}", np.ones(len(self._all_legal), bool))
        return self._contract.row(f"_{KEY}", flags, np.dtype(bool))

    def _of_info(self, info: Any) -> Array:
        is_in = self._is_in(info)
        if not is_in.any():
            return self._all_legal
        return self._checked(info[KEY], len(self._all_legal)) | ~is_in[:, None]

    def _checked(self, mask: Any, rows: int) -> Array:
        return self._contract.mask(self._join(mask), rows, self._all_legal.shape[1])
