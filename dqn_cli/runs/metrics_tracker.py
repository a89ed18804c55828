"""Metrics of a run: returns and lengths of episodes, training metrics, speed and times."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.metrics import Metrics
from dqn_cli.arrays import Array
from dqn_cli.evaluation.info_means import InfoMeans, info_metrics
from dqn_cli.replay.batches import stored_observations
from dqn_cli.runs.early_stopping import EvaluationHistory
from dqn_cli.runs.scores import RECENT
from dqn_cli.runs.stopwatch import ACTIVITIES, Stopwatch
from dqn_cli.training.loop import Run, StepReport

FPS = "time/fps"
MANY_ENVS = 32  # from this number on, arrays are faster than a loop
DORMANCY_SAMPLE = 256  # observations that dormant units are counted on


class MetricsTracker:
    """Metrics of one member, with the tags of Stable-Baselines3."""

    def __init__(
        self,
        envs: int,
        stopwatch: Stopwatch,
        sums: Tensor,
        member: int = 0,
        info_names: Sequence[str] = (),
    ) -> None:
        """Track one member.

        Args:
            envs: Number of environments.
            stopwatch: Times of the session.
            sums: Metrics to which the learner adds those of its updates, [len(Metrics)].
            member: Number of the member.
            info_names: Scalars of the environment's `info`.
        """
        self.best: dict[str, Any] | None = None
        self.final: dict[str, Any] | None = None
        self.evaluated_at = -1  # the step of the latest evaluation
        self.evaluations = EvaluationHistory()
        self.info = InfoMeans(info_names, RECENT)
        self._stopwatch, self._member = stopwatch, member
        self._earlier_seconds = dict.fromkeys(ACTIVITIES, 0.0)  # of earlier sessions
        # Of running episodes; a loop over few environments is faster with plain numbers.
        self._return: Any = np.zeros(envs) if envs >= MANY_ENVS else [0.0] * envs
        self._length: Any = np.zeros(envs, np.int64) if envs >= MANY_ENVS else [0] * envs
        self._returns: deque[float] = deque(maxlen=RECENT)
        self._lengths: deque[int] = deque(maxlen=RECENT)
        self._has_new_returns = False  # since the last call of `new_returns`
        self.sums, self._updates = sums, 0
        self._last_speed = (0.0, 0)  # seconds trained and steps taken when speed was last measured

    def record(self, report: StepReport) -> None:
        """Record one step of the member's environments and the updates after it."""
        member, step = self._member, report.step
        self._updates += report.updates
        if step is None:
            return
        resets = None if step.is_reset is None else step.is_reset[member]
        if isinstance(self._return, np.ndarray):
            self._record_rows(step.reward[member], step.ended[member], resets)
        else:
            begun = None if resets is None else resets.tolist()
            self._record_each(step.reward[member].tolist(), report.ended[member], begun)
        if step.info:
            info = {name: values[member] for name, values in step.info.items()}
            self.info.record(info, report.ended[member])

    def _record_each(
        self, rewards: list[float], ended: list[bool], resets: list[bool] | None
    ) -> None:
        for env, reward in enumerate(rewards):
            if resets is not None and resets[env]:
                continue
            self._return[env] += reward
            self._length[env] += 1
            if ended[env]:
                self._returns.append(self._return[env])
                self._lengths.append(self._length[env])
                self._return[env], self._length[env] = 0.0, 0
                self._has_new_returns = True

    def _record_rows(self, rewards: Array, ended: Array, resets: Array | None) -> None:
        """Record what `_record_each` does, of many environments at once, [envs] each."""
        self._return += rewards
        self._length += 1 if resets is None else ~resets
        if ended.any():
            self._returns.extend(self._return[ended].tolist())
            self._lengths.extend(self._length[ended].tolist())
            self._return[ended], self._length[ended] = 0, 0
            self._has_new_returns = True

    def forget_episode(self, env: int) -> None:
        """Forget the running episode of an environment, which began a new one."""
        self._return[env], self._length[env] = 0.0, 0

    def new_returns(self) -> list[float]:
        """Return the recent returns, or an empty list if no episode ended since the last call."""
        returns = list(self._returns) if self._has_new_returns else []
        self._has_new_returns = False
        return returns

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
        metrics = {"train/learning_rate": learning_rate, "train/n_updates": float(clock.updates)}
        if report.step is not None:
            metrics |= {
                "rollout/exploration_rate": float(report.epsilon[self._member].mean()),
                "time/episodes": float(clock.episodes),
                FPS: self._steps_per_second(clock),
            }
        if self._returns:
            metrics["rollout/ep_rew_mean"] = float(np.mean(self._returns))
            metrics["rollout/ep_len_mean"] = float(np.mean(self._lengths))
        if self._updates:
            means = dict(zip(Metrics._fields, (self.sums / self._updates).tolist(), strict=True))
            # Only distributions on fixed atoms have edges, and few runs have auxiliary parts.
            unused = [name for name in ("edge_mass", "auxiliary_loss", "bonus") if not means[name]]
            used = {name: value for name, value in means.items() if name not in unused}
            metrics |= {f"train/{name}": value for name, value in used.items()}
            self.sums.zero_()
            self._updates = 0
        metrics |= info_metrics("", self.info.summary())
        self.info.restart()
        return metrics

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as plain numbers."""
        return {
            "best": self.best,
            "final": self.final,
            "evaluated": self.evaluated_at,
            "evaluations": asdict(self.evaluations),
            "info": self.info.state(),
            "seconds": self.seconds,
            "return": np.asarray(self._return).tolist(),
            "length": np.asarray(self._length).tolist(),
            "returns": list(self._returns),
            "lengths": list(self._lengths),
            "new_returns": self._has_new_returns,
            "sums": self.sums.tolist(),
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any], clock: Clock) -> None:
        """Restore the state that `state()` returned at this clock."""
        self.best, self.final = state["best"], state["final"]
        self.evaluated_at = state["evaluated"]
        self.evaluations = EvaluationHistory(**state["evaluations"])
        self.info.load(state["info"])
        self._earlier_seconds = dict(state["seconds"])
        self._return[:], self._length[:] = state["return"], state["length"]
        self._returns.extend(state["returns"])
        self._lengths.extend(state["lengths"])
        self._has_new_returns = state["new_returns"]
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
    if run.data_sampler and not run.clocks[0].steps:
        stream, newest = run.data_sampler.spread(DORMANCY_SAMPLE)
    obs = stored_observations(stream, newest)
    shares: list[float] = run.learner.dormant(obs).tolist()
    return shares


def combine_members(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of all members' metrics, and the sum of their speeds."""
    tags = {tag for row in rows for tag in row}
    combined = {tag: mean([row[tag] for row in rows if tag in row]) for tag in tags}
    if FPS in combined:
        combined[FPS] *= len(rows)
    return combined
