"""Searches as they are typed: small ones, that fail, are interrupted, killed, and go on."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from dqn_cli.commands import population_launcher, search_jobs
from dqn_cli.runs.session import Session

Typed = Callable[..., int]
Lines = pytest.CaptureFixture[str]
SMALL = (
    "env=CartPole-v1", "steps=120", "learning_starts=10", "train_every=4", "updates_per_train=1",
    "eval.every=20", "eval.episodes=1", "network.widths=[4]", "replay.batch_size=8",
    "compile=false",
)  # fmt: skip
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "gamma=0.9,0.99")
SEARCH = (
    "hydra/sweeper=search", "hydra.sweeper.trials=6", "hydra.sweeper.batch=3",
    "hydra.sweeper.seeds=2", "hydra.sweeper.rungs=[0.2,0.5]", "hydra.sweeper.finalists=2",
    "hydra.sweeper.fresh_seeds=2", "hydra.sweep.dir=sweep",
)  # fmt: skip
POPULATION = ("hydra/launcher=population", "hydra.launcher.processes=1")
TYPED = ("-m", *SEARCH, *POPULATION, *SMALL)


def trials(sweep: str = "sweep") -> list[Any]:
    """What the study holds of each trial, but for times."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = Path(sweep).absolute() / "search.db"
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{file}")
    return [
        (trial.state.name, trial.params, trial.intermediate_values, trial.values)
        for trial in study.get_trials()
    ]


