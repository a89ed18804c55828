from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dqn_cli.commands.evaluate import parse
from dqn_cli.storage import load_checkpoint, save_checkpoint

Typed = Callable[..., int]


@pytest.fixture
def run(type_train: Typed, in_folder: Path) -> Path:
    words = ("steps=200", "network.widths=[8]", "eval.episodes=2", "eval.every=100")
    assert type_train(*words, "hydra.run.dir=run") == 0
    return in_folder / "run"


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_an_evaluation_is_shown_and_written(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_eval("checkpoint=run", "episodes=7", "seed=3") == 0
    found = json.loads((run / "checkpoints" / "evaluation.json").read_text())
    assert found["schema"] == 1
    assert len(found["returns"]) == len(found["lengths"]) == found["episodes"] == 7
    assert found["iqm_ci95"][0] <= found["iqm"] <= found["iqm_ci95"][1]
    assert found["env"] == "CartPole-v1"
    assert found["checkpoint"].endswith("checkpoints/best")
    assert f"{found['mean']:.1f}" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_episodes_and_another_others(
    run: Path, type_eval: Typed
) -> None:
    def returns(*words: str) -> Sequence[float]:
        assert type_eval("checkpoint=run", *words) == 0
        found: Sequence[float] = json.loads((run / "checkpoints/evaluation.json").read_text())[
            "lengths"
        ]
        return found

    first = returns("episodes=30")
    assert returns("episodes=30") == first
    assert returns("episodes=10") == first[:10]
    assert returns("episodes=30", "seed=1") != first


def test_threads_are_those_of_the_run(run: Path, type_eval: Typed) -> None:
    torch.set_num_threads(2)
    assert type_eval("checkpoint=run", "episodes=1") == 0
    assert torch.get_num_threads() == 1


def test_a_list_and_a_pattern_name_several(run: Path, type_eval: Typed) -> None:
    paths = "run/checkpoints/best,run/checkpoints/last"
    assert type_eval(f"checkpoint=[{paths}]", "episodes=2") == 0
    assert type_eval("checkpoint=ru*", "episodes=3") == 0
    # Each has a report of its own, and the run's own name means the best.
    for name, meant, episodes in (("", "best", 3), ("_last", "last", 2)):
        found = json.loads((run / "checkpoints" / f"evaluation{name}.json").read_text())
        assert found["checkpoint"].endswith(f"checkpoints/{meant}")
        assert found["episodes"] == episodes


def test_matches_of_a_pattern_without_a_checkpoint_are_left_out(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    run.with_name("run_that_failed").mkdir()
    assert type_eval("checkpoint=run*", "episodes=2") == 0
    assert capsys.readouterr().err.startswith("left out: run_that_failed holds no checkpoint")
    assert type_eval("checkpoint=run_*", "episodes=2") == 1
    assert "holds no checkpoint yet" in last_line(capsys)


def test_a_sweep_is_evaluated_as_a_whole_and_each_choice_over_its_seeds(
    type_train: Typed, type_eval: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("steps=40", "learning_starts=20", "network.widths=[4]", "eval.episodes=1")
    sweep = ("-m", "seed=0,1", "update=dqn,double", "hydra.sweep.dir=sweep")
    assert type_train(*sweep, *words, "hydra/launcher=population") == 0
    assert "evaluate it:  dqn-eval checkpoint=sweep" in capsys.readouterr().out
    assert type_eval("checkpoint=sweep", "episodes=2") == 0
    said = capsys.readouterr().out
    assert len(list(in_folder.glob("sweep/*/checkpoints/evaluation.json"))) == 4
    for update in ("dqn", "double"):
        assert f"update={update}: iqm of 2 means" in said


def test_the_table_is_printed_if_its_file_can_not_be_written(
    run: Path,
    type_eval: Typed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path, data: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("dqn_cli.storage.write_json", full)
    assert type_eval("checkpoint=run", "episodes=2") == 1
    said = capsys.readouterr()
    assert "iqm" in said.out
    assert "Read-only" in said.err.splitlines()[-1]


def test_reports_finished_before_an_error_are_printed_and_written(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = run / "checkpoints" / "last"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert type_eval("checkpoint=[run/checkpoints/best,run/checkpoints/last]", "episodes=2") == 1
    said = capsys.readouterr()
    assert "iqm" in said.out
    assert "evaluating 2 of 2: run/checkpoints/last" in said.err
    assert "damaged" in said.err.splitlines()[-1]
    assert (run / "checkpoints" / "evaluation.json").is_file()


def test_a_path_may_have_spaces_and_equals(run: Path, type_eval: Typed) -> None:
    run.rename(run.with_name("a b=c"))
    assert type_eval("checkpoint=a b=c", "episodes=2") == 0


def test_a_checkpoint_of_another_environment_is_refused(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run / "checkpoints" / "best"
    data = load_checkpoint(best)
    data["settings"]["env"]["id"] = "Acrobot-v1"
    save_checkpoint(best, data)
    assert type_eval("checkpoint=run") == 1
    assert "Acrobot-v1" in last_line(capsys)


def test_a_checkpoint_may_not_import_by_itself(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    best = run / "checkpoints" / "best"
    data = load_checkpoint(best)
    (run.parent / "evil_module.py").write_text("raise SystemExit('code ran')\n")
    data["settings"]["env"]["id"] = "evil_module:CartPole-v1"
    save_checkpoint(best, data)
    assert type_eval("checkpoint=run") == 1
    assert "import=evil_module" in last_line(capsys)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["checkpoint=nowhere"], "nowhere"),
        (["checkpoint=no*where"], "nothing matches"),
        (["episodes=3"], "checkpoint=PATH is missing"),
        (["checkpoint=run", "episods=3"], "did you mean episodes"),
        (["run"], "did you mean checkpoint=run?"),
        (["checkpoint=run", "episodes=many"], "episodes"),
        (["checkpoint=run", "episodes=0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert type_eval(*words) == 1
    line = last_line(capsys)
    assert line.startswith("error: ")
    assert told in line


def test_words_are_parsed_with_their_defaults() -> None:
    request = parse(["checkpoint=a=b", "episodes=5"])
    assert (request.checkpoint, request.episodes, request.seed) == ("a=b", 5, 0)
    assert request.video is False
    assert parse(["checkpoint=run", "episodes=1e2", "video=true"]).episodes == 100


def test_arguments_of_the_environment_are_read_as_hydra_reads_them() -> None:
    words = ["+env.kwargs.a=1", "env.kwargs.b=true", "+env.kwargs.c=null", "+env.kwargs.d=[1,x]"]
    nested = ["++env.kwargs.e.f=1e3", "+env.kwargs.e.g='1'", "+env.kwargs.h=[]"]
    request = parse(["checkpoint=run", *words, *nested])
    assert request.env_kwargs == {
        "a": 1, "b": True, "c": None, "d": [1, "x"], "e": {"f": 1000.0, "g": "1"}, "h": [],
    }  # fmt: skip
    assert parse(["checkpoint=run"]).env_kwargs == {}


def env_kwargs_of(run: Path) -> dict[str, object]:
    found = json.loads((run / "checkpoints" / "evaluation.json").read_text())
    kwargs: dict[str, object] = found["env_kwargs"]
    return kwargs


def test_an_evaluation_takes_the_arguments_of_the_command_over_those_of_the_run(
    type_train: Typed, type_eval: Typed, in_folder: Path
) -> None:
    words = ("steps=60", "learning_starts=50", "network.widths=[8]", "eval.episodes=2")
    kwargs = ("+env.kwargs.max_episode_steps=11", "+eval.env.kwargs.max_episode_steps=7")
    reward = "+env.kwargs.sutton_barto_reward=false"
    assert type_train(*words, *kwargs, reward, "hydra.run.dir=run") == 0
    run = in_folder / "run"
    result = json.loads((run / "result.json").read_text())
    assert result["best"]["max"] == 7
    assert type_eval("checkpoint=run", "episodes=2") == 0
    assert env_kwargs_of(run) == {"max_episode_steps": 7, "sutton_barto_reward": False}
    typed = ("+env.kwargs.max_episode_steps=3", "env.kwargs.sutton_barto_reward=true")
    assert type_eval("checkpoint=run", "episodes=2", *typed) == 0
    assert env_kwargs_of(run) == {"max_episode_steps": 3, "sutton_barto_reward": True}
    found = json.loads((run / "checkpoints" / "evaluation.json").read_text())
    assert (found["lengths"], found["returns"]) == ([3, 3], [0, 0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["+env.kwargs.nope=1"], "env=CartPole-v1: CartPoleEnv.__init__() got an unexpected"),
        (["+env.kwargs.nope=1,2"], "env.kwargs.nope has several values"),
        (["+env.kwargs.nope"], "'+env.kwargs.nope' is not of the form key=value"),
        (
            ["+env.kwargs=1"],
            "dqn-eval takes checkpoint, episodes, seed, video, record, epsilon, play, +env",
        ),
        (["+env.num_envs=1"], "unknown word +env.num_envs=1"),
    ],
)
def test_bad_arguments_of_the_environment_are_one_line(
    run: Path, type_eval: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert type_eval("checkpoint=run", *words) == 1
    assert told in last_line(capsys)
