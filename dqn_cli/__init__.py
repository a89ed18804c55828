"""dqn-train: deep Q-networks from composable parts.

`dqn_cli.load_policy(path)(observation)` is the greedy action of a trained agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dqn_cli.config.registry import register
    from dqn_cli.part_checking.check_part import check_part
    from dqn_cli.policies import load_policy

__version__ = "0.1.0"
__all__ = ["__version__", "check_part", "load_policy", "register"]


def __getattr__(name: str) -> object:
    # Imported on demand: `dqn-train --help` must not wait for torch.
    if name == "load_policy":
        from dqn_cli.policies import load_policy

        return load_policy
    if name == "register":
        from dqn_cli.config.registry import register

        return register
    if name == "check_part":
        from dqn_cli.part_checking.check_part import check_part

        return check_part
    raise AttributeError(f"module 'dqn_cli' has no attribute '{name}'")