def results(sweep: str, where: str = "*") -> dict[str, dict[str, Any]]:
    files = sorted(Path(sweep).glob(f"{where}/result.json"))
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def test_a_search_stops_the_worst_and_judges_the_best_again(
    type_train: Typed, capsys: Lines
) -> None:
    assert type_train(*TYPED, *SPACE) == 0
    said = capsys.readouterr().out
    states = [state for state, *_ in trials()]
    assert len(states) == 6
    assert set(states) == {"COMPLETE", "PRUNED"}
    assert states[:3].count("COMPLETE") == 1
    assert "search: at step 20, 1 of 3 trials go on" in said
    assert "search: 6 of 6 trials done" in said
    assert "on 2 fresh seeds" in said
    runs = results("sweep")
    assert len(runs) == 12
    for number, (state, params, scores, values) in enumerate(trials()):
        seeds = [run for name, run in runs.items() if int(name.partition("_")[0]) // 2 == number]
        assert [run["seed"] for run in seeds] == [0, 1]
        steps = 120 if state == "COMPLETE" else max(scores)
        assert {run["steps"] for run in seeds} == {steps}
        assert scores[steps] == pytest.approx(sum(run["final"]["mean"] for run in seeds) / 2)
        assert values == [scores[steps]]
        assert all(f"gamma={params['gamma']}" in run["overrides"] for run in seeds)
    fresh = results("sweep/fresh")
    assert {run["seed"] for run in fresh.values()} == {1_000, 1_001}
    assert {run["steps"] for run in fresh.values()} == {120}
    text = Path("sweep/tuned/CartPole-v1/dqn.yaml").read_text()
    assert "Found by a search of 6 trials with 2 seeds each." in text
    found = yaml.safe_load(text)
    assert (found["train_every"], found["network"]) == (4, {"widths": [4]})
    assert "steps" not in found
    assert "eval" not in found
    assert (Path("sweep") / "sweep.csv").is_file()
    assert type_train("--config-dir", "sweep", *SMALL, "hydra.run.dir=tuned") == 0
    tuned = json.loads(Path("tuned/result.json").read_text())
    assert tuned["tuned"] == "CartPole-v1/dqn"
    config = yaml.safe_load(Path("tuned/.hydra/config.yaml").read_text())
    assert config["optimizer"]["lr"] == found["optimizer"]["lr"]


def test_the_printed_command_has_what_no_file_can_hold(type_train: Typed, capsys: Lines) -> None:
    single = ("trials=1", "seeds=1", "fresh_seeds=1", "finalists=1", "pruner=none")
    words = [*TYPED, *(f"hydra.sweeper.{word}" for word in single), "auxiliary=cql"]
    space = ("auxiliary.cql.weight=interval(0.1,0.2)", "optimizer=choice(adam,sgd)")
    assert type_train(*words, *space) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    start = ["dqn-train", "--config-dir", "sweep", "env=CartPole-v1", "steps=120"]
    assert command[:5] == start
    assert command[5:7] in (["auxiliary=cql", f"optimizer={name}"] for name in ("adam", "sgd"))
    found = yaml.safe_load(Path("sweep/tuned/CartPole-v1/dqn.yaml").read_text())
    assert 0.1 <= found["auxiliary"]["cql"]["weight"] <= 0.2


def test_runs_that_go_beyond_a_pause_train_in_full_groups(type_train: Typed, capsys: Lines) -> None:
    words = ("hydra.sweeper.reduction=1.5", "hydra.sweeper.rungs=[0.2]", "hydra.launcher.members=2")
    assert type_train(*TYPED, *SPACE, *words, "hydra.sweeper.trials=3") == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("search: at step 20, 2 of 3 trials go on")
    groups = [line for line in lines[start:] if "side by side" in line or "alone" in line]
    assert len(groups) == 2 + 2  # of four runs, then of four on fresh seeds
    assert all("2 side by side" in line for line in groups)


def test_trials_that_pass_a_rung_get_more_seeds(type_train: Typed, capsys: Lines) -> None:
    words = ("hydra.sweeper.seeds=1", "hydra.sweeper.extra_seeds=1", "hydra.sweeper.trials=3",
             "hydra.sweeper.reduction=1.5", "hydra.sweeper.finalists=0")  # fmt: skip
    assert type_train(*TYPED, *SPACE, *words) == 0
    runs = results("sweep")
    # Two of three trials pass the first rung, and both of two the second one, as asynchronous
    # halving keeps the best 1 / 1.5 of all that came there, rounded up.
    assert sorted(run["steps"] for run in runs.values()) == [20, 120, 120, 120, 120, 120, 120]
    assert sorted(run["seed"] for run in runs.values()) == [0, 0, 0, 1, 1, 2, 2]
    numbers = sorted(int(name.partition("_")[0]) for name in runs)
    assert [number % 3 for number in numbers] == [run["seed"] for run in sorted_by_number(runs)]
    for _, _, scores, _ in trials():
        assert len(scores) in (1, 3)


def sorted_by_number(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [runs[name] for name in sorted(runs, key=lambda name: int(name.partition("_")[0]))]


def test_the_same_command_goes_on_and_trains_nothing_twice(
    type_train: Typed, capsys: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_train(*TYPED, *SPACE, "hydra.sweep.dir=whole") == 0
    trained = list[str]()
    begin = Session.__init__

    def counted(session: Session, jobs: Any, title: str = "") -> None:
        trained.extend(f"{job.folder}:{job.settings.stop.step}" for job in jobs)
        begin(session, jobs, title)

    monkeypatch.setattr(Session, "__init__", counted)
    judged = search_jobs.standing
    kills, code = 0, 130
    while code == 130:  # it is killed after ever more looks at runs
        limit = kills = kills + 1
        looks = iter(range(limit))

        def killed(run: Path, step: int | None, looks: Iterator[int] = looks) -> Any:
            if next(looks, None) is None:
                raise KeyboardInterrupt
            return judged(run, step)

        with monkeypatch.context() as patch:
            patch.setattr(search_jobs, "standing", killed)
            code = type_train(*TYPED, *SPACE)
    assert code == 0
    assert kills > 5
    assert len(trained) == len(set(trained))
    assert trials() == trials("whole")
    assert len(results("sweep")) == 12
    capsys.readouterr()
    before = len(trained)
    assert type_train("resume=sweep") == 0
    assert len(trained) == before
    assert "wins with" in capsys.readouterr().out
    assert type_train("resume=sweep", "hydra.sweeper.trials=7") == 0
    assert len(trials()) == 7
    assert trials()[:6] == trials("whole")


def test_a_search_of_another_space_or_plan_is_refused_in_its_folder(
    type_train: Typed, capsys: Lines
) -> None:
    words = ("hydra.sweeper.trials=1", "hydra.sweeper.finalists=0")
    assert type_train(*TYPED, *SPACE, *words) == 0
    for other, reason in (
        (("gamma=0.5,0.6",), "with space="),
        (("hydra.sweeper.seeds=3",), "with seeds=2, not 3"),
        (("train_every=8",), "with words="),
    ):
        capsys.readouterr()
        assert type_train(*TYPED, *SPACE, *words, *other) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: this folder has a search ")
        assert reason in last


def test_a_failed_run_is_a_failed_trial(type_train: Typed, capsys: Lines) -> None:
    explode = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null")
    space = "optimizer.lr=choice(1e-3,1e30)"
    assert type_train(*TYPED, *explode, space, "hydra.sweeper.sampler=random") == 0
    found = {(params["optimizer.lr"], state) for state, params, *_ in trials()}
    assert ("1e+30", "FAIL") in found
    assert ("1e+30", "COMPLETE") not in found
    assert ("0.001", "COMPLETE") in found
    assert "failed" in capsys.readouterr().out


def test_a_search_whose_first_trials_all_fail_ends(type_train: Typed, capsys: Lines) -> None:
    # The only evaluation is that of the end, so that no rung is left.
    assert type_train(*TYPED, "gamma=interval(2,3)", "eval.every=120") == 1
    said = capsys.readouterr()
    assert "search: no trial stops early, because there is no evaluation between" in said.out
    lines = said.err.splitlines()
    assert lines[-1].startswith("error: every run of the first 3 trials failed")
    assert len(trials()) == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("gama=interval(0,1)",), "unknown key gama"),
        ((), "nothing to search over"),
        (("+search=nothing",), "search is one of dqn, iqn"),
        (("gamma=interval(0,1)", "hydra.sweeper.trials=0"), "hydra.sweeper.trials=0 is not valid"),
        (("gamma=interval(0,1)", "eval.every=null"), "eval.every is null"),
    ],
)
def test_a_search_that_is_refused_leaves_nothing(
    type_train: Typed, capsys: Lines, words: tuple[str, ...], reason: str
) -> None:
    assert type_train(*TYPED, *words) == 1
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not Path("sweep").exists()


