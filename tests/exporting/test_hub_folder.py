from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from policies_to_export import random_policy, save_policy

from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.exporting.hub_folder import HubFiles, run_of
from dqn_cli.exporting.write_export import write_export
from dqn_cli.policies import evaluate_checkpoint
from dqn_cli.storage import write_json
from dqn_cli.training.settings import Settings

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def checkpoint(
    settings_of: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    settings = settings_of("env=CartPole-v1", "agent=dqn", "network.widths=[8]")
    folder = tmp_path_factory.mktemp("run")
    return save_policy(folder / "checkpoints" / "best", settings, random_policy(settings))


@pytest.fixture(scope="module")
def folder(checkpoint: Path) -> Path:
    """A hub's folder; without ONNX, which the command adds."""
    out = checkpoint.parents[1] / "hub"
    (checkpoint.parent / "greedy-episode-0.mp4").write_bytes(b"film")
    finish = HubFiles(3, []).write
    write_export(checkpoint, ["safetensors"], out, [], observations=2, finish=finish)
    return out


def test_a_folder_has_all_that_is_known(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md", "model.safetensors", "policy.json", "config.yaml", "evaluation.json",
        "replay.mp4",
    }  # fmt: skip
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["episodes"] == 3
    assert evaluation["checkpoint"] == "model.safetensors"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored_settings(config).env.id == "CartPole-v1"


def test_nothing_names_a_folder_of_this_machine(folder: Path) -> None:
    for path in folder.iterdir():
        assert str(folder.parent).encode() not in path.read_bytes(), path.name


def test_an_evaluation_of_the_same_checkpoint_is_taken(checkpoint: Path, folder: Path) -> None:
    report = evaluate_checkpoint(checkpoint, 2, 7, [])
    file = checkpoint.with_name("evaluation.json")
    for name, changed, seed in (("same", {}, 7), ("other", {"checkpoint_sha256": "0"}, 0)):
        write_json(file, report | changed)
        out = folder.with_name(name)
        finish = HubFiles(3, []).write
        write_export(checkpoint, ["safetensors"], out, [], observations=2, finish=finish)
        assert json.loads((out / "evaluation.json").read_text())["seed"] == seed


def test_a_run_is_found_around_its_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    assert run_of(tmp_path / "run" / "checkpoints" / "best") == tmp_path / "run"
    assert run_of(tmp_path / "run" / "other" / "best") is None
    assert run_of(tmp_path / "checkpoints" / "best") is None


def test_a_card_is_read_by_the_hub_itself(folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(folder / "README.md")
    evaluation = json.loads((folder / "evaluation.json").read_text())
    data = card.data
    assert data.library_name == "dqn-train"
    assert data.pipeline_tag == "reinforcement-learning"
    assert {"CartPole-v1", "reinforcement-learning"} <= set(data.tags)
    (result,) = data.eval_results
    assert (result.task_type, result.dataset_name) == ("reinforcement-learning", "CartPole-v1")
    assert result.metric_type == "mean_reward"
    assert result.metric_value == f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}"
    assert result.metric_args["episodes"] == 3
    assert result.metric_args["policy"] == "greedy"
    assert yaml.safe_load(data.to_yaml())["model-index"][0]["results"]
