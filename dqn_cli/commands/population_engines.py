"""Engines: where the groups of a population train."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from dqn_cli.commands.population_options import PREFIX, On, PopulationOptions
from dqn_cli.runs.job import Job

Group = Sequence[Job]
SHARED_DISK_SECONDS = 60.0  # after which a network file system shows a new file
PACKAGES = {On.ray: "ray", On.slurm: "submitit"}


class Ending(NamedTuple):
    """How a group ended; the reason counts for its jobs without a result."""

    reason: str
    goes_on: bool = False  # True if it was killed, so that resuming may help
    patience: float = 0.0  # seconds until results that it wrote elsewhere are seen here


class Placed(Protocol):
    """A group that trains somewhere."""

    def ending(self) -> Ending | None:
        """Return how it ended, or None while it trains."""


class Engine(Protocol):
    """Where groups train."""

    @property
    def is_here(self) -> bool:
        """True if a single group may train in this process instead."""

    @property
    def place(self) -> str:
        """Text that says where groups train, such as ` on Ray`; empty for this machine."""

    @property
    def slots(self) -> int | None:
        """Groups that may be placed at once, or None if others queue them."""

    @property
    def parallel(self) -> int:
        """Groups that train at once, so that no core is idle; 1 if nobody knows."""

    def start(self, groups: Sequence[Group]) -> Sequence[Placed]:
        """Start the first groups, one or more, and return them in order."""

    def wait(self, running: Sequence[Placed]) -> None:
        """Wait a moment, or until a group ends."""

    def stop(self, running: Sequence[Placed]) -> None:
        """Let groups write their checkpoints and end; those that have not begun never do."""

    def kill(self, running: Sequence[Placed]) -> None:
        """End groups at once, without a checkpoint."""


def connect(options: PopulationOptions, stack: ExitStack) -> None:
    """Check that groups can train where the options say, and connect to it until the stack closes.

    Raises:
        ConfigError: There is no such cluster.
        ImportError: Its package is not installed.
    """
    if options.on in PACKAGES and find_spec(PACKAGES[options.on]) is None:
        name = options.on.name
        raise ImportError(f"{PREFIX}on={name} needs an extra: pip install 'dqn-train[{name}]'")
    if options.on is On.ray:
        from dqn_cli.commands.population_ray import connect_ray

        connect_ray(options.ray, stack)
    if options.on is On.slurm:
        from dqn_cli.commands.population_slurm import check_slurm

        check_slurm(options)


def open_engine(options: PopulationOptions, threads: int | str, sweep: Path) -> Engine:
    """Return where a sweep's groups train, once it is connected.

    Args:
        options: Options of the launcher.
        threads: The setting of most jobs.
        sweep: Folder of the sweep.
    """
    if options.on is On.ray:
        from dqn_cli.commands.population_ray import RayCluster

        return RayCluster(options, threads)
    if options.on is On.slurm:
        from dqn_cli.commands.population_slurm import SlurmCluster

        return SlurmCluster(options, sweep)
    from dqn_cli.commands.population_processes import Processes, available_processes

    count = options.processes
    return Processes(available_processes(threads) if count == "auto" else int(count))
