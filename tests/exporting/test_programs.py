from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from policies_to_export import HEADS, NETWORKS, NORMALIZATIONS, OTHERS, random_policy, words_of

from dqn_cli.exporting.agreement import compare
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.observations import play
from dqn_cli.exporting.ports import example
from dqn_cli.exporting.programs import (
    METADATA,
    ConversionError,
    onnx_runner,
    pooled_by_slices,
    program_runner,
    write_onnx,
    write_program,
)
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]
HAS_ONNX = all(map(find_spec, ("onnx", "onnxscript", "onnxruntime")))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs the extra export")


def every_combination() -> Iterator[tuple[str, str, str]]:
    """Yields all that fit together, in an order in which the first few are of all kinds."""
    heads = list(HEADS)
    for turn in range(len(heads) * len(NORMALIZATIONS)):
        for place, name in enumerate(NETWORKS, turn):
            yield name, heads[place % len(heads)], NORMALIZATIONS[place % len(NORMALIZATIONS)]
        for place, name in enumerate(OTHERS if turn < len(heads) else (), turn):
            head = heads[place % len(heads)]
            if not (name.startswith("table") and head in ("iqn", "fqf")):  # a table has no features
                yield name, head, "none"


def check_onnx(settings: Settings, file: Path, count: int) -> None:
    policy = random_policy(settings)
    seen, has_mask = play(settings, policy, count)
    exported = ExportedPolicy(policy, settings.env, has_mask)
    write_onnx(file, exported, "{}")
    agreement = compare(file.name, onnx_runner(file, exported.inputs), exported, seen)
    assert agreement.observations == count
    assert seen.q.std(0).max() > 1e-3  # it tells observations apart


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize(("network", "head", "normalization"), every_combination())
def test_onnx_agrees_for_every_network_head_and_normalization(
    settings_of: SettingsOf, tmp_path: Path, network: str, head: str, normalization: str
) -> None:
    settings = settings_of(*words_of(network, head, normalization))
    check_onnx(settings, tmp_path / "model.onnx", 200)


@needs_onnx
def test_onnx_agrees_on_batches_of_any_length(settings_of: SettingsOf, tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "model.onnx"
    check_onnx(settings_of(*words_of("impala", "scalar")), file, 12)
    model = onnx.load(file)
    for port in [*model.graph.input, *model.graph.output]:
        assert port.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [(METADATA, "{}")]


def test_a_program_of_pytorch_agrees(settings_of: SettingsOf, tmp_path: Path) -> None:
    settings = settings_of(*words_of("gru", "qr", "running"))
    policy, file = random_policy(settings), tmp_path / "model.pt2"
    seen, has_mask = play(settings, policy, 12)
    exported = ExportedPolicy(policy, settings.env, has_mask)
    write_program(file, exported, json.dumps({"env": settings.env.id}))
    assert compare(file.name, program_runner(file), exported, seen).observations == 12
    found = {METADATA: ""}
    program = torch.export.load(file, extra_files=found)
    assert json.loads(found[METADATA]) == {"env": settings.env.id}
    inputs = [example(port, 2) for port in exported.inputs]
    for ours, theirs in zip(exported(*inputs), program.module()(*inputs), strict=True):
        assert torch.allclose(ours, theirs)


def test_a_network_that_cannot_be_traced_is_one_line(
    settings_of: SettingsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(*words_of("mlp", "scalar"))
    exported = ExportedPolicy(random_policy(settings), settings.env, has_mask=False)

    def forward(self: Any, *tensors: torch.Tensor) -> Any:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(ExportedPolicy, "forward", forward)
    with pytest.raises(ConversionError, match=r"^format=torch can't hold this network: first line"):
        write_program(tmp_path / "model.pt2", exported, "{}")
    assert not (tmp_path / "model.pt2").exists()


@pytest.mark.parametrize("sizes", [(11, 13), (6, 6), (1, 4), (7, 2)])
@pytest.mark.parametrize("pool", [(6, 6), (1, 1), (2, 5)])
def test_pooling_by_slices_has_the_bits_of_adaptive_pooling(
    sizes: tuple[int, int], pool: tuple[int, int]
) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *sizes)))
    assert torch.equal(pooled_by_slices(x, pool)[0], F.adaptive_max_pool2d(x, pool))
