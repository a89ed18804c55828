"""Differences between two runs, or two sweeps, that have to be the same to the bit."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mutated import is_same
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.evaluation.curves import read_curve
from dqn_cli.runs.locks import InUse, lock_runs
from dqn_cli.storage import CheckpointError, load_checkpoint

SPEED = "time/fps"
Rows = dict[str, list[tuple[int, float]]]  # step and value, by tag


def runs_in(folder: Path) -> list[Path]:
    """The run in a folder, or each run of the sweep in it."""
    if (folder / ".hydra").is_dir():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/.hydra"))


def differences(folder: Path, whole: Path) -> dict[str, list[str]]:
    """What differs between two runs or sweeps: bits, events, result.json and leftover files.

    Times may differ, and which members trained together: a kill between the checkpoints of two
    members parts them.
    """
    runs, others = runs_in(folder), runs_in(whole)
    found: dict[str, list[str]] = {"bits": [], "events": [], "result": []}
    if [run.name for run in runs] != [other.name for other in others]:
        found["bits"].append(f"{[run.name for run in runs]} are not the runs of {whole}")
        return found | {"files": leftovers(folder)}
    for run, other in zip(runs, others, strict=True):
        found["bits"] += _bits(run, other)
        found["events"] += _events(run, other)
        found["result"] += _result(run, other)
    return found | {"files": leftovers(folder)}


def leftovers(folder: Path) -> list[str]:
    """Temporary files that stayed, and runs that are locked."""
    files = [str(path) for path in (*folder.rglob(".*.tmp"), *folder.rglob(".command.json"))]
    try:
        with lock_runs(runs_in(folder)):
            return files
    except InUse as error:
        return [*files, str(error)]


def _bits(run: Path, other: Path) -> Iterator[str]:
    names, expected = (_names(each / "checkpoints") for each in (run, other))
    if names != expected:
        yield f"{run} has {names}, not {expected}"
    for name in sorted(names & expected):
        try:
            one, another = (load_checkpoint(each / "checkpoints" / name) for each in (run, other))
        except CheckpointError as error:
            yield str(error)
            continue
        for data in (one, another):
            data.pop("together", None)
            data.get("tracker", {}).pop("seconds", None)
        for path in _unequal(one, another):
            yield f"{run}/checkpoints/{name}: {path}"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def _unequal(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Names of the fields that differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _unequal(one[key], other[key], f"{path}.{key}".lstrip("."))
    elif not is_same(one, other):
        yield path


def _result(run: Path, other: Path) -> Iterator[str]:
    results = []
    for each in (run, other):
        try:
            results.append(json.loads((each / "result.json").read_text()))
        except (OSError, ValueError) as error:
            yield f"{each}: {error}"
            return
    one, another = results
    for key in sorted({*one, *another} - {"seconds", "members"}):
        if one.get(key) != another.get(key):
            yield f"{run}/result.json: {key} is {one.get(key)!r}, not {another.get(key)!r}"
    if one["seconds"].keys() != another["seconds"].keys():
        yield f"{run}/result.json: seconds"


def _events(run: Path, other: Path) -> Iterator[str]:
    one, another = rows(run), rows(other)
    for tag in sorted({*one, *another}):
        steps = [step for step, _ in one.get(tag, [])]
        if steps != sorted(set(steps)):
            yield f"{run}: {tag} has a step twice: {steps}"
        expected = [step for step, _ in another.get(tag, [])]
        if steps != expected:
            yield f"{run}: {tag} has rows at {steps}, not at {expected}"
        elif tag != SPEED and one[tag] != another[tag]:
            yield f"{run}: {tag} has other values"
    curves = [read_curve(each, "") for each in (run, other)]
    if not all(
        np.array_equal(getattr(curves[0], name), getattr(curves[1], name))
        for name in ("steps", "returns")
    ):
        yield f"{run}: dqn-plot draws another curve"


def rows(run: Path) -> Rows:
    """The rows that TensorBoard shows of a run."""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(row.step, row.value) for row in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
