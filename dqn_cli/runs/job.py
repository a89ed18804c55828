"""A job: one run to train, with its settings and its folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dqn_cli.training.settings import Settings

JOB_NAME = re.compile(r"\d{1,15}(_|$)")  # of the folder of a job in a sweep


class Job(NamedTuple):
    """One run to train: its settings, its folder and the overrides that were typed for it."""

    settings: Settings
    folder: Path
    overrides: list[str]
    number: int = 0  # in its sweep
    resumes: bool = False  # from the folder's checkpoints/last
