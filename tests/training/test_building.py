from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from dqn_cli.training.building import build_run, torch_device
from dqn_cli.training.settings import Device, Settings


def test_a_run_starts_with_the_shapes_its_settings_ask_for(
    settings_of: Callable[..., Settings],
) -> None:
    words = ("env.num_envs=3", "network.widths=[8]", "replay.capacity=90", "dtype=float64")
    agent, run = build_run(settings_of(*words))
    run.envs.close()
    assert run.envs.obs.shape == (1, 3, 4)
    assert run.stream.capacity == 30
    assert run.learner.state.parameters.shape == (1, 4 * 8 + 8 + 8 * 2 + 2)
    assert run.learner.state.parameters.dtype == torch.float64
    assert agent.spaces.actions == 2


def test_auto_takes_the_cpu_and_a_missing_device_is_refused() -> None:
    assert torch_device(Device.auto) == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device=cuda"):
            torch_device(Device.cuda)
