"""A session: runs of one structure, one or more, from their first or latest step to the end."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import mean
from typing import Any

import torch

from dqn_cli.agent.clock import crossings
from dqn_cli.compiling.compiler import AheadOfTime, uncompiled
from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.memory import keep_large_blocks
from dqn_cli.replay.batches import observations
from dqn_cli.runs import checkpoints
from dqn_cli.runs.advice import advice
from dqn_cli.runs.display import Display
from dqn_cli.runs.locks import locked
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.metrics_tracker import FPS
from dqn_cli.runs.recorder import Job, RunRecorder
from dqn_cli.runs.signals import CutShort, Interruption
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.training.build_run import build_run, can_compile, thread_count, worth_compiling
from dqn_cli.training.loop import StepReport, progress, train

DORMANCY_SAMPLE = 256  # observations that dormant units are counted on


class TrainingFailure(Exception):
    """A run that can't go on; the message says at which step and what may help."""


class Interrupted(Exception):
    """A signal ended the session, and checkpoints are written."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("interrupted")
        self.exit_code = exit_code


def train_alone(job: Job) -> dict[str, Any]:
    """Makes one run and returns what its result.json says, which also says how it ended.

    Raises TrainingFailure if it fails, Interrupted after a signal, InUse if another process has it.
    """
    with locked([job.folder]):
        session = Session([job])
        write_manifests([job])
        (result,) = session()
    if result["status"] == "failed":
        raise TrainingFailure(result["error"])
    return result


class Session:
    """Trains jobs side by side, and looks, writes and saves whenever a period is crossed."""

    def __init__(self, jobs: Sequence[Job], title: str = "") -> None:
        """Builds the run, or rebuilds it where the jobs' checkpoints left it.

        The `title` stands before what is shown of several.
        """
        self._settings, self._title = [job.settings for job in jobs], title
        structure = self._structure = self._settings[0]  # what all have in common is read here
        # Moments of units that died fade into numbers that processors are slow with.
        torch.set_flush_denormal(True)
        keep_large_blocks()
        self._stopwatch, self._interruption = Stopwatch(), Interruption()
        resumed = [checkpoints.load_last(job.folder) for job in jobs if job.resumes]
        # A run that goes on computes as it did, though it may be longer now.
        wanted = worth_compiling(structure, len(jobs))
        if resumed:
            wanted = resumed[0]["compiled"] and can_compile(structure)
        self._compiler = AheadOfTime(print, self._compiling) if wanted else None
        places = [place for data in resumed for place in checkpoints.snapshots_in(data)]
        agents, self.run = build_run(self._settings, places, self._compiler or uncompiled)
        threads = thread_count(structure, len(jobs))
        if resumed and structure.threads == "auto":
            threads = resumed[0]["threads"]
        torch.set_num_threads(threads)
        together = [job.folder.name for job in jobs]
        self.recorders = [
            RunRecorder(job, member, agent, self.run, self._stopwatch, together)
            for member, (job, agent) in enumerate(zip(jobs, agents, strict=True))
        ]
        self._active = list(self.recorders)  # those that have not ended
        if len({tuple(data["clock"][:2]) for data in resumed}) > 1:
            raise ValueError("members that go on together must stand at the same step")
        for member, data in enumerate(resumed):
            checkpoints.restore(data, self.run, member, self.recorders[member].tracker)

    def __call__(self) -> list[dict[str, Any]]:
        """Runs to the end and returns what each result.json says.

        A member that diverges has failed, and the others go on. Raises Interrupted after a signal;
        whatever ends the session, each result.json says how.
        """
        try:
            with self._interruption, self._display() as display:
                self._open(display)
                self._train(display)
                self._end_diverged(display)
                for recorder in list(self._active):
                    recorder.save(self.compiled, must=True)
                    self._close(recorder, "interrupted")
        except CutShort:  # in the middle of a step, which no checkpoint can hold
            for recorder in list(self._active):
                self._close(recorder, "interrupted")
        except BaseException as caught:
            error = " ".join(str(caught).split()) or type(caught).__name__
            status = "interrupted" if isinstance(caught, KeyboardInterrupt) else "failed"
            for recorder in list(self._active):
                self._close(recorder, status, error)
            raise
        finally:
            self.run.envs.close()
        if self._interruption:
            raise Interrupted(self._interruption.exit_code)
        return [recorder.result for recorder in self.recorders if recorder.result]

    @property
    def compiled(self) -> bool:
        """Whether updates run as compiled code."""
        return self._compiler is not None and self._compiler.works

    def _train(self, display: Display) -> None:
        self._stopwatch.lap("start")
        # Without this, Python's collector walks through all of torch's objects every so often.
        gc.freeze()
        reports = train(self._settings, self.run)
        # What a signal kept from being judged when the session before was interrupted.
        missed = [recorder for recorder in self._active if recorder.missed_evaluation]
        self._evaluate(missed, display)
        self._finish(display)
        while not self._interruption and self._active:
            try:
                report = next(reports, None)
            except EnvironmentFailure as failure:
                step = self.run.clocks[0].steps + 1
                raise TrainingFailure(f"{failure}, at step {step}") from failure
            if report is not None:
                rewards = report.step.reward.tolist()
                for recorder in self._active:
                    member = recorder.member
                    recorder.tracker.see(rewards[member], report.ended[member], report.updates)
                self._look(report, display)
            if report is None or any(report.finished[recorder.member] for recorder in self._active):
                self._finish(display)

    def _look(self, report: StepReport, display: Display) -> None:
        """Logs, evaluates and saves, each where its period is crossed."""
        structure, before, now = self._structure, report.before[0].steps, report.now[0].steps
        logs = crossings(before, now, structure.log.every)
        evaluates = crossings(before, now, structure.eval.every)
        saves = crossings(before, now, structure.checkpoint.every)
        if not (logs or evaluates or saves):
            return
        self._end_diverged(display)
        if logs:
            stream = self.run.stream
            newest = stream.newest(DORMANCY_SAMPLE // structure.env.num_envs + 1)
            seen = observations(stream.stored, newest.ring, newest.slot, stream.frames)
            dormant = self.run.learner.dormant(seen).tolist()
            self._show(display, [each.log(report, dormant[each.member]) for each in self._active])
        if evaluates:
            self._evaluate(self._active, display)
        if saves:
            for recorder in self._active:
                recorder.save(self.compiled)

    def _evaluate(self, recorders: Sequence[RunRecorder], display: Display) -> None:
        if not recorders:
            return
        with self._stopwatch.booked("eval"):
            stopped = self._interruption.__bool__
            self._show(display, [each.evaluate(stopped) for each in recorders])

    def _finish(self, display: Display) -> None:
        """Judges, saves and closes the members that have finished."""
        if not any(recorder.is_finished for recorder in self._active):
            return
        self._end_diverged(display)
        over = [recorder for recorder in self._active if recorder.is_finished]
        self._evaluate(over, display)
        for recorder in over:
            if not self._interruption:
                recorder.save(self.compiled, must=True)
                self._close(recorder, "finished")

    def _end_diverged(self, display: Display) -> None:
        finite = torch.isfinite(self.run.learner.state.parameters).all(1).tolist()
        for recorder in [each for each in self._active if not finite[each.member]]:
            error = (
                f"the loss became NaN or infinite before step {self.run.clocks[0].steps}; the last"
                " good checkpoint stays. Try a smaller optimizer.lr, or update.max_grad_norm=10"
            )
            self._close(recorder, "failed", error)
            if self._title:
                display.say(f"{recorder.folder} failed: {error}")

    def _close(self, recorder: RunRecorder, status: str, error: str | None = None) -> None:
        self._stopwatch.lap("train")
        self._active.remove(recorder)
        recorder.close(status, error, self.compiled)

    def _show(self, display: Display, rows: Sequence[Mapping[str, float]]) -> None:
        tags = {tag for row in rows for tag in row}
        means = {tag: mean([row[tag] for row in rows if tag in row]) for tag in tags}
        if FPS in means:
            means[FPS] *= len(rows)
        clock = self.run.clocks[0]
        display.show(clock, progress(self._structure, clock), means)

    def _display(self) -> Display:
        structure = self._structure
        done = progress(structure, self.run.clocks[0])
        return Display(structure.steps, structure.episodes, done, self._title)

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        # It takes long, and Ctrl-C in a terminal ends the compiler's own processes too.
        with self._stopwatch.booked("compile"), self._interruption.at_once():
            yield

    def _open(self, display: Display) -> None:
        structure, run = self._structure, self.run
        for recorder in self.recorders:
            recorder.say = display.say
            recorder.open()
        if self._compiler:
            self._compiler.say = display.say
        steps, job = run.clocks[0].steps, self.recorders[0].job
        doing = f"resumed at step {steps:,}" if job.resumes else "training"
        disk = checkpoints.expected_bytes(structure, run) * len(self.recorders) / 1e6
        memory = (run.stream.nbytes + run.sampler.nbytes) / 1e6
        size = run.learner.state.parameters.shape[1]
        whose = f"{len(self.recorders)} members" if self._title else f"seed {structure.seed}"
        folder = job.folder.parent if self._title else job.folder
        display.say(
            f"{structure.env.id}: {doing}, {structure.steps:,} steps, {size:,} parameters,"
            f" {whose}; replay takes {memory:,.1f} MB of memory, and checkpoints up to"
            f" {disk:,.1f} MB in {folder}"
        )
        device = run.learner.state.parameters.device.type
        for line in advice(structure, run.envs.spaces.observation_shape, device):
            display.say(line)
