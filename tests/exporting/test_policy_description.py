from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from policies_to_export import random_policy, words_of

from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.policy_description import describe, inside, outside, port_line
from dqn_cli.exporting.ports import Port
from dqn_cli.training.settings import Settings, plain

SettingsOf = Callable[..., Settings]


def exported(settings: Settings, has_mask: bool = False) -> ExportedPolicy:
    return ExportedPolicy(random_policy(settings), settings.env, has_mask)


@pytest.mark.parametrize(
    ("words", "does", "leaves"),
    [
        (("mlp", "scalar", "none"), ["the network, and the greedy choice of an action"], []),
        (
            ("nature", "scalar", "none"),
            ["the network, and the greedy choice of an action", "division of pixels by 255"],
            ["stacking the latest 2 observations, with zeros before an episode"],
        ),
        (
            ("lstm", "scalar", "running"),
            [
                "the network, and the greedy choice of an action",
                "parts of observations are encoded and joined",
                "normalization by mean and deviation of training, to at most 10",
                "division of pixels by 255",
                "the recurrent cell; its state goes in and comes out",
            ],
            ["zeros as the state where an episode begins"],
        ),
    ],
)
def test_what_is_inside_and_what_is_not_is_said(
    settings_of: SettingsOf, words: tuple[str, str, str], does: list[str], leaves: list[str]
) -> None:
    settings = settings_of(*words_of(*words))
    policy = exported(settings)
    assert inside(policy, settings) == does
    assert outside(policy, settings) == leaves


def test_preprocessing_and_wrappers_are_left_to_the_environment(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("impala", "scalar"))
    policy = exported(settings)
    image = settings_of("env=ALE/Pong-v5", "protocol=nature").env
    env = replace(
        settings.env, preprocess=image.preprocess, wrappers=["package:Mine"], drop=["mission"]
    )
    told = outside(policy, replace(settings, env=env))
    assert "size=84" in told[0]
    assert "frame_skip=4" in told[0]
    assert told[1] == "the environment's wrappers (package:Mine)"
    assert told[2] == "these parts of observations, which are left out: mission"


def test_a_description_can_be_written_as_json(settings_of: SettingsOf) -> None:
    settings = settings_of("env=CartPole-v1", "agent=dqn", "network.widths=[8]")
    policy = exported(settings, has_mask=True)
    spaces = policy.model.spaces
    data: dict[str, Any] = {
        "settings": plain(settings),
        "spaces": spaces.plain(),
        "clock": (1, 2, 3),
        "versions": {},
    }
    described = describe(policy, settings, data, "0" * 64)
    again = json.loads(json.dumps(described, allow_nan=False))
    assert again["env"] == "CartPole-v1"
    assert [port["name"] for port in again["inputs"]] == ["observation", "action_mask"]
    assert [port["name"] for port in again["outputs"]] == ["action", "q_values"]
    assert list(again["architecture"]["parameters"]) == list(policy.model.layout)


def test_a_port_is_one_line() -> None:
    port = Port("state", torch.float32, (3,), "zeros at first")
    assert port_line(port) == "state float32 [batch, 3]: zeros at first"
    picture = Port("observation", torch.uint8, (8, 8), "picture", (0,), (255,))
    assert port_line(picture) == "observation uint8 [batch, 8, 8]: picture, from 0 to 255"
    vector = Port("observation", torch.float32, (2,), "vector", (0, 1), (2, 3))
    assert port_line(vector).endswith("vector, bounds in policy.json")
