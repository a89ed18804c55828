"""Training of one run, alone in its process."""

from __future__ import annotations

from contextlib import chdir
from typing import Any

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.runs.result import write_unstarted_result
from dqn_cli.runs.session import Session


def train_alone(job: Job) -> dict[str, Any]:
    """Train one run and return the contents of its result.json.

    Raises:
        TrainingFailure: The run failed.
        Interrupted: A signal ended the run.
        InUse: Another process trains the run.
    """
    folder = job.folder.absolute()
    with lock_runs([job.folder]), chdir("."):  # an environment may change the working folder
        try:
            session = Session([job])
        except EnvironmentFailure as failure:
            write_unstarted_result(job.settings, job.overrides, folder, str(failure))
            raise
        write_manifests([job._replace(folder=folder)])
        (result,) = session()
    if result["status"] == "failed":
        raise TrainingFailure(result["error"])
    return result
