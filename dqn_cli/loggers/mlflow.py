"""Logger of MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dqn_cli.loggers.logger import Log, LoggedRun, Tracker

URI, LOCAL = "MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MOST_PARAMETERS = 100  # of one request


@dataclass
class Mlflow(Tracker):
    """A run of MLflow, in a database of this machine or on a server."""

    needs: ClassVar[str | None] = "mlflow"

    uri: str | None

    def begin(self, run: LoggedRun) -> Log:
        """Begin a run, or go on with the one of an earlier session."""
        uri, project = self.uri or os.environ.get(URI) or LOCAL, self.project
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # the screen belongs to the run
        client = mlflow.MlflowClient(uri)
        if run.id is not None:
            client.update_run(run.id, status="RUNNING")
            return MlflowLog(client, run.id, run.folder)
        experiment = client.get_experiment_by_name(project)
        experiment_id = experiment.experiment_id if experiment else _create(client, project)
        tags = {"sweep": run.group} if run.group else {}
        begun = client.create_run(experiment_id, run_name=run.name, tags=tags)
        log = MlflowLog(client, begun.info.run_id, run.folder)
        log.parameters(run.hyperparameters)
        return log


class MlflowLog(Log):
    """Open run of MLflow."""

    def __init__(self, client: Any, run_id: str, folder: Path) -> None:
        self.id: str = run_id
        self._client, self._folder = client, folder
        self._status, self._step = "FINISHED", 0

    def parameters(self, values: Mapping[str, bool | float | str]) -> None:
        """Log the hyperparameters."""
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in values.items()]
        for first in range(0, len(params), MOST_PARAMETERS):
            part = params[first : first + MOST_PARAMETERS]
            self._client.log_batch(self.id, params=part)

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        now, self._step = int(time.time() * 1000), step
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def summary(self, values: Mapping[str, float | str]) -> None:
        """Log numbers of the outcome as metrics, and the status as that of the run."""
        self._status = STATUS.get(str(values.get("status")), self._status)
        numbers = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        self.row({f"summary/{key}": value for key, value in numbers.items()}, self._step)

    def file(self, path: Path) -> None:
        """Log a file as an artifact, in the folder that it has in the run's."""
        parent = path.relative_to(self._folder).parent.as_posix()
        self._client.log_artifact(self.id, str(path), None if parent == "." else parent)

    def video(self, path: Path, step: int) -> None:
        """Log the film as an artifact; its name has the step, or says that it is the best one."""
        self._client.log_artifact(self.id, str(path), "video")

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self.id, self._status)


def _create(client: Any, project: str) -> str:
    """Create an experiment, unless another run has just done so, and return its id."""
    try:
        return str(client.create_experiment(project))
    except Exception:
        experiment = client.get_experiment_by_name(project)
        if experiment is None:
            raise
        return str(experiment.experiment_id)
