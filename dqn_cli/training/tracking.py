"""What a run has shown so far: episodes, losses, evaluations and where its time went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.clock import Clock
from dqn_cli.arrays import Array
from dqn_cli.training.loop import Tick
from dqn_cli.training.population import Metrics

TAGS = {"q": "q_mean"}  # of metrics that are not called as they are in the code
MANY = 1000  # updates whose metrics are summed at once
RECENT = 100  # episodes that a rolling mean covers, as in Stable-Baselines3


class Tracker:
    """Consumes ticks; rows of metrics come out, named as Stable-Baselines3 names them."""

    def __init__(self, envs: int) -> None:
        self.best: dict[str, Any] | None = None
        self.final: dict[str, Any] | None = None
        self.seconds = {"start": 0.0, "train": 0.0, "eval": 0.0, "compile": 0.0}
        self._lap = time.perf_counter()
        self._return, self._length = np.zeros(envs), np.zeros(envs)
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._lengths: deque[float] = deque(maxlen=RECENT)
        self._sums = torch.zeros(len(Metrics._fields), dtype=torch.float64)
        self._updates = 0
        self._metrics: list[Tensor] = []  # of updates that are not summed up yet
        self._mark = (0.0, 0)  # seconds trained and steps taken when the last row was made

    def see(self, tick: Tick) -> None:
        """Takes in one step of the environments."""
        step = tick.step
        for env in range(step.reward.shape[1]):
            self._return[env] += step.reward[0, env]
            self._length[env] += 1
            if step.terminated[0, env] or step.truncated[0, env]:
                self._returns.append(float(self._return[env]))
                self._lengths.append(float(self._length[env]))
                self._return[env] = self._length[env] = 0
        self._metrics += tick.metrics
        if len(self._metrics) >= MANY:
            self._sum_up()

    def row(self, now: Clock, epsilon: float | Array, learning_rate: float) -> dict[str, float]:
        """Metrics since the last row, by TensorBoard tag; what has not happened yet is left out."""
        row = {
            "rollout/exploration_rate": float(np.mean(epsilon)),
            "train/learning_rate": learning_rate,
            "train/n_updates": float(now.updates),
            "time/episodes": float(now.episodes),
            "time/fps": self._steps_per_second(now),
        }
        if self._returns:
            row["rollout/ep_rew_mean"] = float(np.mean(self._returns))
            row["rollout/ep_len_mean"] = float(np.mean(self._lengths))
        self._sum_up()
        if self._updates:
            means = dict(zip(Metrics._fields, (self._sums / self._updates).tolist(), strict=True))
            if not means["edge_mass"]:  # only distributions on fixed atoms have edges
                del means["edge_mass"]
            row |= {f"train/{TAGS.get(name, name)}": mean for name, mean in means.items()}
            self._sums.zero_()
            self._updates = 0
        return row

    def lap(self, what: str) -> None:
        """Books the time since the last lap under `what`: start, train, eval or compile."""
        now = time.perf_counter()
        self.seconds[what] += now - self._lap
        self._lap = now

    @contextmanager
    def booked(self, what: str) -> Iterator[None]:
        """Books what happens inside under `what`, and the time before it as training."""
        self.lap("train")
        yield
        self.lap(what)

    def state(self) -> dict[str, Any]:
        """Everything as plain numbers, for a checkpoint."""
        self._sum_up()
        return {
            "best": self.best,
            "seconds": self.seconds,
            "return": self._return.tolist(),
            "length": self._length.tolist(),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "sums": self._sums.tolist(),
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any], now: Clock) -> None:
        """Goes on from a `state()`."""
        self.best = state["best"]
        self.seconds = {what: self.seconds[what] + state["seconds"][what] for what in self.seconds}
        self._return[:], self._length[:] = state["return"], state["length"]
        self._returns.extend(state["returns"])
        self._lengths.extend(state["lengths"])
        self._sums[:] = torch.tensor(state["sums"], dtype=torch.float64)
        self._updates = state["updates"]
        self._mark = (self.seconds["train"], now.steps)

    def _sum_up(self) -> None:
        if self._metrics:
            self._sums += torch.stack(self._metrics)[..., 0].sum(0, dtype=torch.float64).cpu()
            self._updates += len(self._metrics)
            self._metrics = []

    def _steps_per_second(self, now: Clock) -> float:
        self.lap("train")
        then, steps = self._mark
        self._mark = (self.seconds["train"], now.steps)
        return (now.steps - steps) / max(self.seconds["train"] - then, 1e-9)
