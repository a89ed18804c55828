from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from dqn_cli.commands import population_launcher
from dqn_cli.commands.population_engines import Engine
from dqn_cli.commands.population_groups import train_groups
from dqn_cli.runs.job import Job
from dqn_cli.runs.manifest import noted_failure, write_manifests
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.storage import load_checkpoint

Typed = Callable[..., int]
Lines = pytest.CaptureFixture[str]
SMALL = (
    "steps=80", "learning_starts=30", "train_every=4", "updates_per_train=1", "eval.episodes=1",
    "network.widths=[4]", "replay.batch_size=8", "compile=false",
)  # fmt: skip
WHERE = ("hydra/launcher=population", "hydra.sweep.dir=sweep")
HERE = (*WHERE, "hydra.launcher.processes=1")  # in this process, where one group is enough
EXPLODE = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null")


@pytest.fixture
def type_sweep(type_train: Typed) -> Typed:
    """Types a small sweep that is trained side by side, in this process."""
    return lambda *words: type_train("-m", *SMALL, *HERE, *words)


def folder_of(number: int, sweep: str = "sweep") -> Path:
    (found,) = Path(sweep).glob(f"{number}_*")
    return found


def result_of(number: int, sweep: str = "sweep") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder_of(number, sweep) / "result.json").read_text())
    return found


def statuses(sweep: str = "sweep") -> dict[str, str]:
    """What sweep.csv says of each job."""
    with (Path(sweep) / "sweep.csv").open() as file:
        return {row["job"]: row["status"] for row in csv.DictReader(file)}


def parameters(run: Path, checkpoint: str = "last") -> torch.Tensor:
    found: torch.Tensor = load_checkpoint(run / "checkpoints" / checkpoint)["parameters"]
    return found


def last_error(capsys: Lines) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_each_job_has_a_folder_like_that_of_a_run_of_its_own(
    type_sweep: Typed, type_train: Typed, type_eval: Typed, capsys: Lines
) -> None:
    words = ("dtype=float64", "seed=3,5", "optimizer.lr=1e-3,1e-2")
    assert type_sweep(*words) == 0
    said = capsys.readouterr().out
    for number, (seed, rate) in enumerate([(3, 1e-3), (3, 1e-2), (5, 1e-3), (5, 1e-2)]):
        folder, result = folder_of(number), result_of(number)
        assert (result["status"], result["steps"]) == ("finished", 80)
        assert (result["seed"], result["members"]) == (seed, 4)
        assert {f"seed={seed}", f"optimizer.lr={rate:g}"} < {
            word.replace("1e-3", "0.001").replace("1e-2", "0.01") for word in result["overrides"]
        }
        config = OmegaConf.load(folder / ".hydra" / "config.yaml")
        assert (config.seed, config.optimizer.lr) == (seed, rate)
        assert OmegaConf.load(folder / ".hydra" / "overrides.yaml") == result["overrides"]
        assert OmegaConf.load(folder / ".hydra" / "hydra.yaml").hydra.job.num == number
        assert len(list(folder.glob("events.*"))) == 1
        assert (folder / "checkpoints" / "best").is_file()
        assert f"job {number}: " in said
    assert "jobs 0-3: 4 side by side" in said
    assert statuses() == dict.fromkeys("0123", "finished")
    assert type_eval(f"checkpoint={folder_of(2)}", "episodes=2") == 0
    assert (
        type_train(*SMALL, "dtype=float64", "seed=5", "optimizer.lr=1e-2", "hydra.run.dir=a") == 0
    )
    ends = [parameters(folder) for folder in (folder_of(3), Path("a"))]
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


def test_a_job_that_is_refused_fails_alone(type_sweep: Typed, capsys: Lines) -> None:
    assert type_sweep("head=c51", "head.atoms=5", "head.v_min=-100,300,-50") == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("job 1 failed: head=c51 needs v_min below v_max")
    assert error[-1].startswith("error: head=c51 needs v_min below v_max")
    assert statuses() == {"0": "finished", "2": "finished", "1": "failed"}
    assert result_of(0)["members"] == result_of(2)["members"] == 2
    assert not (folder_of(1) / "checkpoints").exists()
    assert (noted_failure(folder_of(1)) or "").startswith("head=c51 needs v_min below v_max")


