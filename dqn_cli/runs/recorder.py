"""A member's recorder: all that one run shows, saves and reports in its own folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.clock import crossings
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.atari_scores import human_normalised
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.play import play
from dqn_cli.evaluation.statistics import summarize
from dqn_cli.runs import checkpoints
from dqn_cli.runs.event_file import EventFile
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.result import RESULT, result_of
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.storage import write_json
from dqn_cli.training.loop import Run, StepReport, finished, progress
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings

MUCH_AT_THE_EDGES = 0.2  # of the targets' probability: a support is then too narrow


class Job(NamedTuple):
    """One run to make: its settings, its folder, and what was typed for it."""

    settings: Settings
    folder: Path
    overrides: list[str]
    number: int = 0  # in its sweep
    resumes: bool = False  # from the folder's checkpoints/last


class RunRecorder:
    """Follows one member of a run; what it wants to say goes to `say`."""

    def __init__(
        self,
        job: Job,
        member: int,
        agent: Agent,
        run: Run,
        stopwatch: Stopwatch,
        together: list[str],
    ) -> None:
        """`together` are the folders of all members; a checkpoint names those it was made among."""
        self.job, self.member, self.folder = job, member, job.folder
        self.say: Callable[[str], None] = print
        self.result: dict[str, Any] | None = None  # once it has ended
        self.tracker = MetricsTracker(
            job.settings.env.num_envs, stopwatch, run.learner.metrics[member], member
        )
        self._settings, self._agent, self._run = job.settings, agent, run
        self._together = together
        self._checkpoints = checkpoints.CheckpointFolder(job.folder, job.settings.checkpoint.keep)
        self._events: EventFile | None = None
        self._warned = False  # of a support that is too narrow

    @property
    def is_finished(self) -> bool:
        """Whether its steps or episodes are done."""
        return finished(self._settings, self._run.clocks[self.member])

    @property
    def missed_evaluation(self) -> bool:
        """Whether one was due before the run was interrupted."""
        latest = max(self.tracker.evaluated, 0)
        return crossings(latest, self._steps, self._settings.eval.every) > 0

    def open(self) -> None:
        """Begins to write events."""
        begun_before = any(self.folder.glob("events.*"))
        purge_step = self._steps + 1 if begun_before else None
        self._events = EventFile(self.folder, self._settings, purge_step)

    def log(self, report: StepReport, dormant: float) -> dict[str, float]:
        """Writes and returns a row of metrics; `dormant` is a share of hidden units."""
        optimizer = self._settings.optimizer
        factor = optimizer.schedule.factor(progress(self._settings, report.now[self.member]))
        row = self.tracker.row(report, optimizer.lr * factor)
        row["train/dormant_units"] = dormant
        self._warn_of_edges(row)
        self._write(row)
        return row

    def evaluate(self, stopped: Callable[[], bool]) -> dict[str, float]:
        """Plays greedily unless that is done at this step; nothing if `stopped` meanwhile."""
        settings = self._settings
        if self._steps == self.tracker.evaluated:
            return {}
        episodes = play(
            GreedyPolicy(self._agent.model, self._run.learner.state.parameters[self.member]),
            settings.env.in_one_process,
            episode_seeds(settings.seed, Purpose.evaluation.value, 0),
            settings.eval.episodes,
            settings.eval.max_episode_steps,
            settings.dtype.name,
            stopped,
        )
        if episodes is None:
            return {}
        self.tracker.evaluated = self._steps
        judged = summarize(episodes.returns)
        summary = {"step": self._steps, "episodes": settings.eval.episodes, **judged._asdict()}
        human = human_normalised(settings.env.id, judged.mean)
        if human is not None:
            summary["human_normalised"] = human
        self.tracker.final = summary
        row = {
            "eval/mean_reward": judged.mean,
            "eval/mean_ep_length": float(episodes.lengths.mean()),
            "eval/mean_ci95_low": judged.mean_ci95[0],
            "eval/mean_ci95_high": judged.mean_ci95[1],
        }
        if human is not None:
            row["eval/human_normalised"] = human
        self._write(row)
        if self.tracker.best is None or judged.mean >= self.tracker.best["mean"]:
            self.tracker.best = summary
            policy = checkpoints.policy_data(settings, self._run, self.member)
            self._try(lambda: self._checkpoints.save_best(policy))
        return row

    def save(self, compiled: bool, must: bool = False) -> None:
        """Writes checkpoints/last; a disk that is full is an error only if it `must` be."""

        def save() -> None:
            now = (self._settings, self._run, self.member, self.tracker, compiled)
            data = checkpoints.run_data(*now) | {"together": self._together}
            self._checkpoints.save_last(data)

        if must:
            save()
        else:
            self._try(save)

    def close(self, status: str, error: str | None, compiled: bool) -> None:
        """Writes result.json: the run is finished, interrupted or failed."""
        if self._events is not None:
            self._events.close()
        self.result = result_of(
            self._settings,
            self._run,
            self.member,
            self.tracker,
            self.job.overrides,
            status,
            error,
            compiled,
        )
        write_json(self.folder / RESULT, self.result)

    @property
    def _steps(self) -> int:
        return self._run.clocks[self.member].steps

    def _write(self, row: Mapping[str, float]) -> None:
        if self._events is not None:
            self._events.write(row, self._steps)

    def _try(self, save: Callable[[], None]) -> None:
        # A full disk may be freed before the run ends: hours of training are worth the wait.
        try:
            save()
        except OSError as error:
            self.say(f"warning: no checkpoint this time, the earlier one stays: {error}")

    def _warn_of_edges(self, row: Mapping[str, float]) -> None:
        mass, head = row.get("train/edge_mass", 0.0), self._settings.head
        if mass > MUCH_AT_THE_EDGES and not self._warned and isinstance(head, C51):
            self._warned = True
            self.say(
                f"warning: {mass:.0%} of the returns' distribution is at the edges of head.v_min="
                f"{head.v_min:g} and head.v_max={head.v_max:g}, beyond which returns can't be told"
                " apart: widen them"
            )
