from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from dqn_cli.commands.population_options import On, PopulationOptions, RayOptions
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.job import Job
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

ray = pytest.importorskip("ray")
from dqn_cli.commands import population_ray  # noqa: E402
from dqn_cli.commands.population_ray import RayCluster, Task, connect_ray, train_parcel  # noqa: E402

Compose = Callable[..., Settings]


class PretendedRay:
    """Ray that runs nothing: tasks end as a test says."""

    exceptions = ray.exceptions

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[tuple[Any, bool]] = []
        self.ends: dict[Any, Any] = {}

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 6.0}

    def remote(self, function: Any) -> Any:
        def options(**asked: Any) -> Any:
            self.asked.append(asked)
            return SimpleNamespace(remote=lambda parcel: f"task {len(self.asked)}")

        return SimpleNamespace(options=options)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return [each for each in references if each in self.ends], []

    def get(self, reference: Any) -> Any:
        if isinstance(end := self.ends[reference], Exception):
            raise end
        return end

    def cancel(self, reference: Any, force: bool = False) -> None:
        self.cancelled.append((reference, force))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> PretendedRay:
    pretended = PretendedRay()
    monkeypatch.setattr(population_ray, "ray", pretended)
    return pretended


def test_a_group_is_a_task_with_its_threads(
    settings_of: Compose, pretended: PretendedRay, in_folder: Path
) -> None:
    settings = replace(settings_of("network.widths=[4]"), threads=2)
    engine = RayCluster(PopulationOptions(on=On.ray, gpus=0.25, retries=4), 2)
    groups = [[Job(settings, Path(f"{number}_job"), [], number)] for number in range(5)]
    tasks = engine.start(groups)
    assert (engine.parallel, engine.slots, len(tasks)) == (3, None, 5)
    assert RayCluster(PopulationOptions(processes=2), "auto").slots == 2
    asked = pretended.asked[3]
    assert (asked["num_cpus"], asked["num_gpus"], asked["max_retries"]) == (2, 0.25, 4)
    assert (asked["name"], asked["retry_exceptions"]) == ("job 3", [Interrupted])
    engine.stop(tasks[:1])
    engine.kill(tasks[1:2])
    assert pretended.cancelled == [("task 1", False), ("task 2", True)]


def test_a_task_ends_well_or_is_lost_or_fails(pretended: PretendedRay) -> None:
    def failed(cause: Exception) -> Exception:
        return ray.exceptions.RayTaskError("train_parcel", "trace", cause)

    pretended.ends = {
        "well": None,
        "lost": ray.exceptions.WorkerCrashedError(),
        "stopped": failed(Interrupted(143)),
        "broken": failed(ImportError("no module mine")),
    }
    assert Task("waits").ending() is None
    ends = {name: Task(name).ending() for name in pretended.ends}
    assert {name: end and end.goes_on for name, end in ends.items()} == {
        "well": False, "lost": True, "stopped": True, "broken": False,
    }  # fmt: skip
    assert ends["broken"]
    assert ends["broken"].reason == "its task failed: no module mine"


@pytest.mark.parametrize(("code", "is_lost"), [(0, False), (130, False), (143, True), (85, True)])
def test_a_task_that_a_machines_end_stops_is_started_elsewhere(code: int, is_lost: bool) -> None:
    parcel: Any = SimpleNamespace(train=lambda: code)
    with pytest.raises(Interrupted) if is_lost else ExitStack():
        train_parcel(parcel)


def test_a_cluster_that_is_not_there_is_told_in_one_line(
    pretended: PretendedRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**arguments: Any) -> None:
        raise ConnectionError("nobody\nis there")

    monkeypatch.setattr(pretended, "is_initialized", lambda: False, raising=False)
    monkeypatch.setattr(pretended, "init", init, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ConfigError, match=r"address=auto: nobody.*`ray start --head`"):
        connect_ray(RayOptions(), ExitStack())
    assert signal.getsignal(signal.SIGTERM) is before


SWEEP = (
    "-m", "steps=1500", "learning_starts=100", "train_every=4", "updates_per_train=1",
    "network.widths=[8]", "eval.every=null", "compile=false", "checkpoint.every=100",
    "agent=dqn,per,n_step", "seed=0,1", "hydra/launcher=population",
)  # fmt: skip
COMMAND = [sys.executable, "-m", "dqn_cli.commands.train"]
STORE = 80_000_000  # bytes, the least that Ray takes


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three nodes of one core; the first is no place for tasks, since it can't be killed."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    size = {"object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **size})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
        yield cluster
    finally:
        cluster.shutdown()


def wait_until(true: Callable[[], Any], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        assert process.poll() is None, Path("log").read_text()
        time.sleep(0.2)


def saved(sweep: str) -> dict[str, torch.Tensor]:
    return {
        run.name: load_checkpoint(run / "checkpoints" / "last")["parameters"]
        for run in Path(sweep).glob("[0-9]*_*")
    }


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_sweep_that_loses_one_of_three_nodes_ends_with_the_bits_of_one_machine(
    in_folder: Path, cluster: Any
) -> None:
    where = ("hydra.launcher.on=ray", f"hydra.launcher.ray.address={cluster.address}")
    with Path("log").open("w") as log:
        words = [*COMMAND, *SWEEP, *where, "hydra.sweep.dir=there"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        wait_until(lambda: len([*Path("there").glob("*/checkpoints/last")]) == 6, process)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert process.wait(900) == 0, Path("log").read_text()
    finally:
        with suppress(psutil.Error):
            process.kill()
    assert "resumed at step" in Path("log").read_text()
    subprocess.run([*COMMAND, *SWEEP, "hydra.sweep.dir=here"], check=True, capture_output=True)
    here, there = saved("here"), saved("there")
    assert here.keys() == there.keys()
    assert len(here) == 6
    assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ctrl_c_cancels_tasks_and_resuming_goes_on_where_they_were(
    in_folder: Path, cluster: Any
) -> None:
    where = ("hydra.launcher.on=ray", f"hydra.launcher.ray.address={cluster.address}")
    words = (*where, "hydra.launcher.members=1", "steps=100000", "hydra.sweep.dir=there")
    with Path("log").open("w") as log:
        process = subprocess.Popen([*COMMAND, *SWEEP, *words], stdout=log, stderr=log)
    try:
        wait_until(lambda: len([*Path("there").glob("*/checkpoints/last")]) >= 2, process)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(600) == 130, Path("log").read_text()
    finally:
        with suppress(psutil.Error):
            process.kill()
    text = Path("log").read_text()
    assert "go on with: dqn-train resume=there" in text
    assert "Traceback" not in text
    statuses = [line.split(",")[2] for line in (Path("there") / "sweep.csv").read_text().split()]
    assert statuses[1:] == ["interrupted"] * 6
