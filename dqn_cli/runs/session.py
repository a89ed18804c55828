"""Training session of one group of jobs, from the first or latest step to the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, NoReturn

import torch

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.interrupts import last_resort
from dqn_cli.loggers.run_loggers import wait_until_closed
from dqn_cli.memory import keep_large_blocks
from dqn_cli.runs import checkpoints
from dqn_cli.runs.display import Display
from dqn_cli.runs.init_checkpoint import InitCheckpoint, load_inits, start_members
from dqn_cli.runs.job import Job
from dqn_cli.runs.metrics_tracker import combine_members, dormant_shares
from dqn_cli.runs.outcomes import Interrupted, TrainingFailure
from dqn_cli.runs.periods import due, positions
from dqn_cli.runs.recorder import RunRecorder
from dqn_cli.runs.restarts import begin_new_episodes
from dqn_cli.runs.scale_warnings import scale_warnings
from dqn_cli.runs.signals import GracefulShutdown, ImmediateShutdown
from dqn_cli.runs.startup import (
    Checkpoint,
    check_evaluations,
    check_stored_spaces,
    choose_threads,
    learner_factory,
    make_compiler,
    should_compile,
    start_lines,
)
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.text import one_line
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import StepReport, train
from dqn_cli.training.pretraining import pretrain
from dqn_cli.training.progress import progress

HURRY_SECONDS = 0.3  # that environments and loggers get to close after a second Ctrl-C
LOGGER_SECONDS = 60.0  # that loggers get to send the rest of a run
INTERRUPTED_SECONDS = 10.0  # that they get after a signal


class Session:
    """Training of one group of jobs, each of which is a member of one run."""

    def __init__(self, jobs: Sequence[Job], title: str = "") -> None:
        """Build the run, or restore it; the `title` of a group begins each line that it prints."""
        self._settings, self._title = [job.settings for job in jobs], title
        self._shared = self._settings[0]  # to read settings that are equal in a group
        # Optimizer moments of dead units decay to denormal numbers, which are slow.
        torch.set_flush_denormal(True)
        keep_large_blocks()
        self._stopwatch, self._shutdown = Stopwatch(), GracefulShutdown(self._end_stuck)
        resumed = [checkpoints.load_last(job.folder) for job in jobs if job.resumes]
        if resumed:
            checkpoints.check_group(resumed, [job.folder for job in jobs], self._settings)
        inits = [None] * len(jobs) if resumed else load_inits(self._settings)
        compiles = should_compile(self._shared, len(jobs), resumed)
        self._compiler = make_compiler() if compiles else None
        snapshots = [snapshot for data in resumed for snapshot in checkpoints.snapshots_in(data)]
        make_learner = learner_factory(self._shared, self._compiler)
        # An environment may change the working folder.
        folders = [job.folder.absolute() for job in jobs]
        agents, self.run = build_run(self._settings, snapshots, make_learner)
        try:
            check_stored_spaces(self._shared, self.run)
            check_evaluations(self._shared, self.run)
            torch.set_num_threads(choose_threads(self._shared, len(jobs), resumed))
            group = [job.folder.name for job in jobs]
            self.recorders = [
                RunRecorder(job, folders[member], member, agent, self.run, self._stopwatch, group)
                for member, (job, agent) in enumerate(zip(jobs, agents, strict=True))
            ]
            self._restore(jobs, resumed, inits)
        except BaseException:
            self.run.envs.close()
            raise
        self._active = list(self.recorders)  # of members that have not ended
        self._pauses = {step for member in self._settings if (step := member.stop.step)}

    def _restore(
        self,
        jobs: Sequence[Job],
        resumed: Sequence[Checkpoint],
        inits: Sequence[InitCheckpoint | None],
    ) -> None:
        """Give the members the state of their checkpoints, or the networks that they start from."""
        for member, data in enumerate(resumed):
            tracker = self.recorders[member].tracker
            checkpoints.check_and_restore(data, jobs[member].folder, self.run, member, tracker)
            self.recorders[member].origin = data.get("init")
        for recorder, init in zip(self.recorders, inits, strict=True):
            recorder.origin = init.origin if init else recorder.origin
        self.init_lines = start_members(inits, self._settings, self.run)
        trackers = [recorder.tracker for recorder in self.recorders]
        self._restarted = begin_new_episodes(self._settings, self.run, trackers)

    def __call__(self) -> list[dict[str, Any]]:
        """Train to the end and return the contents of each result.json.

        A member that diverges is marked as failed, and the others go on. Each member gets a
        result.json, whatever ends the session.

        Raises:
            Interrupted: A signal ended the session.
        """
        shared, done = self._shared, progress(self._shared, self.run.clocks[0])
        display = Display(shared.steps, shared.episodes, done, self._title, shared.data.pretrain)
        patience = CLOSE_SECONDS
        try:
            with self._shutdown, display, last_resort(self._end_hung):
                self._open(display)
                self._train(display)
                self._close_diverged(display)
                for recorder in list(self._active):
                    recorder.save(self.compiled, required=True)
                    self._close(recorder, "interrupted")
                seconds = INTERRUPTED_SECONDS if self._shutdown.requested else LOGGER_SECONDS
                self._wait_for_loggers(seconds)
        except ImmediateShutdown:  # within a step, where no checkpoint can be written
            self._close_all("interrupted")
        except BaseException as caught:
            error, status = one_line(caught) or type(caught).__name__, "failed"
            if isinstance(caught, KeyboardInterrupt):
                status, patience = "interrupted", HURRY_SECONDS
            self._close_all(status, error)
            raise
        finally:
            if self._compiler:
                self._compiler.close()
            self.run.envs.close(patience)
            self._wait_for_loggers(patience)
            self._shutdown.has_ended()
            gc.unfreeze()  # otherwise this session's memory would never be given back
        if self._shutdown.requested:
            raise Interrupted(self._shutdown.exit_code)
        return [recorder.result for recorder in self.recorders if recorder.result]

    @property
    def compiled(self) -> bool:
        """True if updates run as compiled code."""
        return self._compiler is not None and self._compiler.works

    def _open(self, display: Display) -> None:
        for recorder in self.recorders:
            recorder.print_line = display.print_line
            recorder.open()
        if self._compiler:
            self._compiler.say = display.print_line
            self._compiler.waiting = partial(self._compiling, display)
        first = self.recorders[0].job
        lines = start_lines(first, self.run, bool(self._title), self._restarted)
        for line in (*lines, *self.init_lines):
            display.print_line(line)

    def _train(self, display: Display) -> None:
        self._stopwatch.record_lap("start")
        # Otherwise Python's garbage collector keeps walking through all of torch's objects.
        gc.freeze()
        reports = chain(pretrain(self._settings, self.run), train(self._settings, self.run))
        # A signal may have ended the previous session before an evaluation that was due.
        missed = [recorder for recorder in self._active if recorder.missed_evaluation]
        self._evaluate(missed, display)
        with self._stopwatch.measure("eval"):
            for recorder in self._active:
                recorder.film_start(lambda: self._shutdown.requested)
        self._close_finished(display)
        while not self._shutdown.requested and self._active:
            try:
                report = next(reports, None)
            except EnvironmentFailure as failure:
                self._fail(failure, f"{failure}, at step {self.run.clocks[0].steps + 1}")
            if report is not None:
                for recorder in self._active:
                    recorder.tracker.record(report)
                self._log_evaluate_save(report, display)
            if report is None or self._may_finish(report):
                self._close_finished(display)

    def _may_finish(self, report: StepReport) -> bool:
        """Return True if a member has taken its last step, or the one that it pauses at."""
        before, now = positions(self._shared, report)
        is_pause = any(before < step <= now for step in self._pauses)
        return is_pause or any(report.finished[recorder.member] for recorder in self._active)

    def _log_evaluate_save(self, report: StepReport, display: Display) -> None:
        """Log, evaluate and save if the step crossed their periods."""
        is_due = due(self._shared, report)
        if not any(is_due):
            return
        self._close_diverged(display)
        if is_due.progress:
            self._show(display, ())
        if is_due.row:
            shares = dormant_shares(self.run)
            metrics = [recorder.log(report, shares[recorder.member]) for recorder in self._active]
            self._show(display, metrics)
            for warning in scale_warnings(self._shared, self.run) if is_due.is_first_row else ():
                display.print_line(warning)
        if is_due.evaluation:
            self._evaluate(self._active, display)
            self._close_finished(display)
        if is_due.checkpoint:
            self._save_active()

    def _evaluate(self, recorders: Sequence[RunRecorder], display: Display) -> None:
        if not recorders:
            return
        with self._stopwatch.measure("eval"):
            try:
                metrics = [
                    recorder.evaluate(lambda: self._shutdown.requested) for recorder in recorders
                ]
            except EnvironmentFailure as failure:
                self._fail(failure, str(failure))
            self._show(display, metrics)

    def _fail(self, failure: EnvironmentFailure, reason: str) -> NoReturn:
        self._save_active()
        raise TrainingFailure(reason) from failure

    def _save_active(self) -> None:
        for recorder in self._active:
            recorder.save(self.compiled)

    def _show(self, display: Display, metrics: Sequence[Mapping[str, float]]) -> None:
        clock = self.run.clocks[0]
        display.show(clock, progress(self._shared, clock), combine_members(metrics))

    def _close_finished(self, display: Display) -> None:
        """Evaluate, save and close the members that have finished."""
        if not any(recorder.is_finished for recorder in self._active):
            return
        self._close_diverged(display)
        finished = [recorder for recorder in self._active if recorder.is_finished]
        # An evaluation that is not due would make a run that goes on another one.
        self._evaluate([recorder for recorder in finished if not recorder.is_paused], display)
        for recorder in finished:
            if not self._shutdown.requested:
                recorder.save(self.compiled, required=True)
                self._close(recorder, "finished")

    def _close_diverged(self, display: Display) -> None:
        is_finite = torch.isfinite(self.run.learner.state.parameters).all(1).tolist()
        for recorder in list(self._active):
            if is_finite[recorder.member]:
                continue
            error = (
                f"the loss became NaN or infinite before step {self.run.clocks[0].steps}; the last"
                " good checkpoint stays. Try a smaller optimizer.lr, or optimizer.max_grad_norm=10"
            )
            self._close(recorder, "failed", error)
            if self._title:
                display.print_line(f"{recorder.job.folder} failed: {error}")

    def _close(self, recorder: RunRecorder, status: str, error: str | None = None) -> None:
        self._stopwatch.record_lap("train")
        self._active.remove(recorder)
        recorder.close(status, error, self.compiled)

    def _close_all(self, status: str, error: str | None = None) -> None:
        for recorder in list(self._active):
            self._close(recorder, status, error)

    def _wait_for_loggers(self, seconds: float) -> None:
        """Wait until all loggers have closed; another signal ends the wait."""
        opened = [recorder.loggers for recorder in self.recorders if recorder.loggers]
        received = self._shutdown.received
        wait_until_closed(
            opened,
            seconds,
            lambda: self._shutdown.received > received,
            self.recorders[0].print_line,
        )

    def _end_stuck(self) -> None:
        """Write what can be written while the main thread is stuck in an environment."""
        self._close_all("interrupted", "interrupted")

    def _end_hung(self, reason: str) -> None:
        """Save the last step that succeeded, from inside an environment that never returns."""
        self._save_active()
        self._close_all("failed", reason)

    @contextmanager
    def _compiling(self, display: Display) -> Iterator[None]:
        # Ctrl-C in a terminal also ends the compiler's own processes.
        measured = self._stopwatch.measure("compile")
        with measured, self._shutdown.immediate(), display.busy("compiling"):
            yield
