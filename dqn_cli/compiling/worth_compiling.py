"""The decision whether a run is compiled, by its settings alone."""

from __future__ import annotations

from dqn_cli.training.devices import torch_device
from dqn_cli.training.settings import Settings

# Updates of a run for which compiling saves more time than it takes: of a lone run, and of several
# members side by side.
WORTH_COMPILING = 20_000
WORTH_COMPILING_TOGETHER = 10_000


def worth_compiling(settings: Settings, members: int = 1) -> bool:
    """Return whether updates run as compiled code; `auto` means where it saves time."""
    if settings.compile != "auto":
        return settings.compile is True
    enough = WORTH_COMPILING if members == 1 else WORTH_COMPILING_TOGETHER
    updates = settings.horizon.updates + settings.data.pretrain
    return can_compile(settings) and updates >= enough


def can_compile(settings: Settings) -> bool:
    """Return whether updates can be compiled for the device of these settings."""
    return torch_device(settings.device, settings.network.is_large).type == "cpu"
