"""The same command typed again: after a kill at each point, a signal, or its end."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from dqn_cli.storage import load_checkpoint

Typed = Callable[..., int]
Lines = pytest.CaptureFixture[str]
SMALL = (
    "steps=120", "learning_starts=30", "train_every=4", "updates_per_train=1", "eval.every=null",
    "network.widths=[4]", "replay.batch_size=8", "compile=false",
)  # fmt: skip
RUN = (*SMALL, "hydra.run.dir=run")
SWEEP = ("-m", *SMALL, "seed=0,1", "hydra.sweep.dir=sweep")
ONE_PROCESS = {"basic": (), "population": ("hydra.launcher.processes=1",)}
COMMAND = [sys.executable, "-m", "dqn_cli.commands.train"]


def last_error(capsys: Lines) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def last(run: Path) -> dict[str, Any]:
    return load_checkpoint(run / "checkpoints" / "last")


def job(number: int, sweep: str = "sweep") -> Path:
    (found,) = Path(sweep).glob(f"{number}_*")
    return found


def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed_at(point: str, act: Callable[[], object]) -> None:
    """Acts in a process that is killed when it calls a function, or before it opens a file."""

    def work() -> None:
        if point.startswith("file:"):
            sys.addaudithook(
                lambda event, arguments: (
                    _kill() if event == "open" and str(arguments[0]).endswith(point[5:]) else None
                )
            )
        else:
            module, _, name = point.rpartition(".")
            setattr(sys.modules[module], name, lambda *arguments, **more: _kill())
        act()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


BEFORE_THE_MANIFEST = [
    "dqn_cli.config.run_folders.discard_unstarted",  # the folder is there
    "file:.hydra/config.yaml",
    "file:.hydra/hydra.yaml",
    "file:.hydra/overrides.yaml",
    "dqn_cli.runs.single_run.Session",
    "dqn_cli.runs.single_run.write_manifests",  # checkpoints/ is there
    "torch.save",  # a partial manifest is there
]


@pytest.mark.parametrize("point", BEFORE_THE_MANIFEST)
def test_a_run_killed_before_it_began_is_typed_again(
    type_train: Typed, capsys: Lines, point: str
) -> None:
    killed_at(point, lambda: type_train(*RUN))
    assert Path("run").is_dir()
    assert type_train("resume=run") == 1
    assert last_error(capsys).startswith("error: can't resume: run ")
    assert type_train(*RUN) == 0
    assert result(Path("run"))["status"] == "finished"
    assert not list(Path("run").rglob("*.tmp"))


def test_a_run_killed_after_its_manifest_is_resumed(type_train: Typed, capsys: Lines) -> None:
    killed_at("dqn_cli.runs.session.train", lambda: type_train(*RUN))
    assert type_train(*RUN) == 1
    assert "continue that run with resume=run" in last_error(capsys)
    assert type_train("resume=run") == 0
    assert result(Path("run"))["status"] == "finished"


@pytest.mark.parametrize("point", [*BEFORE_THE_MANIFEST[1:], "dqn_cli.runs.session.train"])
def test_a_killed_sweep_is_finished_each_job_once(type_train: Typed, point: str) -> None:
    killed_at(point, lambda: type_train(*SWEEP))
    assert type_train("resume=sweep") == 0
    assert [result(job(number))["status"] for number in range(2)] == ["finished"] * 2


@pytest.mark.parametrize("launcher", ["basic", "population"])
def test_a_second_sweep_into_a_folder_is_refused(
    type_train: Typed, in_folder: Path, capsys: Lines, launcher: str
) -> None:
    words = (*SWEEP, f"hydra/launcher={launcher}", *ONE_PROCESS[launcher])
    assert type_train(*words) == 0
    (in_folder / "sweep" / "multirun.yaml").unlink()  # other sweepers write none
    before = contents(in_folder)
    assert type_train(*words) == 1
    assert "sweep holds the runs of a sweep already" in last_error(capsys)
    assert contents(in_folder) == before


def test_a_sweep_refused_for_a_typo_leaves_nothing_that_refuses_its_correction(
    type_train: Typed, in_folder: Path
) -> None:
    for typo in ("optimizer.lrr=1", "learning_starts=-5", "+env.kwargs.gravityy=1"):
        assert type_train(*SWEEP, typo) == 1
    assert type_train(*SWEEP) == 0
    assert len(list((in_folder / "sweep").glob("*/"))) == 2


def test_auto_begins_a_run_and_goes_on_with_it(type_train: Typed, capsys: Lines) -> None:
    assert type_train(*SMALL, "hydra.run.dir=whole") == 0
    killed_at("dqn_cli.runs.session.train", lambda: type_train(*RUN, "resume=auto"))
    assert type_train(*RUN, "resume=auto") == 0
    assert torch.equal(last(Path("whole"))["parameters"], last(Path("run"))["parameters"])
    before = contents(Path("run"))
    capsys.readouterr()
    assert type_train(*RUN, "resume=auto") == 0
    line = "run is finished after 120 steps; resume=run steps=N goes on to more"
    assert capsys.readouterr().out.splitlines() == [line]
    assert contents(Path("run")) == before


@pytest.mark.parametrize(
    ("word", "reason"),
    [("gamma=0.5", "gamma=0.99, not 0.5"), ("steps=200", "steps=120, not 200")],
)
def test_auto_refuses_other_settings_and_leaves_the_run_alone(
    type_train: Typed, capsys: Lines, word: str, reason: str
) -> None:
    words = [other for other in RUN if other.split("=")[0] != word.split("=")[0]]
    assert type_train(*RUN) == 0
    before = contents(Path("run"))
    assert type_train(*words, word, "resume=auto") == 1
    assert f"run holds a run with {reason}" in last_error(capsys)
    assert contents(Path("run")) == before


@pytest.mark.parametrize(("words", "key"), [((), "hydra.run.dir"), (("-m",), "hydra.sweep.dir")])
def test_auto_needs_a_folder(
    type_train: Typed, capsys: Lines, in_folder: Path, words: tuple[str, ...], key: str
) -> None:
    assert type_train(*words, *SMALL, "resume=auto") == 1
    assert f"add {key}=FOLDER" in last_error(capsys)
    assert not list(in_folder.iterdir())


def test_an_empty_resume_is_refused(type_train: Typed, capsys: Lines) -> None:
    assert type_train("resume=") == 1
    assert "resume=" in last_error(capsys)


@pytest.mark.parametrize("launcher", ["basic", "population"])
def test_auto_finishes_and_extends_a_sweep(type_train: Typed, launcher: str) -> None:
    words = ("-m", *SMALL, "hydra.sweep.dir=sweep", f"hydra/launcher={launcher}", "resume=auto")
    words += ONE_PROCESS[launcher]
    assert type_train(*words, "seed=0,1") == 0
    for name in ("result.json", "checkpoints/last", "checkpoints/best"):
        (job(1) / name).unlink(missing_ok=True)  # as if it had been killed
    finished = contents(job(0))
    assert type_train(*words, "seed=0,1,2") == 0
    assert contents(job(0)) == finished
    assert [result(job(number))["status"] for number in range(3)] == ["finished"] * 3


def test_auto_refuses_another_sweep(type_train: Typed, capsys: Lines) -> None:
    assert type_train(*SWEEP) == 0
    before = contents(job(0))
    assert type_train(*SWEEP, "seed=5,6", "resume=auto") == 1
    assert "is job 0 of this sweep, with seed=0, not seed=5" in last_error(capsys)
    assert contents(job(0)) == before


LONG = ("steps=3000", *SMALL[1:], "checkpoint.every=100000")
PREEMPTED = """
import os, signal, sys
from dqn_cli.runs import session
real = session.train
def train(settings, run):
    for report in real(settings, run):
        if run.clocks[0].steps == 1000:
            os.kill(os.getpid(), signal.SIGUSR1)
        yield report
