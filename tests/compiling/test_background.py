from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from dqn_cli.compiling import background, code_cache
from dqn_cli.compiling.background import Background
from dqn_cli.compiling.inductor import exported, traced, write_package

INPUTS = [torch.ones(3, 5), torch.ones(1000, 5, dtype=torch.float64)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def with_constants(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """It makes tensors of its own, which a graph must not take for given values."""
    scale = torch.arange(5, dtype=x.dtype) + torch.tensor([0.5])
    return x * scale, torch.cat((y * 2).split(500)) + y.sum()


def program() -> ExportedProgram:
    return exported(traced(with_constants, INPUTS), INPUTS)


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a shell script take the place of Python."""
    path = Path(os.environ["XDG_CACHE_HOME"]).parent / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


def started(name: str = "update", key: str = "0" * 64) -> Background:
    compiling = Background()
    compiling.start(name, program(), key)
    return compiling


def test_the_process_compiles_the_program_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, f'cat > {tmp_path}/stdin; echo "$@" > {tmp_path}/words')
    torch.set_num_threads(1)
    started(key="a-key").wait("update")
    words = (tmp_path / "words").read_text().split()
    assert words == ["-m", "dqn_cli.compiling.background", "a-key", "1"]
    assert (tmp_path / "stdin").stat().st_size < 30_000  # without the inputs, which may be large
    compiled: list[Any] = []

    def make(program: ExportedProgram, package_path: str, **options: Any) -> None:
        compiled.append(program)
        Path(package_path).write_bytes(b"made")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", make)
    monkeypatch.setattr(background, "isolate_process", lambda parent: None)
    with (tmp_path / "stdin").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        background.main("a-key", 1)
    assert [path.read_bytes() for path in code_cache.cache_folder().glob("a-key.pt2")] == [b"made"]
    ((inputs, names),) = (each.example_inputs for each in compiled)
    assert [(x.shape, x.dtype) for x in inputs] == [(x.shape, x.dtype) for x in INPUTS]
    assert not names
    assert compiled[0].graph_module.code == program().graph_module.code


def test_the_process_finds_our_package_wherever_this_one_found_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, f'echo "$PYTHONPATH" > {tmp_path}/path')
    monkeypatch.setattr(sys, "path", ["", "/somewhere", *sys.path])
    started().wait("update")
    assert (tmp_path / "path").read_text().split(os.pathsep)[0] == "/somewhere"


def test_waiting_ends_with_the_process_and_is_none_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, f"sleep 0.3; touch {tmp_path}/ended")
    compiling = started()
    compiling.wait("act")
    assert not (tmp_path / "ended").exists()
    compiling.wait("update")
    assert (tmp_path / "ended").exists()
    compiling.wait("update")  # it has ended


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_stopping_kills_what_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    compiling = started()
    wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    process = int((tmp_path / "pid").read_text())
    compiling.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    compiling.wait("update")
    compiling.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_code_is_that_of_a_function_compiled_here() -> None:
    torch.set_num_threads(1)
    compiling = started(key="there")
    write_package(program(), code_cache.cache_folder() / "here.pt2")
    compiling.wait("update")
    here, there = (sources(code_cache.cache_folder() / f"{key}.pt2") for key in ("here", "there"))
    assert len(here) == 2
    assert here == there
    x, y = (torch.randn_like(each) for each in INPUTS)
    for mine, yours in zip(code_cache.load("there")([x, y]), with_constants(x, y), strict=True):
        torch.testing.assert_close(mine, yours)


def sources(package: Path) -> list[list[bytes]]:
    """The C++ of a package, without comments, which name the files."""
    with zipfile.ZipFile(package) as files:
        texts = [files.read(name) for name in files.namelist() if name.endswith(".cpp")]
    lines = [[line for line in text.splitlines() if line and b"//" not in line] for text in texts]
    return sorted(lines, key=len)
