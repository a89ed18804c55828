"""Metrics of a run: returns and lengths of episodes, training metrics, speed and times."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Metrics
from dqn_cli.agent.clock import Clock
from dqn_cli.replay.batches import observations
from dqn_cli.runs.stopwatch import ACTIVITIES, Stopwatch
from dqn_cli.training.loop import Run, StepReport

FPS = "time/fps"
DORMANCY_SAMPLE = 256  # observations that dormant units are counted on
RECENT = 100  # episodes in the rolling means, as in Stable-Baselines3


class MetricsTracker:
    """Metrics of one member, with the tags of Stable-Baselines3."""

    def __init__(self, envs: int, stopwatch: Stopwatch, sums: Tensor, member: int = 0) -> None:
        """Track one member; the learner adds its updates' metrics to `sums` [len(Metrics)]."""
        self.best: dict[str, Any] | None = None
        self.final: dict[str, Any] | None = None
        self.evaluated_at = -1  # the step of the latest evaluation
        self._stopwatch, self._member = stopwatch, member
        self._earlier_seconds = dict.fromkeys(ACTIVITIES, 0.0)  # of earlier sessions
        self._return, self._length = [0.0] * envs, [0] * envs  # of running episodes
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._lengths: deque[int] = deque(maxlen=RECENT)
        self.sums, self._updates = sums, 0
        self._last_speed = (0.0, 0)  # seconds trained and steps taken when speed was last measured

    def record_step(self, rewards: list[float], ended: list[bool], updates: int) -> None:
        """Record one step of the member's environments and the number of updates after it.

        Args:
            rewards: One of each environment.
            ended: True for each environment whose episode ended.
            updates: Number of updates that followed the step.
        """
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
        """Seconds that each activity took so far, in all sessions."""
        current, earlier = self._stopwatch.seconds, self._earlier_seconds
        return {activity: current[activity] + earlier[activity] for activity in ACTIVITIES}

    def collect_metrics(self, report: StepReport, learning_rate: float) -> dict[str, float]:
        """Return metrics by tag, averaged over the updates since the last call.

        A metric without a value yet, such as a return before the first episode ends, is left out.
        """
        clock = report.now[self._member]
        metrics = {
            "rollout/exploration_rate": float(report.epsilon[self._member].mean()),
            "train/learning_rate": learning_rate,
            "train/n_updates": float(clock.updates),
            "time/episodes": float(clock.episodes),
            FPS: self._steps_per_second(clock),
        }
        if self._returns:
            metrics["rollout/ep_rew_mean"] = float(np.mean(self._returns))
            metrics["rollout/ep_len_mean"] = float(np.mean(self._lengths))
        if self._updates:
            means = dict(zip(Metrics._fields, (self.sums / self._updates).tolist(), strict=True))
            if not means["edge_mass"]:  # only distributions on fixed atoms have edges
                del means["edge_mass"]
            metrics |= {f"train/{name}": value for name, value in means.items()}
            self.sums.zero_()
            self._updates = 0
        return metrics

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as plain numbers."""
        return {
            "best": self.best,
            "evaluated": self.evaluated_at,
            "seconds": self.seconds,
            "return": list(self._return),
            "length": list(self._length),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "sums": self.sums.tolist(),
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any], clock: Clock) -> None:
        """Restore the state that `state()` returned at this clock."""
        self.best, self.evaluated_at = state["best"], state["evaluated"]
        self._earlier_seconds = dict(state["seconds"])
        self._return, self._length = list(state["return"]), list(state["length"])
        self._returns.extend(state["returns"])
        self._lengths.extend(state["lengths"])
        self.sums[:] = torch.tensor(state["sums"], dtype=torch.float64)
        self._updates = state["updates"]
        self._last_speed = (self.seconds["train"], clock.steps)

    def _steps_per_second(self, clock: Clock) -> float:
        self._stopwatch.record_lap("train")
        seconds = self.seconds["train"]
        last_seconds, last_steps = self._last_speed
        self._last_speed = (seconds, clock.steps)
        return (clock.steps - last_steps) / max(seconds - last_seconds, 1e-9)


def dormant_shares(run: Run) -> list[float]:
    """Return each member's share of dormant units, counted on the newest observations."""
    stream = run.stream
    newest = stream.newest(DORMANCY_SAMPLE // stream.envs + 1)
    obs = observations(stream.storage, newest.ring, newest.slot, stream.frames)
    shares: list[float] = run.learner.dormant(obs).tolist()
    return shares


def combine_members(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of all members' metrics, and the sum of their speeds."""
    tags = {tag for row in rows for tag in row}
    combined = {tag: mean([row[tag] for row in rows if tag in row]) for tag in tags}
    if FPS in combined:
        combined[FPS] *= len(rows)
    return combined
