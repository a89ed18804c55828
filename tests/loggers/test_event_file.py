from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn_cli.loggers import event_file
from dqn_cli.loggers.event_file import EventFile
from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.run_loggers import RunLoggers
from dqn_cli.loggers.tensorboard import TensorBoard
from dqn_cli.runs.hyperparameters import hyperparameters
from dqn_cli.training.settings import Settings

REWARD = "eval/mean_reward"
FULL = Path("/dev/full")


@pytest.fixture(scope="module")
def settings(settings_of: Callable[..., Settings]) -> Settings:
    words = ("env=Blackjack-v1", "seed=3", "optimizer.lr=0.5", "agent=d3qn", "device=cpu")
    return settings_of(*words)


def read(folder: Path) -> Any:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


def test_rows_are_read_back_by_tag_and_step(tmp_path: Path, settings: Settings) -> None:
    file = EventFile(tmp_path, hyperparameters(settings), None)
    file.row({REWARD: 1.5, "train/loss": 0.25}, 10)
    file.row({REWARD: 2.5}, 20)
    file.close()
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars(REWARD)] == [(10, 1.5), (20, 2.5)]
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(10, 0.25)]
    assert set(events.Tags()["scalars"]) == {REWARD, "train/loss"}


def written_hyperparameters(folder: Path) -> dict[str, Any]:
    content = read(folder).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    kinds = ("number_value", "string_value", "bool_value")
    return {
        key: next(getattr(value, kind) for kind in kinds if value.HasField(kind))
        for key, value in start.hparams.items()
    }


def test_hyperparameters_are_in_the_one_file_of_the_run(tmp_path: Path, settings: Settings) -> None:
    file = EventFile(tmp_path, hyperparameters(settings), None)
    file.row({REWARD: 1.0}, 1)
    file.close()
    assert [path.is_file() for path in tmp_path.iterdir()] == [True]
    values = written_hyperparameters(tmp_path)
    assert values["seed"] == 3
    assert values["optimizer.lr"] == 0.5
    assert values["optimizer.type"] == "Adam"
    assert values["update.type"] == "Double"
    assert values["network.dueling"] == 1
    assert values["network.widths"] == str(settings.network.widths)  # type: ignore[attr-defined]
    assert values["env.id"] == "Blackjack-v1"
    assert values["device"] == "cpu"
    assert values["episodes"] == "None"


def test_every_setting_that_may_explain_a_result_is_a_hyperparameter(
    tmp_path: Path, settings: Settings
) -> None:
    EventFile(tmp_path, hyperparameters(settings), None).close()
    values = written_hyperparameters(tmp_path)
    parts = ("network", "head", "update", "target", "exploration", "replay", "optimizer", "reset")
    for part in parts:
        for name in vars(getattr(settings, part)):
            assert f"{part}.{name}" in values
    assert {"steps", "gamma", "learning_starts", "train_every", "threads", "dtype"} <= set(values)


def test_hyperparameters_of_every_kind_of_part_are_named_as_the_user_names_them(
    tmp_path: Path, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of(
        "agent=rainbow", "head.v_min=-100", "reset.every=5000", "replay.alpha=0.25"
    )
    EventFile(tmp_path, hyperparameters(settings), None).close()
    values = written_hyperparameters(tmp_path)
    assert (values["head.type"], values["replay.type"]) == ("C51", "Prioritised")
    assert (values["head.atoms"], values["head.v_min"]) == (51, -100)
    assert (values["replay.alpha"], values["replay.priority"]) == (0.25, "loss")
    assert values["network.noisy"] == 1
    assert values["exploration.type"] == "Noisy"
    assert values["reset.every"] == 5000
    assert not any(key.startswith(("eval", "checkpoint", "log")) for key in values)


def test_closing_writes_the_end_of_the_session(tmp_path: Path, settings: Settings) -> None:
    file = EventFile(tmp_path, hyperparameters(settings), None)
    file.row({REWARD: 1.0}, 1)
    file.close()
    content = read(tmp_path).summary_metadata["_hparams_/session_end_info"].plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).HasField("session_end_info")


def test_a_resumed_run_hides_rows_from_its_step_on(tmp_path: Path, settings: Settings) -> None:
    for purge_step, steps, value in ((None, (10, 20, 30), 1.0), (20, (20, 40), 2.0)):
        file = EventFile(tmp_path, hyperparameters(settings), purge_step)
        for step in steps:
            file.row({REWARD: value}, step)
        file.close()
    rows = [(event.step, event.value) for event in read(tmp_path).Scalars(REWARD)]
    assert rows == [(10, 1), (20, 2), (40, 2)]


class RedirectedWriter:
    """A RecordWriter whose file can be replaced by another one."""

    def __init__(self, file: Any) -> None:
        self.writer = RecordWriter(file)

    def redirect(self, file: Any) -> None:
        self.writer.close()
        self.writer = RecordWriter(file)

    def write(self, record: bytes) -> None:
        self.writer.write(record)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_costs_the_rows_and_not_the_run(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[RedirectedWriter] = []

    def create_writer(file: Any) -> RedirectedWriter:
        writers.append(RedirectedWriter(file))
        return writers[-1]

    monkeypatch.setattr(event_file, "RecordWriter", create_writer)
    warned: list[str] = []
    run = LoggedRun(tmp_path, "", hyperparameters(settings))
    loggers = RunLoggers({"tensorboard": TensorBoard()}, run, warned.append)
    loggers.row({REWARD: 1.0}, 1)
    writers[0].redirect(FULL.open("wb"))
    loggers.row({REWARD: 2.0}, 2)
    loggers.row({REWARD: 3.0}, 3)
    loggers.close({})
    assert len(warned) == 1
    assert re.search("TensorBoard rows end here: .*No space left", warned[0])
    assert [event.step for event in read(tmp_path).Scalars(REWARD)] == [1]


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path: Path, settings: Settings) -> None:
    file = EventFile(tmp_path, hyperparameters(settings), None)
    threads = threading.active_count()
    file.row({REWARD: 1.0, "train/loss": 0.5}, 1)
    assert [event.step for event in read(tmp_path).Scalars("train/loss")] == [1]
    assert threading.active_count() == threads
    file.close()
