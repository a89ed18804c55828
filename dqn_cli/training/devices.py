"""Devices and threads that a run computes with."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import torch

from dqn_cli.hardware import available_cores, wanted_threads
from dqn_cli.training.settings import Device, Settings

MOST_THREADS = 4096
AVAILABLE: dict[Device, Callable[[], bool]] = {
    Device.cpu: lambda: True,
    Device.cuda: torch.cuda.is_available,
    Device.mps: torch.backends.mps.is_available,
}


def torch_device(device: Device, large: bool = False, key: str = "device") -> torch.device:
    """Return the device for a setting; `auto` is the CPU, or CUDA if there is one for images.

    Args:
        device: The setting.
        large: True if the network is large.
        key: Configuration key of the setting, for the error message.

    Raises:
        ValueError: If there is no such device.
    """
    wanted = device
    if device is Device.auto:
        wanted = Device.cuda if large and AVAILABLE[Device.cuda]() else Device.cpu
    if not AVAILABLE[wanted]():
        raise ValueError(f"{key}={wanted.name}: there is no such device here; use {key}=cpu")
    return torch.device(wanted.name)


def thread_count(settings: Settings, members: int) -> int:
    """Return the number of CPU threads for a run of so many members.

    `auto` is one, or two for a lone run with a large network, unless OMP_NUM_THREADS is one.
    """
    if settings.threads != "auto":
        return int(settings.threads)
    # Runs that share cores would wait for each other's threads, which costs more than two threads
    # gain. The processes of a population share cores too.
    alone = members == 1 and multiprocessing.parent_process() is None
    if not alone or not settings.network.is_large:
        return 1
    return min(2, available_cores(), wanted_threads() or 2)
