"""The Hydra application behind `dqn-train`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from dqn_cli.commands.arguments import flags_first


def run_hydra(arguments: Sequence[str], job: Callable[[Any], Any]) -> int:
    """Let Hydra compose a configuration and call the job with it, once or for each of a sweep."""
    import hydra

    from dqn_cli.config.hydra_versions import main_arguments
    from dqn_cli.config.paths import config_folder

    sys.argv[1:] = flags_first(arguments)
    hydra.main(str(config_folder()), "config", **main_arguments())(job)()
    return 0
