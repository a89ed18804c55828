"""Runs as a report sees them: what they were, what they scored, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dqn_cli.config.run_metadata import load_overrides, overrides_by_key
from dqn_cli.evaluation.curves import Curve, read_curve
from dqn_cli.fields import damage_named, mapping, number, text
from dqn_cli.runs.early_stopping import is_pause
from dqn_cli.runs.locks import InUse, lock_runs
from dqn_cli.runs.manifest import is_unstarted, noted_failure
from dqn_cli.runs.result import RESULT, read_result
from dqn_cli.storage import CheckpointError, load_json
from dqn_cli.text import one_line

FRESH = Path("checkpoints") / "evaluation.json"  # of checkpoints/best, by dqn-eval
PAUSED = "paused"  # by stop.step, as a search pauses trials that it stops early
REPEATED = "repeated"
UNENDED = {True: "not begun", False: "no result"}


@dataclass(frozen=True)
class RunRow:
    """One run; its choice is what sets it apart from others, without seed and environment."""

    folder: Path
    env: str
    choice: str
    words: Sequence[str]  # overrides as they were typed
    # finished, paused, repeated, interrupted, failed, running, not begun, no result or damaged
    status: str
    error: str | None = None
    steps: int | None = None
    seconds: float | None = None
    members: int | None = None  # runs that trained side by side in these seconds
    final: float | None = None  # mean of the last greedy evaluation
    fresh: float | None = None  # mean of dqn-eval's episodes with the best checkpoint
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    curve: Curve | None = None

    @cached_property
    def overrides(self) -> dict[str, str]:
        """Typed values by key; the last one counts."""
        return overrides_by_key(self.words)

    @property
    def seed(self) -> str:
        """The seed as it was typed."""
        return self.overrides.get("seed", "0")

    @property
    def has_finished(self) -> bool:
        """True if the run's scores count."""
        return self.status == "finished"

    @property
    def goes_on(self) -> bool:
        """True if the run trains, or has paused, so that its curve is not whole."""
        return self.status in ("running", PAUSED)


def read_row(folder: Path, env: str, choice: str) -> RunRow:
    """Read a run; damage to its files becomes its status or a missing curve."""
    row: dict[str, Any] = {"status": UNENDED[is_unstarted(folder)]}
    row["words"] = load_overrides(folder)
    if reason := noted_failure(folder):
        row |= {"status": "failed", "error": one_line(reason)}
    try:
        if result := read_result(folder):
            with damage_named(folder / RESULT):
                row |= _of_result(result)
        row["fresh"] = _fresh_mean(folder / FRESH)
    except CheckpointError as error:
        row |= {"status": "damaged", "error": one_line(error)}
    if row["status"] not in ("finished", PAUSED, "damaged") and _is_training(folder):
        row |= {"status": "running", "error": None}
    try:
        row["curve"] = read_curve(folder, choice)
    except (ValueError, OSError) as error:
        if row["status"] == "finished":
            row["error"] = one_line(error)
    return RunRow(folder, env, choice, **row)


def _of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    error, final, seconds = result.get("error"), result.get("final"), result["seconds"]["total"]
    mean = None if final is None else mapping(final, "final", ("mean",))["mean"]
    stopped = result.get("stopped")
    has_paused = stopped is not None and is_pause(text(stopped, "stopped"))
    versions = mapping(result.get("versions", {}), "versions")
    return {
        "words": result["overrides"],
        "status": PAUSED if has_paused else one_line(result["status"]),
        "error": None if error is None else one_line(error),
        "steps": int(number(result.get("steps", 0), "steps", 0)),
        "seconds": float(seconds),
        "members": max(1, int(number(result.get("members", 1), "members", 1))),
        "final": None if mean is None else float(number(mean, "final.mean")),
        "versions": {one_line(name): one_line(versions[name]) for name in versions},
        "commit": one_line(result["git_commit"]) if result.get("git_commit") else None,
    }


def mark_repeated(rows: Sequence[RunRow]) -> list[RunRow]:
    """Return the rows; a finished run is repeated if an earlier one has its settings and seed.

    Runs of one seed have one result, so that a second one says nothing new.
    """
    first: dict[tuple[Any, ...], Path] = {}
    marked = []
    for row in rows:
        words = tuple(sorted((row.overrides | {"seed": row.seed}).items()))
        if (
            row.has_finished
            and (seen := first.setdefault((row.env, words), row.folder)) != row.folder
        ):
            row = replace(row, status=REPEATED, error=f"settings and seed of {seen}")
        marked.append(row)
    return marked


def _fresh_mean(file: Path) -> float | None:
    if not file.is_file():
        return None
    report = load_json(file)
    with damage_named(file):
        return float(number(mapping(report, "", ("mean",))["mean"], "mean"))


def _is_training(folder: Path) -> bool:
    """Return whether another process holds the run's lock."""
    try:
        with lock_runs([folder]):
            return False
    except InUse:
        return True