def test_a_job_that_diverges_fails_alone(type_sweep: Typed, capsys: Lines) -> None:
    assert type_sweep(*EXPLODE, "optimizer.lr=1e-3,1e30,1e-4", "log.every=10") == 1
    assert last_error(capsys).startswith("error: job 1: the loss became NaN")
    assert statuses() == {"0": "finished", "2": "finished", "1": "failed"}
    assert [result_of(number)["steps"] for number in (0, 2)] == [80, 80]
    assert result_of(1)["status"] == "failed"


def test_if_all_jobs_are_refused_nothing_is_trained(type_sweep: Typed, capsys: Lines) -> None:
    assert type_sweep("head=c51", "head.v_min=200,300") == 1
    assert last_error(capsys).startswith("error: head=c51 needs v_min below v_max")
    assert statuses() == {"0": "failed", "1": "failed"}


def test_a_group_that_can_not_be_built_has_failed(type_sweep: Typed, capsys: Lines) -> None:
    assert type_sweep("seed=0,1", "+env.kwargs.gravityy=1") == 1
    shown = capsys.readouterr()
    assert "interrupted" not in shown.out
    assert "gravityy" in shown.err
    assert shown.err.splitlines()[-1].startswith("error: job 0: ")
    assert statuses() == {"0": "failed", "1": "failed"}


def test_a_sweeper_may_launch_several_times(type_sweep: Typed) -> None:
    assert type_sweep("seed=0,1,2", "hydra.sweeper.max_batch_size=2") == 0
    assert [result_of(number)["members"] for number in range(3)] == [2, 2, 1]
    assert [result_of(number)["seed"] for number in range(3)] == [0, 1, 2]
    assert statuses() == dict.fromkeys("012", "finished")


def test_a_limit_makes_smaller_groups(
    type_sweep: Typed, monkeypatch: pytest.MonkeyPatch, capsys: Lines
) -> None:
    def one_by_one(groups: Sequence[Sequence[Job]], engine: Engine) -> int:
        return max(train_groups([group], engine) for group in groups)

    monkeypatch.setattr(population_launcher, "train_groups", one_by_one)
    assert type_sweep("seed=0,1,2", "hydra.launcher.members=2") == 0
    assert [result_of(number)["members"] for number in range(3)] == [1, 2, 2]
    said = capsys.readouterr().out
    assert "job 0: 1 of 1 finished" in said
    assert "jobs 1-2: 2 of 2 finished" in said


def test_jobs_that_change_folders_write_to_their_own(type_sweep: Typed, in_folder: Path) -> None:
    before = {path.name for path in in_folder.iterdir()}
    assert type_sweep("seed=0,1", "hydra.job.chdir=true") == 0
    assert {path.name for path in in_folder.iterdir()} - before == {"sweep"}
    assert statuses() == {"0": "finished", "1": "finished"}


@pytest.mark.parametrize("word", ["processes=0", "processes=many", "members=0", "members=-1"])
def test_counts_below_one_are_refused_by_name(type_train: Typed, capsys: Lines, word: str) -> None:
    assert type_train("-m", *SMALL, *WHERE, f"hydra.launcher.{word}") == 1
    line = last_error(capsys)
    assert line.startswith("error: ")
    assert word.split("=")[0] in line
    assert "HYDRA_FULL_ERROR" not in line


def done(job: Job, status: str, mean: float | None = None) -> None:
    """Leaves a result as a session does."""
    bounds = {"mean": mean, "mean_ci95": [mean, mean]}
    result = {"status": status, "error": f"{job.number} broke", "seconds": {"total": 1.0}}
    result["best"] = None if mean is None else bounds
    result["overrides"] = list(job.overrides)
    (job.folder / "result.json").write_text(json.dumps(result))


Returned = list[JobReturn]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[Job]], int]], Returned]:
    """Lets groups do something else than train; what the launcher returns is in the list."""

    def trains(instead: Callable[[list[Job]], int]) -> Returned:
        returned: Returned = []
        real = population_launcher.launch

        def launch(*arguments: Any) -> Returned:
            returned.extend(real(*arguments))
            return returned

        def flat(groups: Sequence[Sequence[Job]], engine: Engine) -> int:
            return instead([job for group in groups for job in group])

        monkeypatch.setattr(population_launcher, "train_groups", flat)
        monkeypatch.setattr(population_launcher, "launch", launch)
        return returned

    return trains


