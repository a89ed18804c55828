"""A session: one run from its first step to its result, or on from where it was interrupted."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.clock import crossings
from dqn_cli.envs.building import EnvironmentFailure, Vectorization
from dqn_cli.envs.seeding import episode_seeds
from dqn_cli.evaluation.policy import GreedyPolicy
from dqn_cli.evaluation.rollout import play
from dqn_cli.evaluation.statistics import summarize
from dqn_cli.storage import write_json
from dqn_cli.training import checkpoints
from dqn_cli.training.building import build_run, can_compile, worth_compiling
from dqn_cli.training.compiler import AheadOfTime, uncompiled
from dqn_cli.training.display import Display
from dqn_cli.training.events import EventFile
from dqn_cli.training.loop import Run, Tick, learning_rate_factor, progress, train
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.result import RESULT, result_of
from dqn_cli.training.settings import Settings
from dqn_cli.training.signals import Interruption
from dqn_cli.training.tracking import Tracker

DORMANCY_SAMPLE = 256  # observations that dormant units are counted on
MUCH_AT_THE_EDGES = 0.2  # of the targets' probability: a support is then too narrow


class TrainingFailure(Exception):
    """A run that can't go on; the message says at which step and what may help."""


class Interrupted(Exception):
    """A signal ended the run, and its checkpoint is written."""

    def __init__(self, exit_code: int, folder: Path) -> None:
        super().__init__(f"interrupted; go on with: dqn-train resume={folder}")
        self.exit_code = exit_code


