"""What a run has shown so far: episodes, losses, evaluations and how long it took."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.clock import Clock
from dqn_cli.runs.stopwatch import ACTIVITIES, Stopwatch
from dqn_cli.training.loop import StepReport
from dqn_cli.training.population import Metrics

TAGS = {"q": "q_mean"}  # of metrics that are not called as they are in the code
FPS = "time/fps"
RECENT = 100  # episodes that a rolling mean covers, as in Stable-Baselines3


class MetricsTracker:
    """Consumes reports; rows of one member's metrics come out, named as Stable-Baselines3's are."""

    def __init__(self, envs: int, stopwatch: Stopwatch, sums: Tensor, member: int = 0) -> None:
        """`sums` [len(Metrics)] are where the learner adds up what the member's updates see."""
        self.best: dict[str, Any] | None = None
        self.final: dict[str, Any] | None = None
        self.evaluated = -1  # the step of the latest evaluation
        self._stopwatch, self._member = stopwatch, member
        self._earlier = dict.fromkeys(ACTIVITIES, 0.0)  # seconds, in sessions before this one
        self._return, self._length = [0.0] * envs, [0] * envs  # of the running episodes
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._lengths: deque[int] = deque(maxlen=RECENT)
        self.sums, self._updates = sums, 0
        self._mark = (0.0, 0)  # seconds trained and steps taken when the last row was made

    def see(self, rewards: list[float], ended: list[bool], updates: int) -> None:
        """Takes in one step of the member's environments, which so many updates followed."""
        for env, reward in enumerate(rewards):
            self._return[env] += reward
            self._length[env] += 1
            if ended[env]:
                self._returns.append(self._return[env])
                self._lengths.append(self._length[env])
                self._return[env], self._length[env] = 0.0, 0
        self._updates += updates

    @property
    def seconds(self) -> dict[str, float]:
        """How long each activity took so far."""
        spent = self._stopwatch.seconds
        return {activity: spent[activity] + self._earlier[activity] for activity in ACTIVITIES}

    def row(self, report: StepReport, learning_rate: float) -> dict[str, float]:
        """Metrics since the last row, by TensorBoard tag; what has not happened yet is left out."""
        now = report.now[self._member]
        row = {
            "rollout/exploration_rate": float(report.epsilon[self._member].mean()),
            "train/learning_rate": learning_rate,
            "train/n_updates": float(now.updates),
            "time/episodes": float(now.episodes),
            FPS: self._steps_per_second(now),
        }
        if self._returns:
            row["rollout/ep_rew_mean"] = float(np.mean(self._returns))
            row["rollout/ep_len_mean"] = float(np.mean(self._lengths))
        if self._updates:
            means = dict(zip(Metrics._fields, (self.sums / self._updates).tolist(), strict=True))
            if not means["edge_mass"]:  # only distributions on fixed atoms have edges
                del means["edge_mass"]
            row |= {f"train/{TAGS.get(name, name)}": mean for name, mean in means.items()}
            self.sums.zero_()
            self._updates = 0
        return row

    def state(self) -> dict[str, Any]:
        """Everything as plain numbers, for a checkpoint."""
        return {
            "best": self.best,
            "evaluated": self.evaluated,
            "seconds": self.seconds,
            "return": list(self._return),
            "length": list(self._length),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "sums": self.sums.tolist(),
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any], now: Clock) -> None:
        """Goes on from a `state()`."""
        self.best, self.evaluated = state["best"], state["evaluated"]
        self._earlier = dict(state["seconds"])
        self._return, self._length = list(state["return"]), list(state["length"])
        self._returns.extend(state["returns"])
        self._lengths.extend(state["lengths"])
        self.sums[:] = torch.tensor(state["sums"], dtype=torch.float64)
        self._updates = state["updates"]
        self._mark = (self.seconds["train"], now.steps)

    def _steps_per_second(self, now: Clock) -> float:
        self._stopwatch.lap("train")
        trained = self.seconds["train"]
        then, steps = self._mark
        self._mark = (trained, now.steps)
        return (now.steps - steps) / max(trained - then, 1e-9)
