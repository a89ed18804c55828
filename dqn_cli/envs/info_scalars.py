"""Scalars that an environment reports in `info`, read by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure, shorten

SCALARS = "logged_scalars"  # entry of `info` with the values of an `InfoReader`


class InfoReader(NamedTuple):
    """Reader of scalars; a dot in a name reaches into a nested dict."""

    env_id: str
    names: Sequence[str]

    def __call__(self, info: Mapping[str, Any]) -> Array:
        """Return the values [names]; NaN where `info` has none, or one that is not finite.

        Raises:
            EnvironmentFailure: A value is not a number.
        """
        return np.array([self._scalar(name, _find(info, name)) for name in self.names])

    def _scalar(self, name: str, value: Any) -> float:
        if value is None:
            return np.nan
        try:
            array = np.asarray(value)
            is_number = array.size == 1 and array.dtype.kind in "biuf"
        except ValueError:  # a nested list with rows of different lengths
            is_number = False
        if not is_number:
            raise EnvironmentFailure(
                f"env={self.env_id}: {name} in info is {shorten(value)}; log.info takes single"
                " numbers and bools"
            )
        scalar = float(array.item())
        return scalar if np.isfinite(scalar) else np.nan


def scalars_by_name(names: Sequence[str], scalars: Array) -> dict[str, Array]:
    """Return the values [envs] of each name, from scalars [envs, names]."""
    return {name: scalars[:, column] for column, name in enumerate(names)}


def vector_scalars(reader: InfoReader, info: Mapping[str, Any], ended: Array) -> dict[str, Array]:
    """Return scalars of a vector environment's `info`, [envs] each; NaN where there is none.

    Where an episode `ended` [envs], they are those of `final_info`. Wrappers around a vector add
    theirs to `info` itself, so names that `final_info` does not have are read there.

    Raises:
        EnvironmentFailure: A value is not a number of each copy.
    """
    scalars, final = {}, info.get("final_info")
    for name in reader.names:
        scalars[name] = _rows(reader, info, name, len(ended))
        if final is not None and _find(final, name) is not None:
            of_final = _rows(reader, final, name, len(ended))
            scalars[name] = np.where(ended, of_final, scalars[name])
    return scalars


def _rows(reader: InfoReader, info: Mapping[str, Any], name: str, envs: int) -> Array:
    values = _find(info, name)
    if values is None:
        return np.full(envs, np.nan)
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.shape != (envs,):
        raise EnvironmentFailure(
            f"env={reader.env_id}: {name} in info is {shorten(values)}; log.info takes one number"
            " of each copy"
        )
    is_known = np.isfinite(array)
    for flags in _flags(info, name):
        is_known = is_known & flags
    return np.where(is_known, array, np.nan)  # [envs]


def _flags(info: Mapping[str, Any], name: str) -> list[Any]:
    """Return which copies have a value, in Gymnasium's own vectors also of each dict around it."""
    keys = [name] if name in info else name.split(".")
    flags, level = [], info
    for key in keys:
        flags.append(level.get(f"_{key}"))
        level = level[key]
    return [flag for flag in flags if flag is not None]


def _find(info: Mapping[str, Any], name: str) -> Any:
    """Return the value of a name, or None; a key with a dot comes before a nested dict."""
    if name in info:
        return info[name]
    value: Any = info
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
