"""`hydra/launcher=population`: trains a sweep's jobs side by side.

Every Hydra application in the user's environment imports this module, so it imports nothing but
Hydra, and nothing of dqn-train before a sweep asks for it.
"""

# No `from __future__ import annotations`: Hydra runs this before the module is in sys.modules.
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class PopulationConfig:
    """What `hydra.launcher` holds."""

    _target_: str = "hydra_plugins.dqn_train_population.PopulationLauncher"
    processes: Any = "auto"  # at most so many groups train at once; auto: one for each core
    members: Any = 16  # at most so many jobs in one group


class PopulationLauncher(Launcher):
    """Hydra's side of a population; dqn_cli.commands.population_launcher does the work."""

    def __init__(self, processes: Any, members: Any) -> None:
        self._processes, self._members = processes, members

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Remembers what jobs are composed from."""
        self._context, self._config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Trains all jobs, and returns when the last has ended."""
        if "dqn_cli" not in sys.modules:
            raise ValueError("hydra/launcher=population is for dqn-train alone")
        from dqn_cli.commands.population_launcher import launch

        return launch(
            self._context,
            self._config,
            job_overrides,
            initial_job_idx,
            self._processes,
            self._members,
        )


ConfigStore.instance().store(
    group="hydra/launcher", name="population", node=PopulationConfig, provider="dqn-train"
)
