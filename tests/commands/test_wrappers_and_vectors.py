"""Wrappers, limits and vector environments, typed as users type them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dqn_cli.storage import load_checkpoint, save_checkpoint

Typed = Callable[..., int]
SMALL = (
    "steps=120", "learning_starts=40", "network.widths=[8]", "eval.every=100", "eval.episodes=2",
    "hydra.run.dir=run",
)  # fmt: skip
MINE = """
import gymnasium

class Scaled(gymnasium.RewardWrapper):
    def __init__(self, env, factor=2.0):
        super().__init__(env)
        self.factor = factor

    def reward(self, reward):
        return float(reward) * self.factor
"""
WRAPPERS = "env.wrappers=[gymnasium.wrappers:TimeAwareObservation, {mine:Scaled: {factor: 10}}]"
VECTOR = (*SMALL, "env=recorded_vector:make", "env.vectorization=native", "env.num_envs=4")


@pytest.fixture
def mine(in_folder: Path) -> None:
    (in_folder / "mine.py").write_text(MINE)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def result() -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(Path("run/result.json").read_text())
    return contents


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_wrappers_and_a_limit_are_typed_and_kept(
    mine: None,
    type_train: Typed,
    type_eval: Typed,
    capsys: pytest.CaptureFixture[str],
    vectorization: str,
) -> None:
    words = (*SMALL, WRAPPERS, "env.max_episode_steps=7", f"env.vectorization={vectorization}")
    assert type_train(*words) == 0
    assert "dqn-eval checkpoint=run import=mine" in capsys.readouterr().out
    assert result()["best"]["mean"] == 70
    assert type_eval("checkpoint=run", "episodes=2") == 1
    assert last_line(capsys) == (
        "error: the wrapper mine:Scaled imports mine, which a checkpoint may not do by itself:"
        " add import=mine"
    )
    assert type_train("resume=run", "steps=140") == 1
    assert "add import=mine" in last_line(capsys)
    assert type_eval("checkpoint=run", "episodes=2", "import=mine") == 0
    assert type_train("resume=run", "steps=140", "import=mine") == 0
    assert (result()["steps"], result()["exact"]) == (140, True)


def test_gymnasiums_own_wrappers_need_no_import(type_train: Typed, type_eval: Typed) -> None:
    words = "env.wrappers=[gymnasium.wrappers:TimeAwareObservation]"
    assert type_train(*SMALL, words) == 0
    assert type_eval("checkpoint=run", "episodes=2") == 0


@pytest.mark.parametrize(
    ("wrapper", "module"),
    [
        ({"gymnasium.wrappers:RecordVideo": {"video_folder": "videos"}}, "gymnasium.wrappers"),
        ("os:system", "os"),
    ],
)
def test_a_checkpoint_may_not_name_a_wrapper_by_itself(
    type_train: Typed,
    type_eval: Typed,
    capsys: pytest.CaptureFixture[str],
    wrapper: Any,
    module: str,
) -> None:
    assert type_train(*SMALL) == 0
    for name in ("best", "last"):
        path = Path("run/checkpoints", name)
        data = load_checkpoint(path)
        data["settings"]["env"]["wrappers"] = [wrapper]
        save_checkpoint(path, data)
    assert type_eval("checkpoint=run", "episodes=2") == 1
    assert last_line(capsys).endswith(f": add import={module}")
    assert type_train("resume=run", "steps=200") == 1
    assert last_line(capsys).endswith(f": add import={module}")
    assert not Path("videos").exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("env.wrappers=mine:Scaled", ["env.wrappers=mine:Scaled", "must be a list"]),
        ("env.wrappers={a: 3}", ["env.wrappers={a: 3}", "must be a list"]),
        ("env.wrappers=[Scaled]", ["env.wrappers: Scaled", "module:Class"]),
        ("env.wrappers=[{mine:Scaled: 3}]", ["env.wrappers: {'mine:Scaled': 3}", "module:Class"]),
        ("env.wrappers=[mine:Nope]", ["env.wrappers: mine has no Nope"]),
        ("env.wrappers=[nowhere:Nope]", ["env.wrappers: nowhere:Nope", "No module named"]),
        ("env.wrappers=[{mine:Scaled: {way: 1}}]", ["env.wrappers: mine:Scaled", "'way'"]),
        ("env.max_episode_steps=0", ["env.max_episode_steps=0", "at least 1, or null"]),
    ],
)
def test_a_wrong_word_is_one_line(
    mine: None, type_train: Typed, capsys: pytest.CaptureFixture[str], word: str, told: list[str]
) -> None:
    assert type_train(*SMALL, word) == 1
    line = last_line(capsys)
    assert all(text in line for text in told), line


def test_a_vector_of_ones_own_trains_goes_on_and_is_evaluated(
    type_train: Typed, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(*VECTOR) == 0
    assert "dqn-eval checkpoint=run import=recorded_vector" in capsys.readouterr().out
    assert (result()["steps"], result()["exact"]) == (120, True)
    # Episodes of 3, 1 steps pay 1 + 2 + 3 and 1.
    assert result()["best"]["mean"] == 3.5
    assert type_eval("checkpoint=run", "episodes=3") == 1
    assert "add import=recorded_vector" in last_line(capsys)
    assert type_eval("checkpoint=run", "episodes=3", "import=recorded_vector") == 0
    report = json.loads(Path("run/checkpoints/evaluation.json").read_text())
    assert report["returns"] == [6, 1, 15]
    assert type_train("resume=run", "steps=160", "import=recorded_vector") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is a vector environment, which can't be brought back" in printed
    assert (result()["steps"], result()["exact"]) == (160, False)


def test_an_ids_own_vector_trains_and_single_environments_evaluate(type_train: Typed) -> None:
    words = ("env.vectorization=native", "env.num_envs=40", "agent=pqn", "train_every=120")
    assert type_train(*SMALL, *words, "learning_starts=0") == 0
    assert result()["env"] == "CartPole-v1"
    assert result()["final"]["mean"] > 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("env.vectorization=sync",), ["is a function", "env.vectorization=native"]),
        (("env=recorded_vector:ACTIONS",), ["unknown environment recorded_vector:ACTIONS"]),
        (("env=recorded_vector:refuses",), ["4 copies can't be made", "4 are too many"]),
        (("+env.kwargs.wrong=shape",), ["[4, 2]; declared is [4, 4]", "at step 9"]),
    ],
)
def test_a_vector_that_cannot_be_used_is_one_line(
    type_train: Typed,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: list[str],
) -> None:
    assert type_train(*VECTOR, *words) == 1
    line = last_line(capsys)
    assert all(text in line for text in told), line


def test_members_have_vectors_of_their_own(type_train: Typed) -> None:
    words = (word for word in VECTOR if not word.startswith("hydra"))
    assert type_train("-m", *words, "seed=0,1", "hydra/launcher=population") == 0
