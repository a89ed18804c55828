"""Sweeps as a whole: the command that began one, and the last lines that it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dqn_cli.commands.continuation import run_status
from dqn_cli.commands.job import resume_hint
from dqn_cli.commands.run_discovery import find_runs
from dqn_cli.commands.sweep_tables import report_sweep, write_sweep_csv
from dqn_cli.config.current_command import Sweep
from dqn_cli.config.run_folders import COMMAND_FILE, FRESH, is_search
from dqn_cli.config.run_metadata import load_env_id
from dqn_cli.runs.manifest import can_resume
from dqn_cli.storage import write_json


def unfinished_command(sweep: Path) -> list[str] | None:
    """Return the words that began a sweep, unless every job has begun or can't be known."""
    file = sweep / COMMAND_FILE
    if not file.is_file():
        return None
    words = map(str, json.loads(file.read_text())["words"])
    return [word for word in words if not word.startswith("hydra.sweep.dir=")]


def has_ended(sweep: Path) -> bool:
    """Return True unless a sweep trains or was stopped, so that jobs may be missing."""
    file = sweep / COMMAND_FILE
    return not file.is_file() or bool(json.loads(file.read_text()).get("ended"))


def finishing_words(sweep: Path, words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the words that begin the jobs of a sweep that have not begun."""
    quoted = str(sweep).replace("\\", "\\\\").replace("'", "\\'")
    return [*words, *overrides, f"hydra.sweep.dir='{quoted}'"]


def end_sweep(succeeded: bool, all_begun: bool = False) -> None:
    """Print the tables of this process's sweep and how it goes on, if it does.

    Args:
        succeeded: True if no job failed.
        all_begun: True if every job had its turn, also to fail.
    """
    sweep = Sweep.folder
    if sweep is None:
        return
    if succeeded and not is_search(sweep):  # a search may go on to more trials
        (sweep / COMMAND_FILE).unlink(missing_ok=True)
    elif all_begun:
        _note_end(sweep)
    runs = find_runs(sweep)
    if not runs:  # it was refused before its first job
        for name in (COMMAND_FILE, "multirun.yaml"):
            (sweep / name).unlink(missing_ok=True)
        with suppress(OSError):  # the folder has other files
            sweep.rmdir()
        return
    if is_search(sweep):
        write_sweep_csv(sweep)  # of hundreds of runs; the search prints its own tables
        runs += find_runs(sweep / FRESH)
    else:
        report_sweep(sweep)
    unfinished = [run for run in runs if can_resume(run) and _is_unfinished(run)]
    if unfinished:
        print(resume_hint(sweep, sorted({load_env_id(run) for run in unfinished})))
        sys.stdout.flush()


def _note_end(sweep: Path) -> None:
    """Note in a sweep's command that it has ended: failed jobs and searches may go on."""
    file = sweep / COMMAND_FILE
    if file.is_file():
        write_json(file, json.loads(file.read_text()) | {"ended": True})


def _is_unfinished(run: Path) -> bool:
    return run_status(run) in (None, "interrupted")
