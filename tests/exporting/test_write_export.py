from __future__ import annotations

import errno
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from policies_to_export import random_policy, save_policy, words_of

import dqn_cli
from dqn_cli.config.validation import ConfigError
from dqn_cli.exporting import agreement
from dqn_cli.exporting.agreement import Difference
from dqn_cli.exporting.write_export import Export, check_extras, new_folder, write_export
from dqn_cli.policies import find_checkpoint, load_greedy_policy
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]
MODULES = ["parts", "pictures"]
needs_safetensors = pytest.mark.skipif(
    find_spec("safetensors") is None, reason="needs the extra export"
)


@pytest.fixture
def checkpoint(settings_of: SettingsOf, tmp_path: Path) -> Path:
    settings = settings_of(*words_of("multi", "iqn", "running"))
    return save_policy(tmp_path / "checkpoints" / "best", settings, random_policy(settings))


@needs_safetensors
def test_weights_are_read_back_as_the_same_policy(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    export = write_export(checkpoint, ["safetensors"], out, MODULES, observations=12)
    assert sorted(path.name for path in out.iterdir()) == ["model.safetensors", "policy.json"]
    assert export.agreements["model.safetensors"].largest < 1e-6
    described = json.loads((out / "policy.json").read_text())
    assert described["compared"]["model.safetensors"]["observations"] == 12
    assert described["env"] == "parts:Parts-v0"
    assert [port["name"] for port in described["inputs"]] == [
        "observation.picture",
        "observation.numbers",
    ]
    weights = find_checkpoint(out)
    assert find_checkpoint(out / "policy.json") == weights
    (settings, restored), (own_settings, own) = map(load_greedy_policy, (weights, checkpoint))
    assert settings == own_settings
    assert restored.model == own.model
    assert torch.equal(restored.parameters, own.parameters)
    observation = {
        "picture": np.full((12, 12, 1), 9, np.uint8),
        "numbers": np.array([1, -1, 2], np.float32),
    }
    assert dqn_cli.load_policy(out)(observation) == dqn_cli.load_policy(checkpoint)(observation)


def refused(out: Path, message: str) -> None:
    with pytest.raises(ConfigError, match=message), new_folder(out):
        pytest.fail("there is a folder")


def test_a_folder_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"

    def stopped() -> None:
        with new_folder(out) as folder:
            (folder / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(out.parent.iterdir()) == []
    with new_folder(out) as folder:
        (folder / "whole").touch()
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["whole"]
    refused(out, "out exists already: name another folder")
    refused(out / "whole", "exists already")
    refused(out / "whole" / "inside", "can't write there: Not a directory")
    assert list(out.parent.iterdir()) == [out]


@needs_safetensors
def test_what_differs_is_not_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(agreement.TOLERANCES, "float32", -1.0)
    with pytest.raises(Difference, match=r"^model.safetensors differs from the checkpoint: Q"):
        write_export(checkpoint, ["safetensors"], tmp_path / "export", MODULES, observations=2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_code_is_only_imported_if_it_is_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="add import=parts"):
        write_export(checkpoint, ["torch"], tmp_path / "export", [], observations=2)


def test_a_missing_extra_is_named_before_anything_is_done(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dqn_cli.exporting.write_export.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"format=onnx needs an extra: pip install 'dqn-train\["):
        write_export(checkpoint, ["onnx"], tmp_path / "export", MODULES)
    check_extras(["torch"])
    assert not (tmp_path / "export").exists()


@needs_safetensors
def test_more_files_come_into_the_same_folder(checkpoint: Path, tmp_path: Path) -> None:
    def finish(folder: Path, export: Export) -> None:
        assert export.checkpoint == checkpoint
        (folder / "more").write_text("text")

    out = tmp_path / "export"
    write_export(checkpoint, ["safetensors"], out, MODULES, observations=1, finish=finish)
    assert (out / "more").read_text() == "text"


def test_a_full_disk_is_named_by_the_folder(tmp_path: Path) -> None:
    def full() -> None:
        with new_folder(tmp_path / "out"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*out"):
        full()
    assert list(tmp_path.iterdir()) == []
