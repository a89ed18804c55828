from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dqn_cli.commands.evaluate import parse
from dqn_cli.config.validation import ConfigError

Typed = Callable[..., int]


@pytest.fixture
def run(type_train: Typed, in_folder: Path) -> Path:
    words = ("steps=20", "network.widths=[8]", "eval.every=null", "learning_starts=50")
    assert type_train(*words, "hydra.run.dir=run") == 0
    return in_folder / "run"


def test_a_policy_is_recorded_and_a_run_learns_from_it(
    run: Path, type_eval: Typed, type_train: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("checkpoint=run", "episodes=4")
    assert type_eval(*words, "record=greedy.npz") == 0
    assert "of 4 episodes, mean return" in capsys.readouterr().out
    assert type_eval(*words, "record=random.npz", "epsilon=1") == 0
    with np.load("greedy.npz") as greedy, np.load("random.npz") as random:
        assert greedy["truncations"].sum() + greedy["terminations"].sum() == 4
        # Both have the same seeds, but only the random one takes both actions at any place.
        assert np.array_equal(greedy["observations"][0], random["observations"][0])
        assert 0.2 < random["actions"].mean() < 0.8
    assert not list(run.rglob("evaluation*.json"))
    learn = ("steps=0", "data.pretrain=8", "eval.every=null", "network.widths=[8]")
    assert type_train("data=random.npz", *learn, "hydra.run.dir=offline") == 0
    assert "finished 8 updates" in capsys.readouterr().out
    assert type_eval(*words, "record=greedy.npz") == 1
    assert "exists, and is not overwritten" in capsys.readouterr().err
    assert type_train("data=nowhere.npz", *learn, "hydra.run.dir=wrong") == 1
    assert "data=nowhere.npz: there is no such file" in capsys.readouterr().err
    assert type_train("-m", "data=random.npz,greedy.npz", *learn, "hydra.sweep.dir=both") == 0
    assert len(list(Path("both").glob("*/result.json"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("epsilon=0.5",), "epsilon=E goes with record=FILE"),
        (("epsilon=2", "record=a.npz"), "epsilon=2 is not valid"),
        (("play=true", "episodes=3"), "without episodes=N"),
        (("record=a.npz", "video=true"), "video=true is of an evaluation"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(["checkpoint=run", *words])
