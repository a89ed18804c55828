from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dqn_cli.commands.population_options import On, PopulationOptions, SlurmOptions
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.job import Job
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

submitit = pytest.importorskip("submitit")
from dqn_cli.commands.population_slurm import SlurmCluster, check_slurm  # noqa: E402

Compose = Callable[..., Settings]
# Commands that only note how they were called.
PRETENDED = {
    "sbatch": 'cp "$1" "$NOTES/script$(ls "$NOTES" | wc -l)"; echo "Submitted batch job 12"',
    "srun": "",
    "scancel": 'echo "$@" >> "$NOTES/scancel"',
    "sacct": 'echo >> "$NOTES/sacct"; printf "JobID|State|NodeList\\n12_0|CANCELLED|a\\n"',
}


@pytest.fixture
def notes(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts SLURM's commands into PATH; the folder of their notes."""
    for name, text in PRETENDED.items():
        (in_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (in_folder / name).chmod(0o755)
    folder = in_folder / "notes"
    folder.mkdir()
    monkeypatch.setenv("NOTES", str(folder))
    monkeypatch.setenv("PATH", str(in_folder), prepend=":")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return folder


def groups(settings_of: Compose, *threads: int) -> list[list[Job]]:
    """A group of one job for each number of threads."""
    settings = settings_of("network.widths=[4]")
    return [
        [Job(replace(settings, threads=count), Path(f"{number}_job"), [], number)]
        for number, count in enumerate(threads)
    ]


def cluster(**keys: object) -> SlurmCluster:
    own = {key: value for key, value in keys.items() if key in SlurmOptions._fields}
    others = {key: value for key, value in keys.items() if key not in own}
    options = PopulationOptions(on=On.slurm, slurm=SlurmOptions(**own), **others)  # type: ignore[arg-type]
    check_slurm(options)
    return SlurmCluster(options, Path("sweep"))


def directives(script: Path) -> dict[str, str]:
    lines = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines)


def test_groups_are_one_array_with_what_was_typed(settings_of: Compose, notes: Path) -> None:
    engine = cluster(partition="short", time=30, mem=2, additional={"slurm_qos": "low"})
    assert len(engine.start(groups(settings_of, 2, 2, 2))) == 3
    (script,) = notes.iterdir()
    asked = directives(script)
    assert asked["array"] == "0-2%3"
    assert (asked["cpus-per-task"], asked["time"], asked["mem"]) == ("2", "30", "2GB")
    assert (asked["partition"], asked["qos"], asked["signal"]) == ("short", "low", "USR2@90")
    assert not {"account", "gpus-per-node"} & asked.keys()


def test_groups_of_other_threads_are_an_array_of_their_own(
    settings_of: Compose, notes: Path
) -> None:
    assert len(cluster().start(groups(settings_of, 1, 1, 4))) == 2


def test_processes_limit_what_trains_at_once(settings_of: Compose, notes: Path) -> None:
    engine = cluster(processes=2, gpus=1)
    assert engine.parallel == 2
    engine.start(groups(settings_of, 1, 1, 1))
    (script,) = notes.iterdir()
    assert (directives(script)["array"], directives(script)["gpus-per-node"]) == ("0-2%2", "1")


def test_all_jobs_are_cancelled_and_asked_for_by_one_command(
    settings_of: Compose, notes: Path
) -> None:
    engine = cluster()
    jobs = engine.start(groups(settings_of, 1, 1, 1))
    engine.stop(jobs)
    engine.wait(jobs)
    engine.kill(jobs)
    assert (notes / "scancel").read_text().split() == ["12"]
    assert [bool(job.ending()) for job in jobs] == [True, False, False]
    assert len((notes / "sacct").read_text().splitlines()) == 1


def test_a_job_ends_with_its_result_file(settings_of: Compose, notes: Path) -> None:
    engine = cluster()
    jobs = engine.start(groups(settings_of, 1, 1))
    (Path("sweep") / ".submitit" / "12_1_0_result.pkl").touch()
    engine.wait(jobs)
    ending = jobs[1].ending()
    assert ending
    assert not ending.goes_on
    assert "job 12_1" in ending.reason


def test_what_submitit_refuses_is_told_in_one_line(settings_of: Compose, notes: Path) -> None:
    with pytest.raises(ConfigError, match=r"submitit refuses it: .*slurm_qso"):
        cluster(additional={"slurm_qso": "low"}).start(groups(settings_of, 1))
    with pytest.raises(ConfigError, match="whole GPUs"):
        cluster(gpus=0.5)
    (notes.parent / "srun").unlink()
    with pytest.raises(ConfigError, match="needs the command srun"):
        cluster()


MODULE = """
import os, signal
from gymnasium.envs.classic_control import CartPoleEnv
import gymnasium

class Preempted(CartPoleEnv):
    taken = 0
    def step(self, action):
        Preempted.taken += 1
        if Preempted.taken == 1000 and os.environ.get("SUBMITIT_EXECUTOR"):
            if not os.path.exists("preempted"):
                open("preempted", "w").close()
                os.kill(os.getpid(), signal.SIGUSR2)
        return super().step(action)

gymnasium.register("Preempted-v0", entry_point=Preempted, max_episode_steps=50)
"""
SWEEP = (
    "-m", "env=mine:Preempted-v0", "steps=2000", "learning_starts=100", "train_every=4",
    "updates_per_train=1", "network.widths=[8]", "eval.every=null", "compile=false", "seed=0,1",
    "checkpoint.every=100000", "hydra/launcher=population",
)  # fmt: skip


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dqn_cli.commands.train", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def last(sweep: str) -> Sequence[torch.Tensor]:
    runs = sorted(Path(sweep).glob("[0-9]*_*"))
    return [load_checkpoint(run / "checkpoints" / "last")["parameters"] for run in runs]


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_a_group_that_is_requeued_goes_on_to_the_bits_of_one_machine(in_folder: Path) -> None:
    (in_folder / "mine.py").write_text(MODULE)
    assert typed(*SWEEP, "hydra.sweep.dir=here").returncode == 0
    where = ("hydra.launcher.on=slurm", "hydra.launcher.slurm.cluster=local")
    ended = typed(*SWEEP, *where, "hydra.sweep.dir=there")
    assert ended.returncode == 0, ended.stderr
    (log,) = Path("there").glob(".submitit/*_log.out")
    assert "resumed at step" in log.read_text()
    assert [torch.equal(*ends) for ends in zip(last("here"), last("there"), strict=True)] == [
        True,
        True,
    ]
