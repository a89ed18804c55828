from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor import config

from dqn_cli.compiling.inductor import OPTIONS, SOONER, exported, traced, write_package


def mean(x: Tensor) -> tuple[Tensor]:
    return (x.mean(0),)


def test_a_graph_and_its_program_compute_the_function() -> None:
    x = torch.randn(4, 3)
    graph = traced(mean, [torch.empty(4, 3)])
    program = exported(graph, [torch.empty(4, 3)])
    assert torch.equal(graph(x)[0], x.mean(0))
    assert torch.equal(program.module()(x)[0], x.mean(0))


def values() -> dict[str, Any]:
    return {name: config.get_config_copy()[name] for name in SOONER}


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_what_cannot_be_compiled_sooner_is_compiled_as_inductor_does_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    attempts, before = list[dict[str, Any]](), values()

    def make(program: Any, package_path: str, inductor_configs: Any) -> None:
        assert inductor_configs == OPTIONS
        attempts.append(values())
        if len(attempts) <= failures:
            raise RuntimeError("no compiler")
        Path(package_path).write_bytes(b"made")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", make)
    program = exported(traced(mean, [torch.ones(2)]), [torch.ones(2)])
    if failures == 2:
        with pytest.raises(RuntimeError, match="no compiler"):
            write_package(program, tmp_path / "a.pt2")
    else:
        write_package(program, tmp_path / "a.pt2")
        assert (tmp_path / "a.pt2").read_bytes() == b"made"
    assert attempts == [SOONER, before][: failures + 1]
    assert values() == before
