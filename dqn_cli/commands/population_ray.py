"""Groups of a population on a Ray cluster: each is a task that begins again where it was lost."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import ray

from dqn_cli.commands.population_engines import SHARED_DISK_SECONDS, Ending, Group, Placed
from dqn_cli.commands.population_options import PopulationOptions, RayOptions
from dqn_cli.commands.population_work import Parcel
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.text import one_line
from dqn_cli.training.devices import thread_count

POLL_SECONDS = 0.2
STORE_BYTES = 100_000_000  # groups travel as some kilobytes, and results by the shared disk
CANCELLED = 128 + signal.SIGINT


def connect_ray(options: RayOptions, stack: ExitStack) -> None:
    """Connect to a cluster until the stack closes, unless this process is connected.

    Raises:
        ConfigError: There is no such cluster.
    """
    if ray.is_initialized():
        return
    arguments: dict[str, Any] = {"logging_level": "WARNING"}
    if options.address == "local":
        arguments |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=options.address, **(arguments | dict(options.init)))
    except (ConnectionError, ValueError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"hydra.launcher.ray.address={options.address}: {one_line(error)}; start a cluster with"
            " `ray start --head`, or use hydra.launcher.ray.address=local"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own ends the process at once
    stack.callback(ray.shutdown)


class Task(NamedTuple):
    """A group as a task of Ray."""

    reference: Any

    def ending(self) -> Ending | None:
        """Return how the task ended, or None while it waits or runs."""
        if not ray.wait([self.reference], timeout=0)[0]:
            return None
        try:
            ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            return Ending(f"its task failed: {one_line(cause)}", isinstance(cause, Interrupted))
        except ray.exceptions.RayError as error:
            return Ending(f"its worker was lost too often: {one_line(error)}", goes_on=True)
        return Ending("its task ended without a result", patience=SHARED_DISK_SECONDS)


class RayCluster:
    """Engine of a Ray cluster."""

    is_here = False
    place = " on Ray"

    def __init__(self, options: PopulationOptions, threads: int | str) -> None:
        """Prepare tasks of jobs with such a setting of threads."""
        self._options = options
        self.slots = None if options.processes == "auto" else int(options.processes)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.parallel = self.slots or max(cores // (1 if threads == "auto" else int(threads)), 1)

    def start(self, groups: Sequence[Group]) -> Sequence[Placed]:
        """Submit all groups; Ray queues them until there are cores."""
        return [Task(self._submit(group)) for group in groups]

    def _submit(self, group: Group) -> Any:
        parcel = Parcel.pack(group, thread_count(group[0].settings, len(group) + 1))
        task = ray.remote(train_parcel).options(
            name=parcel.title,
            num_cpus=parcel.threads,
            num_gpus=self._options.gpus,
            max_retries=self._options.retries,
            retry_exceptions=[Interrupted],
        )
        return task.remote(parcel)

    def wait(self, running: Sequence[Placed]) -> None:
        """Wait a moment, or until a task ends."""
        ray.wait(_references(running), timeout=POLL_SECONDS)

    def stop(self, running: Sequence[Placed]) -> None:
        """Take waiting tasks out of the queue, and let the others hear a Ctrl-C."""
        for reference in _references(running):
            ray.cancel(reference)

    def kill(self, running: Sequence[Placed]) -> None:
        """End the workers of all tasks."""
        for reference in _references(running):
            ray.cancel(reference, force=True)


def _references(running: Sequence[Placed]) -> list[Any]:
    return [placed.reference for placed in running if isinstance(placed, Task)]


def train_parcel(parcel: Parcel) -> None:
    """Train a group; the function of a task.

    Raises:
        Interrupted: The machine is taken away, so Ray shall start the task elsewhere.
    """
    exit_code = parcel.train()
    if exit_code not in (0, CANCELLED):
        raise Interrupted(exit_code)
