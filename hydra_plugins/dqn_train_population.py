"""Hydra launcher `population`: train the jobs of a sweep side by side.

Every Hydra application in the user's environment imports this module. So it imports only Hydra, and
dqn-train not before a sweep starts.
"""

# No `from __future__ import annotations`: Hydra runs this before the module is in sys.modules.
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class RayConfig:
    """Keys of `hydra.launcher.ray`."""

    address: Any = "auto"  # of the head node; auto: RAY_ADDRESS or this machine's; local: a new one
    init: dict[str, Any] = field(default_factory=dict)  # further arguments of ray.init


@dataclass
class SlurmConfig:
    """Keys of `hydra.launcher.slurm`."""

    cluster: Any = "slurm"  # slurm | local: processes of this machine, to try it
    partition: Any = None  # null: the cluster's default
    account: Any = None  # that is billed
    time: Any = 60  # minutes after which a group is requeued and goes on
    mem: Any = 4  # GB of a group
    additional: dict[str, Any] = field(default_factory=dict)  # of submitit, as slurm_qos: long


@dataclass
class PopulationConfig:
    """Keys of `hydra.launcher`."""

    _target_: str = "hydra_plugins.dqn_train_population.PopulationLauncher"
    processes: Any = "auto"  # groups that train at once; auto: one for each core
    members: Any = 16  # largest number of jobs in a group
    on: Any = "local"  # local | ray | slurm: where groups train
    gpus: Any = 0  # of each group, with ray and slurm
    retries: Any = 10  # times that a group goes on after its machine was lost or its time was up
    ray: RayConfig = field(default_factory=RayConfig)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)


class PopulationLauncher(Launcher):
    """Adapter from Hydra's launcher to dqn_cli.commands.population_launcher."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep the arguments that compose the jobs."""
        self._context, self._config = hydra_context, config
        if "dqn_cli" in sys.modules:
            from dqn_cli.commands.compose_once import compose_once

            compose_once(hydra_context)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train all jobs and return after the last one."""
        if "dqn_cli" not in sys.modules:
            raise ValueError("hydra/launcher=population works only in dqn-train")
        from dqn_cli.commands.population_launcher import launch

        return launch(self._context, self._config, job_overrides, initial_job_idx, self._options)


ConfigStore.instance().store(
    group="hydra/launcher", name="population", node=PopulationConfig, provider="dqn-train"
)
