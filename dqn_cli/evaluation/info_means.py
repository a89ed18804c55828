"""Means of the scalars that an environment reports in `info`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from dqn_cli.arrays import Array

InfoSummary = Mapping[str, Mapping[str, float | None]]  # {NAME: {"mean": ..., "at_end": ...}}


class InfoMeans:
    """Means over the steps that had a scalar, and over the last steps of episodes."""

    def __init__(self, names: Sequence[str] = (), recent: int | None = None) -> None:
        """Keep the values at the ends of the `recent` latest episodes, or of all."""
        self.absent = dict.fromkeys(names)  # names without any value so far, in order
        self._sums, self._counts = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
        self._at_end = {name: deque[float](maxlen=recent) for name in names}

    def record(self, info: Mapping[str, Array], ended: Sequence[bool]) -> None:
        """Record one step.

        Args:
            info: Values [envs] by name; NaN where there is none.
            ended: True for each environment whose episode ended.
        """
        for name, values in info.items():
            for value, is_last in zip(values.tolist(), ended, strict=True):
                if math.isnan(value):
                    continue
                self.absent.pop(name, None)
                self._sums[name] += value
                self._counts[name] += 1
                if is_last:
                    self._at_end[name].append(value)

    def summary(self) -> InfoSummary:
        """Return the mean over steps and at episodes' ends of each name; None without a value."""
        return {
            name: {
                "mean": _mean(self._sums[name], self._counts[name]),
                "at_end": _mean(sum(values), len(values)),
            }
            for name, values in self._at_end.items()
        }

    def restart(self) -> None:
        """Begin new means over steps; the latest episodes stay."""
        self._sums = dict.fromkeys(self._sums, 0.0)
        self._counts = dict.fromkeys(self._counts, 0)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as plain numbers by name."""
        return {
            name: {
                "sum": self._sums[name],
                "count": self._counts[name],
                "at_end": list(values),
                "absent": name in self.absent,
            }
            for name, values in self._at_end.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state()` returned, for the names that are still logged."""
        for name in self._at_end.keys() & state.keys():
            self._sums[name], self._counts[name] = state[name]["sum"], state[name]["count"]
            self._at_end[name].extend(state[name]["at_end"])
            if not state[name]["absent"]:
                self.absent.pop(name, None)


def info_metrics(prefix: str, summary: InfoSummary) -> dict[str, float]:
    """Return the means of a summary by TensorBoard tag."""
    metrics = {}
    for name, means in summary.items():
        for suffix, value in (("", means["mean"]), ("_at_end", means["at_end"])):
            if value is not None:
                metrics[f"{prefix}info/{name}{suffix}"] = value
    return metrics


def _mean(total: float, count: int) -> float | None:
    # A sum of finite values may overflow, and JSON has no infinity.
    return total / count if count and math.isfinite(total) else None