session.train = train
from dqn_cli.commands.train import main
main()
"""


def test_a_preempted_command_goes_on_when_it_is_typed_again(
    type_train: Typed, in_folder: Path
) -> None:
    words = (*LONG, "hydra.run.dir=run", "resume=auto")
    command = [sys.executable, "-c", PREEMPTED, *words]
    first = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert first.returncode == 85, first.stderr
    assert first.stdout.splitlines()[-1] == "interrupted; go on with: dqn-train resume=run"
    assert (result(Path("run"))["status"], result(Path("run"))["steps"]) == ("interrupted", 1000)
    assert type_train(*words) == 0
    assert type_train(*LONG, "hydra.run.dir=whole") == 0
    assert torch.equal(last(Path("whole"))["parameters"], last(Path("run"))["parameters"])


OWN_SIGNAL = """
import os, signal
from gymnasium.envs.classic_control import CartPoleEnv
import gymnasium

class Preempted(CartPoleEnv):
    taken = 0
    def step(self, action):
        Preempted.taken += 1
        if Preempted.taken == 1000 and not os.path.exists("preempted"):
            open("preempted", "w").close()
            os.kill(os.getpid(), signal.SIGUSR2)
        return super().step(action)

gymnasium.register("Preempted-v0", entry_point=Preempted, max_episode_steps=50)
"""


@pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed")
def test_a_job_that_submitit_requeues_goes_on(in_folder: Path) -> None:
    (in_folder / "mine.py").write_text(OWN_SIGNAL)
    words = (*LONG, "-m", "env=mine:Preempted-v0", "seed=0")
    launcher = ("hydra/launcher=submitit_local", "hydra.sweep.dir=sweep")
    run = subprocess.run([*COMMAND, *words, *launcher], capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    (log,) = (in_folder / "sweep").glob(".submitit/*/*_log.out")
    assert "resumed at step 1,000" in log.read_text()
    subprocess.run([*COMMAND, *words, "hydra.sweep.dir=whole"], check=True, capture_output=True)
    ends = [last(job(0, sweep)) for sweep in ("sweep", "whole")]
    assert torch.equal(*(end["parameters"] for end in ends))
