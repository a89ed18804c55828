from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from policies_to_export import HEADS, NETWORKS, OTHERS, random_policy, words_of

from dqn_cli.deployed_policy import Policy
from dqn_cli.exporting.agreement import compare
from dqn_cli.exporting.exported_policy import ExportedPolicy, with_full_precision
from dqn_cli.exporting.observations import play
from dqn_cli.exporting.programs import module_runner
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]
COMBINATIONS = [
    *((name, "scalar", "running") for name in NETWORKS),
    *((name, "scalar", "none") for name in OTHERS),
    *(("multi", head, "bounds") for head in HEADS),
]


@pytest.mark.parametrize(("network", "head", "normalization"), COMBINATIONS)
def test_it_agrees_with_the_policy_of_training(
    settings_of: SettingsOf, network: str, head: str, normalization: str
) -> None:
    settings = settings_of(*words_of(network, head, normalization))
    policy = random_policy(settings)
    seen, has_mask = play(settings, policy, 12)
    exported = ExportedPolicy(policy, settings.env, has_mask)
    agreement = compare("module", module_runner(exported), exported, seen)
    assert agreement.ties == 0
    assert agreement.largest < 1e-4


def test_it_acts_as_load_policy_does(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("lstm", "scalar", "running"))
    policy = random_policy(settings)
    exported = ExportedPolicy(policy, settings.env, has_mask=False)
    loaded = Policy(policy)
    from parts import Parts

    env = Parts()
    observation, _ = env.reset(seed=0)
    state, chosen = torch.zeros(1, 16), []
    for _ in range(8):
        named = {f"observation.{name}": part for name, part in observation.items()}
        inputs = [torch.from_numpy(named[port.name][None]) for port in exported.inputs[:-1]]
        action, _, state = exported(*inputs, state)
        assert action.tolist() == [loaded(observation)]
        chosen.append(action.item())
        observation, *_ = env.step(action.item())


def test_the_mask_is_obeyed_row_by_row(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("mlp", "scalar"))
    exported = ExportedPolicy(random_policy(settings), settings.env, has_mask=True)
    assert [port.name for port in exported.inputs] == ["observation", "action_mask"]
    observations = torch.randn(3, 6)
    action, q = exported(observations, torch.eye(3, dtype=torch.bool))
    assert action.tolist() == [0, 1, 2]
    every = torch.ones(3, 3, dtype=torch.bool)
    assert exported(observations, every)[0].tolist() == q.argmax(1).tolist()


def test_noise_scales_are_left_out(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("noisy", "scalar"))
    exported = ExportedPolicy(random_policy(settings), settings.env, has_mask=False)
    names = [name for name, _ in exported.named_buffers()]
    assert "advantage_out_weight" in names
    assert not [name for name in names if "sigma" in name]


def test_layers_of_bfloat16_compute_in_full_precision(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("nature", "scalar"))
    policy = random_policy(settings)
    half: dict[str, Any] = {"bfloat16": True}
    model = replace(policy.model, network=replace(policy.model.network, **half))
    exported = ExportedPolicy(replace(policy, model=model), settings.env, has_mask=False)
    assert exported.was_bfloat16
    assert exported.model == policy.model == with_full_precision(model)


def test_a_mask_is_an_input_where_the_environment_has_one(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("mlp", "scalar"))
    seen, has_mask = play(settings, random_policy(settings), 2)
    assert not has_mask
    assert np.array_equal(seen.mask, np.ones((2, 3), bool))
