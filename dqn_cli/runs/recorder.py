"""Recorder of one member: its logs, evaluations, checkpoints and result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.clock import crossings
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.info_means import info_metrics
from dqn_cli.evaluation.play import Episodes, play_episodes
from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.run_loggers import RunLoggers
from dqn_cli.runs import checkpoints
from dqn_cli.runs.early_stopping import is_over, is_paused, stop_reason
from dqn_cli.runs.films import Films
from dqn_cli.runs.hyperparameters import hyperparameters
from dqn_cli.runs.job import JOB_NAME, Job
from dqn_cli.runs.kept_files import kept_files
from dqn_cli.runs.metric_warnings import MetricWarnings
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.result import RESULT, member_result, result_summary
from dqn_cli.runs.scores import EVALUATION, TRAINING, is_best, score_summary
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.storage import write_json
from dqn_cli.training.annealed_numbers import lr_factor
from dqn_cli.training.loop import Run, StepReport
from dqn_cli.training.progress import position, progress
from dqn_cli.training.randomness import Purpose


class RunRecorder:
    """Recorder of one member of a run, which writes to the member's own folder."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        member: int,
        agent: Agent,
        run: Run,
        stopwatch: Stopwatch,
        group: Sequence[str],
    ) -> None:
        """Prepare the checkpoints folder.

        Messages name the job's folder; `folder` is its absolute path. `group` has the names of all
        members' folders.
        """
        self.job, self.member, self._folder = job, member, folder
        self.print_line: Callable[[str], None] = print
        self.result: dict[str, Any] | None = None  # once the run has ended
        self.origin: dict[str, Any] | None = None  # of the weights, if they were trained before
        sums, info_names = run.learner.metrics[member], job.settings.log.info
        self.tracker = MetricsTracker(
            job.settings.env.num_envs, stopwatch, sums, member, info_names
        )
        self._settings, self._agent, self._run = job.settings, agent, run
        self._group = list(group)
        self._checkpoints = checkpoints.CheckpointFolder(folder, job.settings.checkpoint.keep)
        self.loggers: RunLoggers | None = None  # once the session has opened them
        self._films = Films(folder, job.settings, self._log_film, self._warn)
        self._warnings = MetricWarnings(job.settings.head)

    @property
    def is_finished(self) -> bool:
        """True once the member's steps or episodes are done, or something ends it before."""
        clock = self._run.clocks[self.member]
        return is_over(self._settings, clock, self.tracker.evaluations)

    @property
    def is_paused(self) -> bool:
        """True if the member ends for a pause, and can go on."""
        clock = self._run.clocks[self.member]
        return is_paused(self._settings, clock, self.tracker.evaluations)

    @property
    def stopped(self) -> str | None:
        """Reason why the member ends before its last step, if it does."""
        return stop_reason(self._settings.stop, self.tracker.evaluations, self._steps)

    @property
    def missed_evaluation(self) -> bool:
        """True if an evaluation was due when an earlier session was interrupted."""
        latest = max(self.tracker.evaluated_at, 0)
        return crossings(latest, self._steps, self._settings.eval.every) > 0

    def open(self) -> None:
        """Open the loggers."""
        parent, name = self._folder.parts[-2:]
        group = parent if JOB_NAME.match(name) else ""
        run = LoggedRun(self._folder, group, hyperparameters(self._settings), self._steps)
        self.loggers = RunLoggers(self._settings.logger, run, self._warn)

    def log(self, report: StepReport, dormant: float) -> dict[str, float]:
        """Write and return the metrics since the last call; `dormant` is a share of units."""
        if self._settings.eval.every is None:
            self._rate_training()
        settings, now = self._settings, report.now[self.member]
        began = self._run.learning_began[self.member]
        factor = lr_factor(settings, now, began, progress(settings, now))
        metrics = self.tracker.collect_metrics(report, settings.optimizer.lr * factor)
        metrics["train/dormant_units"] = dormant
        # The members of a group have the same environment, so the first one warns for all.
        has_ended = self.member == 0 and self._run.clocks[0].episodes > 0
        for warning in self._warnings.new(metrics, self.tracker.info.absent if has_ended else ()):
            self._warn(warning)
        self._write(metrics)
        return metrics

    def evaluate(self, should_stop: Callable[[], bool]) -> dict[str, float]:
        """Evaluate the greedy policy and save it if it is the best so far.

        Returns:
            Metrics by tag; none if this step was evaluated before, `should_stop` ended it, or
            eval.every is null: then training returns are rated.

        Raises:
            EnvironmentFailure: The environment failed; the message says at which step.
        """
        tracker, step = self.tracker, self._steps
        if self._settings.eval.every is None:
            self._rate_training()
            return {}
        if step == tracker.evaluated_at:
            return {}
        try:
            episodes = self._play(should_stop)
        except EnvironmentFailure as failure:
            hint = "eval.every=null trains without evaluations"
            reason = f"{failure}, in the evaluation at step {step}; {hint}"
            raise EnvironmentFailure(reason) from failure
        if episodes is None:
            return {}
        summary = score_summary(
            self._settings.env.id, step, episodes.returns, episodes.info, EVALUATION
        )
        before, tracker.evaluated_at, tracker.final = tracker.evaluated_at, step, summary
        tracker.evaluations.record(summary["mean"])
        metrics = {
            "eval/mean_reward": summary["mean"],
            "eval/mean_ep_length": float(episodes.lengths.mean()),
            "eval/mean_ci95_low": summary["mean_ci95"][0],
            "eval/mean_ci95_high": summary["mean_ci95"][1],
        }
        if "human_normalised" in summary:
            metrics["eval/human_normalised"] = summary["human_normalised"]
        metrics |= info_metrics("eval/", episodes.info)
        self._write(metrics)
        if is_best(episodes.returns, EVALUATION, tracker.best):
            self._save_best(summary)
        if self._films.is_due(max(before, 0), step):
            self._films.record(self._greedy_policy(), step, should_stop)
        return metrics

    def film_start(self, should_stop: Callable[[], bool]) -> None:
        """Film the policy before the first step, if films are asked for."""
        if not self._steps and self._films.is_due(0, 0):
            self._films.record(self._greedy_policy(), 0, should_stop)

    def save(self, compiled: bool, required: bool = False) -> None:
        """Write checkpoints/last; unless it is `required`, a full disk is only a warning."""

        def save_last() -> None:
            data = checkpoints.run_data(
                self._settings, self._run, self.member, self.tracker, compiled
            )
            self._checkpoints.save_last(data | {"together": self._group, "init": self.origin})

        if required:
            save_last()
        else:
            self._save_or_warn(save_last)

    def close(self, status: str, error: str | None, compiled: bool) -> None:
        """Write result.json, and let the loggers close."""
        if status == "finished" and self.stopped:
            name = f"{self.job.folder} " if len(self._group) > 1 else ""
            self.print_line(f"{name}stopped at step {self._steps:,}: {self.stopped}")
        self.result = member_result(
            self._settings,
            self._run,
            self.member,
            self.tracker,
            self.job.overrides,
            status,
            error,
            compiled,
        ) | {"init": self.origin}
        try:
            write_json(self._folder / RESULT, self.result)
        finally:
            if self.loggers is not None:
                if status == "finished" and not self.is_paused:
                    self._film_best()
                self.loggers.close(result_summary(self.result), kept_files(self._folder))

    def _film_best(self) -> None:
        """Film the best policy if the settings or a logger ask for it."""
        is_asked = self._settings.video or (self.loggers is not None and self.loggers.keep_video)
        if is_asked and self.tracker.best is not None:
            self._films.record_best(self._agent.model, self.tracker.best["step"])

    def _log_film(self, film: Path, step: int) -> None:
        if self.loggers is not None:
            self.loggers.video(film, step, only_keepers=not self._settings.video)

    def _greedy_policy(self) -> GreedyPolicy:
        return GreedyPolicy(self._agent.model, self._run.learner.policy_parameters(self.member))

    @property
    def _steps(self) -> int:
        """Steps so far; updates in a run without steps."""
        return position(self._settings, self._run.clocks[self.member])

    def _play(self, should_stop: Callable[[], bool]) -> Episodes | None:
        settings = self._settings
        return play_episodes(
            self._greedy_policy(),
            settings.evaluation_env,
            episode_seeds(settings.seed, Purpose.evaluation.value, 0),
            settings.eval.episodes,
            settings.eval.max_episode_steps,
            settings.dtype.name,
            should_stop,
            settings.log.info,
        )

    def _rate_training(self) -> None:
        """Save the policy if its recent training returns are the best so far."""
        returns, info = self.tracker.new_returns(), self.tracker.info.summary()
        if returns and is_best(returns, TRAINING, self.tracker.best):
            env_id = self._settings.env.id
            self._save_best(score_summary(env_id, self._steps, returns, info, TRAINING))

    def _save_best(self, summary: dict[str, Any]) -> None:
        self.tracker.best = summary
        policy = checkpoints.policy_data(self._settings, self._run, self.member)
        self._save_or_warn(lambda: self._checkpoints.save_best(policy))

    def _write(self, metrics: Mapping[str, float]) -> None:
        if self.loggers is not None:
            self.loggers.row(metrics, self._steps)

    def _warn(self, text: str) -> None:
        self.print_line(f"warning: {text}")

    def _save_or_warn(self, save: Callable[[], None]) -> None:
        # Space may be freed before the run ends, and ending it would lose hours of training.
        try:
            save()
        except OSError as error:
            self._warn(f"no checkpoint this time, the earlier one stays: {error}")
