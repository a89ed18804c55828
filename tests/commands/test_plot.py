from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Typed = Callable[..., int]
PNG = b"\x89PNG"


def test_a_sweep_becomes_a_picture(
    type_train: Typed, type_plot: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", "seed=0,1", "update=dqn,double", "steps=200", "network.widths=[8]")
    assert type_train(*words, "eval.every=50", "eval.episodes=2", "hydra.sweep.dir=sweep") == 0
    assert type_plot("sweep", "out=curves.png", "by=update", "x=seconds") == 0
    assert (in_folder / "curves.png").read_bytes().startswith(PNG)
    assert type_plot("sweep", "by=updat") == 1
    told = "by=updat: no run was started with it; did you mean update?"
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "no run at nowhere"),
        (["nowhere", "x=hours"], "x=hours"),
        (["by=update"], "name what to draw"),
    ],
)
def test_bad_input_is_one_line(
    type_plot: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert type_plot(*words) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_runs_without_curves_are_left_out_but_one_must_have_a_curve(
    type_train: Typed, type_plot: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("steps=60", "network.widths=[4]", "eval.episodes=1")
    assert type_train("-m", "env=CartPole-v1,Pendulum-v1", *short, "hydra.sweep.dir=sweep") == 1
    capsys.readouterr()
    assert type_plot("sweep") == 0
    said = capsys.readouterr()
    assert said.out.startswith("1 run drawn")
    assert said.err.startswith("left out: ")
    assert "Pendulum" in said.err
    assert type_plot(*map(str, (in_folder / "sweep").glob("1_*"))) == 1
    assert "no returns to draw yet" in capsys.readouterr().err.splitlines()[-1]