def test_sweepers_get_the_best_mean_or_the_error(
    type_sweep: Typed, training: Callable[..., Returned], capsys: Lines
) -> None:
    def instead(jobs: list[Job]) -> int:
        done(jobs[0], "finished", 7.5)
        done(jobs[1], "finished")
        done(jobs[2], "failed", 3.0)
        return 0

    returned = training(instead)
    assert type_sweep("seed=0,1,2,3") == 1
    assert [each.status for each in returned[:2]] == [JobStatus.COMPLETED] * 2
    assert [each.return_value for each in returned[:2]] == [7.5, None]
    with pytest.raises(TrainingFailure, match=r"^job 2: 2 broke$"):
        _ = returned[2].return_value
    with pytest.raises(TrainingFailure, match=r"^job 3: .*without a result$"):
        _ = returned[3].return_value
    assert "error: job 2: 2 broke" in capsys.readouterr().err
    assert statuses()["3"] == "failed"


def test_an_interrupted_sweep_keeps_its_started_jobs(
    type_sweep: Typed, training: Callable[..., Returned], capsys: Lines
) -> None:
    def instead(jobs: list[Job]) -> int:
        done(jobs[0], "interrupted")
        (jobs[1].folder / "checkpoints").mkdir()  # its process was killed before
        (jobs[1].folder / "checkpoints" / "last").write_text("hours of work")
        return 143

    training(instead)
    assert type_sweep("seed=0,1,2") == 143
    assert (folder_of(1) / "checkpoints" / "last").read_text() == "hours of work"
    assert "go on with: dqn-train resume=sweep" in capsys.readouterr().out


def test_jobs_that_did_not_start_are_reported_and_kept(
    type_sweep: Typed, training: Callable[..., Returned], type_train: Typed
) -> None:
    def instead(jobs: list[Job]) -> int:
        write_manifests(jobs)
        done(jobs[0], "interrupted")
        return 143

    training(instead)
    assert type_sweep("seed=0,1") == 143
    assert statuses() == {"0": "interrupted", "1": "interrupted"}
    assert type_train("resume=sweep") == 0
    assert statuses() == {"0": "finished", "1": "finished"}


def test_other_applications_neither_load_nor_use_it(in_folder: Path) -> None:
    Path("app.py").write_text(
        "import sys, hydra\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def app(config): print('ran')\n"
        "app()\n"
        "print('loaded', sorted({'torch', 'dqn_cli'} & set(sys.modules)))\n"
    )
    said = [
        subprocess.run([sys.executable, "app.py", *words], capture_output=True, text=True)
        for words in (["-m", "+a=1"], ["-m", "+a=1", "hydra/launcher=population"])
    ]
    assert said[0].stdout.splitlines()[-2:] == ["ran", "loaded []"]
    assert "works only in dqn-train" in said[1].stderr
    assert "ran" not in said[1].stdout


MODULE = """
import os, signal
from dataclasses import dataclass
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
import dqn_cli
from dqn_cli.agent.exploration import Exploration

class Mortal(CartPoleEnv):
    def __init__(self, lives=1000, **options):
        super().__init__(**options)
        self.lives = lives

    def step(self, action):
        self.lives -= 1
        if not self.lives:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)

@dataclass
class Half(Exploration):
    share: float = 0.5

    def epsilon(self, elapsed, horizon, envs):
        return self.share

gymnasium.register("Mortal-v0", entry_point=Mortal, max_episode_steps=20)
dqn_cli.register("exploration", "half", Half)
"""
COMMAND = [sys.executable, "-m", "dqn_cli.commands.train"]


