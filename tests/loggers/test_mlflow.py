from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest

from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.mlflow import Mlflow


class Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


class Param(NamedTuple):
    key: str
    value: str


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of the package, as far as it is used."""
    module = MagicMock()
    client = module.MlflowClient.return_value
    client.get_experiment_by_name.return_value = SimpleNamespace(experiment_id="7")
    client.create_run.return_value.info.run_id = "abc"
    client.made = module.MlflowClient
    monkeypatch.setitem(sys.modules, "mlflow", module)
    entities = SimpleNamespace(Metric=Metric, Param=Param)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return client


def logger(uri: str | None = None) -> Mlflow:
    return Mlflow(project="p", files=True, video=False, uri=uri)


RUN = LoggedRun(Path("/runs/a"), "sweep", {f"key{i}": i for i in range(150)})


def test_runs_are_stored_where_the_user_says_or_else_in_the_working_folder(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger().begin(RUN)
    assert client.made.call_args.args == ("sqlite:///mlflow.db",)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    logger().begin(RUN)
    assert client.made.call_args.args == ("http://server:5000",)
    logger("sqlite:///mine.db").begin(RUN)
    assert client.made.call_args.args == ("sqlite:///mine.db",)


def test_a_new_run_has_its_hyperparameters(client: Any) -> None:
    log = logger().begin(RUN)
    assert log.id == "abc"
    assert client.create_run.call_args.args == ("7",)
    written = [p for call in client.log_batch.call_args_list for p in call.kwargs["params"]]
    assert written == [Param(f"key{i}", str(i)) for i in range(150)]
    assert max(len(c.kwargs["params"]) for c in client.log_batch.call_args_list) <= 100


def test_a_resumed_run_goes_on_under_its_id(client: Any) -> None:
    log = logger().begin(RUN._replace(id="old", step=20))
    client.create_run.assert_not_called()
    client.update_run.assert_called_once_with("old", status="RUNNING")
    log.row({"loss": 0.5}, 30)
    (metric,) = client.log_batch.call_args.kwargs["metrics"]
    assert (client.log_batch.call_args.args, metric.key, metric.step) == (("old",), "loss", 30)


@pytest.mark.parametrize(
    ("status", "theirs"),
    [("finished", "FINISHED"), ("interrupted", "KILLED"), ("failed", "FAILED")],
)
def test_a_run_ends_with_its_status_and_its_files(client: Any, status: str, theirs: str) -> None:
    log = logger().begin(RUN)
    log.row({"loss": 0.5}, 30)
    log.summary({"status": status, "best/mean": 2.0})
    (metric,) = client.log_batch.call_args.kwargs["metrics"]
    assert (metric.key, metric.value, metric.step) == ("summary/best/mean", 2.0, 30)
    log.file(Path("/runs/a/checkpoints/best"))
    assert client.log_artifact.call_args.args == ("abc", "/runs/a/checkpoints/best", "checkpoints")
    log.close()
    client.set_terminated.assert_called_once_with("abc", theirs)


def test_an_experiment_is_created_once(client: Any) -> None:
    there = SimpleNamespace(experiment_id="9")
    client.get_experiment_by_name.side_effect = [None, there]
    client.create_experiment.side_effect = RuntimeError("it exists already")  # from now on
    logger().begin(RUN)
    assert client.create_run.call_args.args == ("9",)
