"""Hydra sweeper `search`: find hyperparameters with Optuna.

Every Hydra application in the user's environment imports this module. So it imports only Hydra, and
dqn-train and Optuna not before a search starts.
"""

# No `from __future__ import annotations`: Hydra runs this before the module is in sys.modules.
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SearchConfig:
    """Keys of `hydra.sweeper`."""

    _target_: str = "hydra_plugins.dqn_train_search.SearchSweeper"
    trials: Any = 40  # in all, those of earlier commands in this folder included
    seeds: Any = 3  # runs of a trial, with seeds 0, 1, ...
    extra_seeds: Any = 0  # more of them at each rung that a trial passes
    batch: Any = 8  # trials that are launched at once
    objective: Any = "final"  # final | best | mean: which evaluations of a run count
    sampler: Any = "tpe"  # tpe | random
    pruner: Any = "halving"  # halving | none: whether the worst trials stop early
    rungs: Any = field(default_factory=lambda: [0.1, 0.3])  # shares of steps where some stop
    reduction: Any = 3  # one of so many goes on
    finalists: Any = 3  # best trials that are judged again
    fresh_seeds: Any = 10  # runs of each of them
    params: dict[str, Any] = field(default_factory=dict)  # spaces, as they are typed


class SearchSweeper(Sweeper):
    """Adapter from Hydra's sweeper to dqn_cli.commands.search."""

    def __init__(self, params: Any, **options: Any) -> None:
        self._params, self._options = params, options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what composes jobs, and make the launcher that trains them."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        """Search, and return after the best trials were judged again."""
        if "dqn_cli" not in sys.modules:
            raise ValueError("hydra/sweeper=search works only in dqn-train")
        if find_spec("optuna") is None:
            raise ImportError("a search needs an extra: pip install 'dqn-train[search]'")
        from dqn_cli.commands.search import search

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        search(
            self.hydra_context,
            self.config,
            self.launcher,
            self._options,
            self._params,
            list(arguments),
        )


ConfigStore.instance().store(
    group="hydra/sweeper", name="search", node=SearchConfig, provider="dqn-train"
)
