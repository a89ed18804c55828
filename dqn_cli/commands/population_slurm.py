"""Groups of a population on SLURM: each is a job of an array, which requeues itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import submitit
from submitit.helpers import DelayedSubmission

from dqn_cli.commands.population_engines import SHARED_DISK_SECONDS, Ending, Group, Placed
from dqn_cli.commands.population_options import PopulationOptions
from dqn_cli.commands.population_processes import interrupts_blocked
from dqn_cli.commands.population_work import Parcel
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.signals import PREEMPTED, hand_over
from dqn_cli.text import one_line
from dqn_cli.training.devices import thread_count

FOLDER = ".submitit"  # in the sweep's folder
LARGEST_ARRAY = 1000  # SLURM's own limit, unless an administrator changed it
POLL_SECONDS = {"slurm": 2.0, "local": 0.2}
COMMANDS = ("sbatch", "srun", "sacct", "scancel")


def check_slurm(options: PopulationOptions) -> None:
    """Check that this machine can submit jobs.

    Raises:
        ConfigError: It can't, or a key is not valid.
    """
    if options.gpus != int(options.gpus):
        raise ConfigError(f"hydra.launcher.gpus={options.gpus}: SLURM gives whole GPUs to a group")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if options.slurm.cluster == "slurm" and missing:
        raise ConfigError(
            f"hydra.launcher.on=slurm needs the command {missing[0]}: type this where you type"
            " sbatch, or try hydra.launcher.slurm.cluster=local"
        )


class GroupTask:
    """What a job calls: train a group, and let the same be called again when it is requeued."""

    def __init__(self, parcel: Parcel) -> None:
        self._parcel = parcel

    def __call__(self) -> None:
        """Train the group, and hand a signal of SLURM over to submitit, which requeues the job."""
        exit_code = self._parcel.train()
        if exit_code == PREEMPTED:
            hand_over()
        if exit_code:
            sys.exit(exit_code)  # without a result: SLURM itself may have requeued the job

    def checkpoint(self) -> Any:
        """Return what submitit calls when the job starts again."""
        return DelayedSubmission(self)


class SlurmJob(NamedTuple):
    """A group as a job of submitit."""

    job: Any
    engine: SlurmCluster

    def ending(self) -> Ending | None:
        """Return how the job ended, or None while it waits or runs."""
        if not self.engine.has_ended(self.job):
            return None
        log = self.job.paths.stderr
        has_died = not self.job.paths.result_pickle.exists()
        reason = f"its job {self.job.job_id} ended without a result; see {log}"
        return Ending(reason, has_died, 0.0 if has_died else SHARED_DISK_SECONDS)


class SlurmCluster:
    """Engine of SLURM, or of submitit's processes on this machine."""

    is_here = False
    place = " on SLURM"
    slots = None

    def __init__(self, options: PopulationOptions, sweep: Path) -> None:
        """Prepare jobs whose files are in a sweep's folder."""
        self._options, self._folder = options, (sweep / FOLDER).absolute()
        self._cluster, self._is_stopping = options.slurm.cluster, False
        self._files: set[str] = set()
        # Nobody knows how many jobs SLURM will start at once.
        self.parallel = 1 if options.processes == "auto" else int(options.processes)

    def start(self, groups: Sequence[Group]) -> Sequence[Placed]:
        """Submit the first groups as one array."""
        counts = [thread_count(group[0].settings, len(group) + 1) for group in groups]
        same = [count == counts[0] for count in counts]
        size = min(same.index(False) if False in same else len(same), LARGEST_ARRAY)
        arrays = -(-len(groups) // size)
        executor = self._executor(counts[0], size, arrays)
        tasks = [GroupTask(Parcel.pack(group, counts[0])) for group in groups[:size]]
        with interrupts_blocked(), executor.batch():
            jobs = [executor.submit(task) for task in tasks]
        print(f"job {jobs[0].job_id.split('_')[0]} of {size} groups; logs in {self._folder}")
        return [SlurmJob(job, self) for job in jobs]

    def _executor(self, threads: int, groups: int, arrays: int) -> Any:
        """Return what submits an array of so many groups, one of so many arrays."""
        keys, processes = self._options.slurm, self._options.processes
        parallel = groups if processes == "auto" else max(int(processes) // arrays, 1)
        own = {"slurm_partition": keys.partition, "slurm_account": keys.account}
        parameters = {
            "name": "dqn-train",
            "timeout_min": keys.time,
            "mem_gb": keys.mem,
            "cpus_per_task": threads,
            "gpus_per_node": int(self._options.gpus) or None,
            "slurm_array_parallelism": parallel,
            **{key: value for key, value in own.items() if value is not None},
            **keys.additional,
        }
        retries = {f"{self._cluster}_max_num_timeout": self._options.retries}
        executor = submitit.AutoExecutor(self._folder, cluster=self._cluster, **retries)
        try:
            executor.update_parameters(**parameters)
        except (NameError, ValueError, TypeError, AssertionError) as error:
            reason = one_line(error)
            raise ConfigError(f"hydra.launcher.slurm: submitit refuses it: {reason}") from error
        return executor

    def has_ended(self, job: Any) -> bool:
        """Return whether a job will never run again."""
        if self._cluster == "local":
            return bool(job.done())
        # One look at the folder for all jobs: submitit's own would write to a shared disk for each.
        return job.paths.result_pickle.name in self._files or job.watcher.is_done(job.job_id)

    def wait(self, running: Sequence[Placed]) -> None:
        """Wait a moment, and look which jobs have ended."""
        time.sleep(POLL_SECONDS[self._cluster])
        if self._cluster == "slurm":
            self._files = {path.name for path in self._folder.iterdir()}
            if self._is_stopping:
                for job in _jobs(running)[:1]:
                    job.watcher.update()  # one call of sacct for all jobs

    def stop(self, running: Sequence[Placed]) -> None:
        """Cancel the jobs; SLURM sends SIGTERM and waits before it kills."""
        self._is_stopping = True
        self._cancel(running)

    def _cancel(self, running: Sequence[Placed], *flags: str) -> None:
        numbers = [job.job_id.partition("_")[0] for job in _jobs(running)]
        if self._cluster == "slurm":
            subprocess.run(["scancel", *flags, *dict.fromkeys(numbers)], check=False)
            return
        for number in numbers:
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGTERM)  # of submitit's controller, which passes it on

    def kill(self, running: Sequence[Placed]) -> None:
        """End the jobs at once."""
        if self._cluster == "slurm":
            if running and not self._is_stopping:
                self._cancel(running)
            return
        for job in _jobs(running):
            with suppress(psutil.Error):
                controller = psutil.Process(int(job.job_id))
                for process in [*controller.children(recursive=True), controller]:
                    process.kill()


def _jobs(running: Sequence[Placed]) -> list[Any]:
    return [placed.job for placed in running if isinstance(placed, SlurmJob)]
