from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.agent.spaces import VECTOR, Part, Spaces
from dqn_cli.runs.exported_files import (
    DESCRIPTION,
    WEIGHTS,
    architecture,
    exported_weights,
    is_exported,
    load_exported,
    save_weights,
)
from dqn_cli.storage import CheckpointError, write_json

pytest.importorskip("safetensors")

LAYOUT: Layout = {
    "torso.0.weight": Parameter((2, 3), 0, 0),
    "advantage.bias": Parameter((3,), 0, 0),
}
BOX = {"type": "Box", "shape": [2], "dtype": "float32"}
OWN = {"type": "Dict", "parts": {1: BOX, "b": {"type": "Tuple", "parts": [BOX, BOX]}}}
SPACES = Spaces(
    (Part("1", VECTOR, (2,), (-math.inf, 0.0), (1.0, math.inf), False),),
    3,
    0,
    OWN,
    {"type": "Discrete", "n": 3, "start": 0},
)
DATA: dict[str, Any] = {
    "settings": {"type": "Settings", "gamma": 0.99},
    "spaces": SPACES.plain(),
    "clock": (10, 5, 2),
    "versions": {"torch": "2"},
    "parameters": torch.arange(9.0),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    described = {"schema": 1, "architecture": architecture(DATA, LAYOUT)}
    write_json(tmp_path / DESCRIPTION, described)
    save_weights(tmp_path / WEIGHTS, DATA["parameters"], LAYOUT)
    return tmp_path


def test_a_policy_is_read_back_as_a_checkpoint_has_it(folder: Path) -> None:
    found = load_exported(folder / WEIGHTS)
    assert torch.equal(found["parameters"], DATA["parameters"])
    assert found["spaces"] == DATA["spaces"]
    assert list(found["spaces"][3]["parts"]) == [1, "b"]
    assert found["settings"] == DATA["settings"]
    assert found["shapes"] == {"torso.0.weight": [2, 3], "advantage.bias": [3]}


def test_a_folder_is_named_by_any_file_in_it(folder: Path) -> None:
    for path in (folder, folder / WEIGHTS, folder / DESCRIPTION):
        assert is_exported(path)
        assert exported_weights(path) == folder / WEIGHTS
    assert not is_exported(folder / "missing")
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors: export with format="):
        exported_weights(folder)


def edited(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / DESCRIPTION).read_text())
    change(data)
    (folder / DESCRIPTION).write_text(json.dumps(data))


def without_parts(data: dict[str, Any]) -> None:
    data["architecture"]["spaces"]["own_observations"]["parts"] = 3


def longer(data: dict[str, Any]) -> None:
    data["architecture"]["parameters"]["advantage.bias"] = [4]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.update(schema=2), "schema is 2"),
        (lambda data: data.pop("architecture"), "architecture is missing"),
        (lambda data: data["architecture"].pop("settings"), "architecture.settings is missing"),
        (lambda data: data["architecture"].update(spaces=[]), "spaces must have named fields"),
        (without_parts, "own_observations.parts must be a list"),
        (longer, "has other parameters than policy.json names"),
    ],
)
def test_a_changed_description_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    edited(folder, change)
    with pytest.raises(CheckpointError, match=told):
        load_exported(folder / WEIGHTS)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b'\x08\0\0\0\0\0\0\0{"a": 1'])
def test_damaged_weights_are_refused(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match="can't be read"):
        load_exported(folder / WEIGHTS)


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.runs.exported_files.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"pip install 'dqn-train\[export\]'"):
        load_exported(folder / WEIGHTS)