@pytest.mark.parametrize("word", ["+search=dqn", "hydra/sweeper=search"])
def test_a_search_without_m_says_so(type_train: Typed, capsys: Lines, word: str) -> None:
    assert type_train(word, *SMALL) == 1
    assert f"{word} searches over many runs: add -m" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "agent"),
    [("dqn", "d3qn"), ("munchausen", "munchausen"), ("iqn", "iqn"), ("rainbow", "rainbow"),
     ("rainbow", "rainbow_iqn"), ("pqn", "pqn")],
)  # fmt: skip
def test_ready_spaces_fit_their_agents(
    type_train: Typed, monkeypatch: pytest.MonkeyPatch, name: str, agent: str
) -> None:
    monkeypatch.setattr(population_launcher, "train_groups", lambda *args: 0)
    words = [word for word in TYPED if not word.startswith("hydra/sweeper=")]
    words += [f"+search={name}", f"agent={agent}", "env.num_envs=1", "hydra.sweeper.trials=3"]
    small = ("train_every=64", "replay.batch_size=8")
    assert type_train(*words, *small) == 1  # nothing was trained, so all trials failed
    assert [state for state, *_ in trials()] == ["FAIL"] * 3
    assert all((run / ".hydra").is_dir() for run in Path("sweep").glob("[0-9]*"))
    assert len(list(Path("sweep").glob("[0-9]*"))) == 6


def test_a_search_without_the_extra_says_what_to_install(
    type_train: Typed, capsys: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hydra_plugins.dqn_train_search as plugin

    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    assert type_train(*TYPED, *SPACE) == 1
    assert "pip install 'dqn-train[search]'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_that_is_killed_five_times_is_that_of_an_uninterrupted_one(
    in_folder: Path,
) -> None:
    command = [sys.executable, "-m", "dqn_cli.commands.train"]
    words = [word for word in TYPED if not word.startswith(("steps=", "hydra.sweep.dir="))]
    words += [*SPACE, "steps=4000", "eval.every=200"]
    subprocess.run([*command, *words, "hydra.sweep.dir=whole"], check=True, capture_output=True)
    chance, kills = random.Random(0), 0
    while kills < 5:
        process = subprocess.Popen(
            [*command, *words, "hydra.sweep.dir=sweep"],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(chance.uniform(3, 9))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    last = subprocess.run([*command, *words, "hydra.sweep.dir=sweep"], check=False)
    assert last.returncode == 0
    assert kills == 5
    assert trials() == trials("whole")
    for part in ("", "/fresh"):
        runs, expected = results(f"sweep{part}"), results(f"whole{part}")
        assert runs.keys() == expected.keys()
        for name, run in runs.items():
            assert (run["status"], run["steps"]) == ("finished", expected[name]["steps"])
            assert run["final"] == expected[name]["final"]
