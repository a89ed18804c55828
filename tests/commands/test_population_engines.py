from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dqn_cli.commands import population_engines, population_processes
from dqn_cli.commands.population_engines import connect, open_engine
from dqn_cli.commands.population_options import On, PopulationOptions

Typed = Callable[..., int]
Lines = pytest.CaptureFixture[str]
TINY = ("steps=40", "network.widths=[4]", "compile=false")


@pytest.mark.parametrize(("on", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named_before_a_job_is_composed(
    type_train: Typed, capsys: Lines, monkeypatch: pytest.MonkeyPatch, on: str, package: str
) -> None:
    monkeypatch.setattr(population_engines, "find_spec", {package: None}.__getitem__)
    words = ("-m", *TINY, "seed=0,1", "hydra/launcher=population", f"hydra.launcher.on={on}")
    assert type_train(*words, "hydra.sweep.dir=sweep") == 1
    line = f"error: hydra.launcher.on={on} needs an extra: pip install 'dqn-train[{on}]'"
    assert capsys.readouterr().err.splitlines() == [line]
    assert not Path("sweep").exists()


def test_this_machine_has_a_process_for_each_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(population_processes, "available_cores", lambda: 6)
    connect(PopulationOptions(), ExitStack())
    engines = [open_engine(PopulationOptions(), threads, tmp_path) for threads in ("auto", 2)]
    assert [engine.slots for engine in engines] == [6, 3]
    assert open_engine(PopulationOptions(processes=4), "auto", tmp_path).slots == 4
    assert PopulationOptions().on is On.local