def real(*words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose groups have real processes too."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=200)


def test_groups_have_processes_that_know_the_users_modules(in_folder: Path) -> None:
    (in_folder / "mine.py").write_text(MODULE)
    own = ("import=[mine]", "env=Mortal-v0", "exploration=half")
    sweep = ("-m", "agent=dqn,per", "seed=0,1", "hydra.launcher.processes=2")
    ended = real(*SMALL, *WHERE, *own, *sweep)
    assert ended.returncode == 0, ended.stderr
    assert statuses() == dict.fromkeys("0123", "finished")
    for number, (agent, seed) in enumerate([("dqn", 0), ("dqn", 1), ("per", 0), ("per", 1)]):
        result = result_of(number)
        assert (result["env"], result["seed"], result["members"]) == ("Mortal-v0", seed, 2)
        assert f"agent={agent}" in result["overrides"]
    lines = [" ".join(line.split()) for line in ended.stdout.splitlines()]
    assert "jobs 0-1: 2 side by side agent=dqn" in lines
    assert "jobs 2-3: 2 side by side agent=per" in lines
    assert not torch.equal(parameters(folder_of(0)), parameters(folder_of(2)))


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_jobs_failed_and_the_others_finish(
    in_folder: Path,
) -> None:
    (in_folder / "mine.py").write_text(MODULE)
    own = ("import=[mine]", "env=Mortal-v0", "checkpoint.every=10")
    sweep = ("-m", "+env.kwargs.lives=60,1000", "seed=0,1", "hydra.launcher.processes=2")
    ended = real(*SMALL, *WHERE, *own, *sweep)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: job 0: its process ended")
    assert statuses() == {"0": "failed", "1": "failed", "2": "finished", "3": "finished"}
    assert load_checkpoint(folder_of(0) / "checkpoints" / "last")["clock"][0] == 50


LONG = (
    "steps=6000", "learning_starts=100", "train_every=4", "updates_per_train=1",
    "network.widths=[16]", "eval.every=2000", "eval.episodes=2", "compile=false",
)  # fmt: skip
SWEEP = (
    "-m", "agent=dqn,per", "seed=0,1", "hydra/launcher=population", "hydra.launcher.processes=2",
)  # fmt: skip


def wait_until(true: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def started(*words: str) -> subprocess.Popen[bytes]:
    """A sweep in folder `sweep` whose two groups are training, in a process group of its own."""
    log = Path("log")
    with log.open("w") as out:
        words = (*COMMAND, *words, "hydra.sweep.dir=sweep")
        process = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
    wait_until(lambda: log.read_text().count(": training, ") == 2 or process.poll() is not None)
    time.sleep(0.7)
    return process


def alive(group: int) -> list[str]:
    """What still runs of a process group."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended just now
            continue
        if int(own) == group and state != "Z":
            found.append((file.parent / "cmdline").read_text())
    return found


def everyone(process: subprocess.Popen[bytes]) -> int:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    return process.wait(60)


def parent_alone(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(60)


def killed(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    return process.wait(60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    words = (*COMMAND, *LONG, *SWEEP, "hydra.sweep.dir=sweep")
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "sweep"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"), [(everyone, 130), (parent_alone, 143), (killed, -signal.SIGKILL)]
)
def test_a_sweep_that_ended_early_goes_on_to_the_same_bits(
    in_folder: Path, whole: Path, end: Callable[[subprocess.Popen[bytes]], int], code: int
) -> None:
    process = started(*LONG, *SWEEP)
    assert end(process) == code
    wait_until(lambda: not alive(process.pid), 10)
    for number in range(4):
        result = result_of(number)
        assert result["status"] == "interrupted"
        last = load_checkpoint(folder_of(number) / "checkpoints" / "last")
        assert 0 < last["clock"][0] == result["steps"] < 6000
    if code > 0:
        assert "go on with: dqn-train resume=sweep" in Path("log").read_text()
        assert statuses() == dict.fromkeys("0123", "interrupted")
    resumed = real("resume=sweep")
    assert resumed.returncode == 0, resumed.stderr
    assert statuses() == dict.fromkeys("0123", "finished")
    for number in range(4):
        for checkpoint in ("last", "best"):
            ends = [folder_of(number, str(sweep)) for sweep in (whole, "sweep")]
            assert torch.equal(*(parameters(run, checkpoint) for run in ends))
    again = real("resume=sweep")
    assert again.returncode == 0
    assert "finished" in again.stdout.splitlines()[-1]


@pytest.mark.slow
def test_environments_in_processes_of_their_own_end_with_the_sweep(in_folder: Path) -> None:
    words = ("env.vectorization=async", "env.num_envs=2", "steps=100000")
    process = started(*LONG, *SWEEP, *words)
    assert everyone(process) == 130
    wait_until(lambda: not alive(process.pid), 10)
    assert [result_of(number)["status"] for number in range(4)] == ["interrupted"] * 4
    assert "Traceback" not in Path("log").read_text()
