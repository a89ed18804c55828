from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from policies_to_export import random_policy, words_of

from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.hub_card import card, metadata
from dqn_cli.exporting.policy_description import inside, outside
from dqn_cli.exporting.write_export import Export
from dqn_cli.training.settings import Settings

EVALUATION: dict[str, Any] = {
    "episodes": 20, "seed": 3, "mean": 5.25, "std": 1.5, "iqm": 5.0, "iqm_ci95": [4.0, 6.0],
    "min": 2.0, "max": 9.0, "protocol": {"policy": "greedy", "max_episode_steps": 1000},
}  # fmt: skip


@pytest.fixture(scope="module")
def export(settings_of: Callable[..., Settings]) -> Export:
    settings = settings_of(*words_of("lstm", "scalar", "running"))
    policy = ExportedPolicy(random_policy(settings), settings.env, has_mask=True)
    description = {
        "inputs": [port.described() for port in policy.inputs],
        "inside": inside(policy, settings),
        "outside": outside(policy, settings),
    }
    return Export(Path("best"), settings, policy, description, {})


def test_metadata_tell_the_mean_the_deviation_and_the_protocol(export: Export) -> None:
    (model,) = metadata(export.settings, EVALUATION)["model-index"]
    (result,) = model["results"]
    (metric,) = result["metrics"]
    assert result["dataset"]["name"] == "parts:Parts-v0"
    assert metric["value"] == "5.25 +/- 1.50"
    assert metric["args"] == {
        "policy": "greedy",
        "max_episode_steps": 1000,
        "episodes": 20,
        "seed": 3,
    }


def test_a_card_shows_result_pictures_inputs_and_files(export: Export) -> None:
    text = card(export, EVALUATION, ["model.onnx", "curve.png", "replay.mp4", "unknown"])
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "dqn-train"
    assert "| 20 | 5.25 | 1.50 | 5.00 (4.00 to 6.00) | 2.00 | 9.00 |" in body
    assert "![the learning curve](curve.png)" in body
    assert "[a film](replay.mp4)" in body
    assert "unknown" not in body
    assert "action, q_values, next_state = policy.run(None, inputs)" in body
    assert '"observation.picture": np.zeros([1, 12, 12, 1], np.uint8),' in body
    assert '"action_mask": np.ones([1, 2], np.bool),' in body
    assert '"state": np.zeros([1, 16], np.float32),' in body
    assert "- the recurrent cell; its state goes in and comes out" in body