class Session:
    """Trains in `folder`, and looks, writes and saves whenever a period is crossed."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        overrides: Sequence[str],
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        """Builds the run; `resumed` is the content of a checkpoint to go on from."""
        threads = 1 if settings.threads == "auto" else int(settings.threads)
        torch.set_num_threads(threads)
        self.settings, self.folder, self.overrides = settings, folder, list(overrides)
        self.tracker = Tracker(settings.env.num_envs)
        places = checkpoints.places_in(resumed) if resumed else None
        # A run that goes on computes as it did, though it may be longer now.
        wanted = worth_compiling(settings)
        if resumed:
            wanted = resumed["compiled"] and can_compile(settings)
        waiting = partial(self.tracker.booked, "compile")
        self.compiler = AheadOfTime(print, waiting) if wanted else None
        self.agent: Agent
        self.run: Run
        self.agent, self.run = build_run(settings, places, self.compiler or uncompiled)
        if resumed:
            checkpoints.restore(resumed, self.run, self.tracker)
        self.checkpoints = checkpoints.CheckpointFolder(folder, settings.checkpoint.keep)
        self._evaluated = -1  # the step of the latest evaluation
        self._warned = False  # of a support that is too narrow
        self._resumed = resumed is not None

    def __call__(self) -> dict[str, Any]:
        """Runs to the end and returns what result.json says.

        Raises Interrupted after a signal; whatever ends the run, result.json says how.
        """
        status, error = "failed", None
        try:
            with Interruption() as interruption, self._display() as display:
                events = self._events()
                self._announce(display)
                if self.compiler:
                    self.compiler.say = display.say
                try:
                    self._train(display, events, interruption)
                    if not interruption:
                        self._evaluate(display, events, interruption)
                    self._save(display, must=True)
                finally:
                    events.close()
            status = "interrupted" if interruption else "finished"
        except BaseException as caught:
            error = " ".join(str(caught).split()) or type(caught).__name__
            raise
        finally:
            self.run.envs.close()
            self.tracker.lap("train")
            result = result_of(
                self.settings,
                self.run,
                self.tracker,
                self.overrides,
                status,
                error,
                self.compiled,
            )
            write_json(self.folder / RESULT, result)
        if interruption:
            raise Interrupted(interruption.exit_code, self.folder)
        return result

    @property
    def compiled(self) -> bool:
        """Whether updates run as compiled code."""
        return self.compiler is not None and self.compiler.works

    def _train(self, display: Display, events: EventFile, interruption: Interruption) -> None:
        settings, run = self.settings, self.run
        self.tracker.lap("start")
        # Without this, Python's collector walks through all of torch's objects every so often.
        gc.freeze()
        ticks = train(settings, run)
        while not interruption:
            try:
                tick = next(ticks, None)
            except EnvironmentFailure as failure:
                step = run.clock.steps + 1
                raise TrainingFailure(f"{failure}, at step {step}") from failure
            if tick is None:
                return
            self.tracker.see(tick)
            if _crossed(tick, settings.log.every):
                self._log(tick, display, events)
            if _crossed(tick, settings.eval.every):
                self._evaluate(display, events, interruption)
            if _crossed(tick, settings.checkpoint.every):
                self._save(display, must=False)

    def _log(self, tick: Tick, display: Display, events: EventFile) -> None:
        factor = learning_rate_factor(self.settings, tick.now)
        row = self.tracker.row(tick.now, tick.epsilon, self.settings.optimizer.lr * factor)
        newest = self.run.stream.newest(DORMANCY_SAMPLE // self.settings.env.num_envs + 1)
        row["train/dormant_units"] = float(self.run.learner.dormant(newest)[0])
        self._warn_of_edges(row, display)
        events.write(row, tick.now.steps)
        display.show(tick.now, progress(self.settings, tick.now), row)
        self._check_finite()

    def _evaluate(self, display: Display, events: EventFile, interruption: Interruption) -> None:
        now, settings = self.run.clock, self.settings
        if now.steps == self._evaluated:
            return
        self._check_finite()
        self.tracker.lap("train")
        episodes = play(
            GreedyPolicy(self.agent.model, self.run.learner.state.parameters[0]),
            replace(settings.env, vectorization=Vectorization["sync"]),
            episode_seeds(settings.seed, Purpose.evaluation.value, 0),
            settings.eval.episodes,
            settings.eval.max_episode_steps,
            settings.dtype.name,
            stopped=lambda: bool(interruption),
        )
        self.tracker.lap("eval")
        if episodes is None:
            return
        self._evaluated = now.steps
        judged = summarize(episodes.returns)
        summary = {"step": now.steps, "episodes": settings.eval.episodes, **judged._asdict()}
        self.tracker.final = summary
        row = {
            "eval/mean_reward": judged.mean,
            "eval/mean_ep_length": float(episodes.lengths.mean()),
            "eval/mean_ci95_low": judged.mean_ci95[0],
            "eval/mean_ci95_high": judged.mean_ci95[1],
        }
        events.write(row, now.steps)
        display.show(now, progress(settings, now), row)
        if self.tracker.best is None or judged.mean >= self.tracker.best["mean"]:
            self.tracker.best = summary
            self._try(display, lambda: self.checkpoints.save_best(settings, self.run))

    def _save(self, display: Display, must: bool) -> None:
        def save() -> None:
            self.checkpoints.save_last(self.settings, self.run, self.tracker, self.compiled)

        self._check_finite()
        if must:
            save()
        else:
            self._try(display, save)

    def _try(self, display: Display, save: Any) -> None:
        # A full disk may be freed before the run ends: hours of training are worth the wait.
        try:
            save()
        except OSError as error:
            display.say(f"warning: no checkpoint this time, the earlier one stays: {error}")

    def _check_finite(self) -> None:
        if not bool(torch.isfinite(self.run.learner.state.parameters).all()):
            raise TrainingFailure(
                f"the loss became NaN or infinite before step {self.run.clock.steps}; the last good"
                " checkpoint stays. Try a smaller optimizer.lr, or update.max_grad_norm=10"
            )

    def _warn_of_edges(self, row: Mapping[str, float], display: Display) -> None:
        mass, head = row.get("train/edge_mass", 0.0), self.settings.head
        if mass > MUCH_AT_THE_EDGES and not self._warned and isinstance(head, C51):
            self._warned = True
            display.say(
                f"warning: {mass:.0%} of the returns' distribution is at the edges of head.v_min="
                f"{head.v_min:g} and head.v_max={head.v_max:g}, beyond which returns can't be told"
                " apart: widen them"
            )

    def _display(self) -> Display:
        settings = self.settings
        return Display(settings.steps, settings.episodes, progress(settings, self.run.clock))

    def _events(self) -> EventFile:
        purge_step = self.run.clock.steps + 1 if self._resumed else None
        return EventFile(self.folder, self.settings, purge_step)

    def _announce(self, display: Display) -> None:
        settings, run = self.settings, self.run
        doing = f"resumed at step {run.clock.steps:,}" if self._resumed else "training"
        disk = checkpoints.expected_bytes(settings, run) / 1e6
        size = run.learner.state.parameters.shape[1]
        display.say(
            f"{settings.env.id}: {doing}, {settings.steps:,} steps, {size:,} parameters,"
            f" seed {settings.seed}; checkpoints take up to {disk:,.1f} MB in {self.folder}"
        )
        if settings.learning_starts >= settings.steps:
            display.say(
                f"warning: nothing will be learned: learning_starts={settings.learning_starts}"
                f" is not below steps={settings.steps}"
            )


def _crossed(tick: Tick, every: int) -> bool:
    return crossings(tick.before.steps, tick.now.steps, every) > 0
