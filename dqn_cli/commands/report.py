"""Command `dqn-report`: one page that answers what a sweep was for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_cli.commands.command_line import (
    exit_on_flags,
    exit_with,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.help import REPORT
from dqn_cli.commands.run_discovery import RunInfo, load_runs, run_label, varied_keys
from dqn_cli.commands.words import options_and_paths

if TYPE_CHECKING:
    from dqn_cli.searching.stored_search import StoredSearch

KEYS = ("by", "out")
OUT = "report"
PAGES = (".html", ".htm", ".pdf", ".png")  # names of files, where a folder is asked for


def main() -> None:
    """Run the console script."""
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, or write a report; return the exit code."""
    if print_help_or_version(arguments or ["--help"], lambda: REPORT):
        return 0
    exit_on_flags(arguments)
    options, paths = options_and_paths(arguments, KEYS)
    report(paths, options.get("by"), Path(options.get("out", OUT)))
    return 0


def report(paths: Sequence[Path], by: str | None, out: Path) -> None:
    """Write a report of every run at the paths.

    Raises:
        ConfigError: If an option is not valid, or if there is no run.
    """
    from dqn_cli.commands.sweeps import has_ended
    from dqn_cli.config.run_metadata import job_number
    from dqn_cli.config.validation import ConfigError
    from dqn_cli.reporting.run_rows import mark_repeated, read_row
    from dqn_cli.reporting.write_report import write_report

    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} names a file: name a folder, as in out=report")
    if out.suffix.lower() in PAGES and not out.exists():
        raise ConfigError(f"out={out} is no folder: name one, as in out=report, for report.html")
    if not paths:
        raise ConfigError("name what to report: the folder of a sweep or of a run")
    found = {path: load_runs(path, "dqn-report", KEYS) for path in paths}
    runs = {run.folder.resolve(): run for of_path in found.values() for run in of_path}
    keys = _chosen_keys(by, sorted({key for run in runs.values() for key in run.overrides}))
    if keys is None:
        keys = [key for key in varied_keys(list(runs.values())) if key != "env"]
    ordered = sorted(runs.values(), key=lambda run: (run.folder.parent, job_number(run.folder, 0)))
    rows = [read_row(run.folder, run.env, run_label(run, keys)) for run in ordered]
    notes = [note for path, of_path in found.items() for note in _search_notes(path, of_path)]
    unended = [path for path in found if not has_ended(path)]
    notes += [f"{path.name} has not ended, so runs may be missing." for path in unended]
    searches, unread = _searches(paths)
    try:
        page = write_report(mark_repeated(rows), out, notes + unread, searches)
    except OSError as error:
        raise ConfigError(f"out={out}: can't write there: {error.strerror or error}") from error
    print(f"{len(rows)} {'run' if len(rows) == 1 else 'runs'} reported in {page}")


def _search_notes(path: Path, runs: Sequence[RunInfo]) -> list[str]:
    """Return what is to be known of the runs of a search; nothing of another sweep."""
    from dqn_cli.config.run_folders import FRESH, is_search

    if not is_search(path):
        return []
    luck = "the highest score of many trials is also the luckiest"
    if any(run.folder.parent.name == FRESH for run in runs):
        return [
            f"{path.name} is a search: these are its finalists on fresh seeds, without the runs"
            f" that chose them, because {luck}."
        ]
    return [f"{path.name} is a search without finalists yet, and {luck}."]


def _searches(paths: Sequence[Path]) -> tuple[dict[str, StoredSearch], list[str]]:
    """Return the searches among the folders, and a sentence for each that can't be read."""
    from dqn_cli.config.run_folders import STUDY_FILE, is_search

    searches: dict[str, StoredSearch] = {}
    unread: list[str] = []
    for path in filter(is_search, dict.fromkeys(paths)):
        try:
            from dqn_cli.searching.stored_search import read_search
            from dqn_cli.searching.study import SearchError
        except ModuleNotFoundError:
            unread.append(f"The trials of {path} need an extra: pip install 'dqn-train[search]'.")
            continue
        try:
            searches[str(path)] = read_search(path / STUDY_FILE)
        except SearchError as error:
            unread.append(f"The trials of {path.name} are not shown: {error}.")
    return searches, unread


def _chosen_keys(by: str | None, known: Sequence[str]) -> list[str] | None:
    """Return the keys of by=KEY,KEY, or None if nothing was typed."""
    from dqn_cli.config.hints import did_you_mean
    from dqn_cli.config.validation import ConfigError

    if by is None:
        return None
    keys = [key.strip() for key in by.strip("[]").split(",")]
    for key in keys:
        if key in ("env", "seed"):
            raise ConfigError(f"by={by}: environments and seeds are told apart anyway; name others")
        if key not in known:
            raise ConfigError(f"by={by}: no run was started with it{did_you_mean(key, known)}")
    return list(dict.fromkeys(keys))


if __name__ == "__main__":
    main()
