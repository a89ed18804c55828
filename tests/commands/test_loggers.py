from __future__ import annotations

import csv
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from read_back import of_events, of_mlflow, of_trackio, of_wandb

from dqn_cli.config.registry import unregister
from dqn_cli.storage import load_checkpoint

Type = Callable[..., int]
SMALL = (
    "steps=200", "learning_starts=50", "train_every=8", "network.widths=[8]", "eval.every=100",
    "eval.episodes=1", "eval.max_episode_steps=20", "log.every=50", "replay.batch_size=8",
)  # fmt: skip

ONE = ("hydra.launcher.processes=1",)
OWN = """
import time
from dataclasses import dataclass

import dqn_cli
from dqn_cli.loggers.logger import Log, LoggedRun, Logger


class Lines(Log):
    def __init__(self, file, fails):
        self.id, self._file, self._fails = "mine", file, fails

    def row(self, values, step):
        if self._fails == "raises" and step > 100:
            raise RuntimeError("the server is gone")
        if self._fails == "hangs":
            time.sleep(3600)
        with self._file.open("a") as file:
            print(step, len(values), file=file)


@dataclass
class Mine(Logger):
    file: str = "lines.txt"
    fails: str = "never"

    def begin(self, run: LoggedRun) -> Log:
        return Lines(run.folder / self.file, self.fails)


dqn_cli.register("logger", "mine", Mine)
"""


def table_of(run: Path) -> dict[tuple[str, int], float]:
    with (run / "metrics.csv").open() as file:
        return {
            (key, int(row["step"])): float(value)
            for row in csv.DictReader(file)
            for key, value in row.items()
            if value and key != "step"
        }


def test_several_loggers_hold_the_same_rows_also_when_a_run_goes_on(
    type_train: Type, in_folder: Path
) -> None:
    assert type_train(*SMALL, "logger=[tensorboard,csv]", "hydra.run.dir=a", "stop.step=120") == 0
    assert type_train("resume=a", "stop.step=null") == 0
    rows = of_events(in_folder / "a")
    assert {step for _, step in rows} == {50, 100, 150, 200}
    assert table_of(in_folder / "a") == pytest.approx(rows)


def test_a_run_may_have_no_event_file(
    type_train: Type, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(*SMALL, "logger=csv", "hydra.run.dir=a") == 0
    assert not list((in_folder / "a").glob("events.*"))
    assert "tensorboard" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_a_missing_extra_is_named_before_anything_is_written(
    type_train: Type,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr("dqn_cli.loggers.logger.find_spec", lambda name: None)
    assert type_train(f"logger=[tensorboard,{name}]", "hydra.run.dir=a") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: logger={name} needs an extra: pip install 'dqn-train[{name}]'"
    assert not (in_folder / "a").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["logger=tensorbord"], "did you mean tensorboard?"),
        (["logger.wandb.project=x"], "it comes with logger=wandb, or wandb in the list"),
        (["logger=csv", "logger.csv.file=x"], "unknown key logger.csv.file"),
        (["network=[mlp,multi]"], "network takes the name of one of its choices"),
        (["logger={a: 3}"], "logger takes the name"),
    ],
)
def test_a_wrong_logger_is_one_line(
    type_train: Type, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert type_train(*words) == 1
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_ones_own_logger_works_in_a_population_and_stops_no_run(
    type_train: Type, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "my_loggers.py").write_text(OWN)
    sweep = ("-m", "import=[my_loggers]", *SMALL, "logger=[csv,mine]")
    fails = "logger.mine.fails=never,raises"
    try:
        code = type_train(*sweep, fails, "hydra/launcher=population", *ONE, "hydra.sweep.dir=s")
        printed = capsys.readouterr().out
        works, raises = sorted((in_folder / "s").glob("*/"))
        assert code == 0
        assert "jobs 0-1: 2 side by side" in printed
        warnings = [line for line in printed.splitlines() if "warning: " in line]
        assert len(warnings) == 1
        assert warnings[0].endswith("mine rows end here: RuntimeError: the server is gone")
        assert json.loads((works / "loggers.json").read_text()) == {"mine": "mine"}
        steps = [line.split()[0] for line in (works / "lines.txt").read_text().splitlines()]
        assert steps == ["50", "100", "100", "150", "200", "200"]
        assert [row[1] for row in table_of(raises)][-1] == 200
        best = load_checkpoint(raises / "checkpoints" / "best")
        assert best["settings"]["logger"] == {}  # a policy needs no package of a logger
        capsys.readouterr()
        words = ("import=[my_loggers]", *SMALL, "logger=mine", "hydra.run.dir=c")
        monkeypatched = pytest.MonkeyPatch()
        with monkeypatched.context() as patch:
            patch.setattr("dqn_cli.runs.session.LOGGER_SECONDS", 0.2)
            assert type_train(*words, "logger.mine.fails=hangs") == 0
        assert "mine rows end here: the run ended before" in capsys.readouterr().out
        assert json.loads((in_folder / "c" / "result.json").read_text())["status"] == "finished"
    finally:
        unregister("logger", "mine")


@pytest.mark.slow
def test_trackers_hold_what_the_event_file_holds_and_send_nothing(
    type_train: Type, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("wandb", "trackio", "mlflow"):
        pytest.importorskip(module)
    monkeypatch.setenv("TRACKIO_DIR", str(in_folder / "trackio"))
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    real, called = socket.socket.connect, list[Any]()

    def connect(self: socket.socket, address: Any) -> None:
        called.append(address)
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    loggers = "logger=[tensorboard,wandb,trackio,mlflow]"
    assert type_train(*SMALL, loggers, "hydra.run.dir=a", "stop.step=120") == 0
    assert type_train("resume=a", "stop.step=null") == 0
    run = in_folder / "a"
    ids, rows = json.loads((run / "loggers.json").read_text()), of_events(run)
    assert {step for _, step in rows} == {50, 100, 150, 200}
    assert of_wandb(run) == pytest.approx(rows)
    assert of_trackio("dqn-train", ids["trackio"]) == pytest.approx(rows)
    assert of_mlflow("sqlite:///mlflow.db", ids["mlflow"]) == pytest.approx(rows)
    assert len({folder.name.rpartition("-")[2] for folder in run.glob("wandb/offline-*")}) == 1
    # wandb talks with its own process on this machine.
    hosts = {address[0] if isinstance(address, tuple) else "local" for address in called}
    assert hosts <= {"127.0.0.1", "localhost", "::1", "local"}
