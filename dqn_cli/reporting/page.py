"""The page of a report: one HTML file that loads nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dqn_cli import __version__
from dqn_cli.config.run_metadata import varied_keys
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, summarize
from dqn_cli.evaluation.tables import format_return
from dqn_cli.reporting.answer import answer, difference_note
from dqn_cli.reporting.bands import IqmBand, Reached, reachable_threshold, time_to
from dqn_cli.reporting.charts import MOST_COLOURS, PALETTE, Chart
from dqn_cli.reporting.repeat import commands, versions
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import ScoreTable, score_of
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR
from dqn_cli.runs.films import FOLDER, PROGRESS
from dqn_cli.storage import write_atomically

PAGE = "report.html"
TEMPLATE = Path(__file__).with_name("report.html.j2")
CSV_FILES = ("runs.csv", "choices.csv", "comparisons.csv", "curves.csv")
Cells = Sequence[str]


@dataclass(frozen=True)
class SearchSection:
    """The part of a page that is about one search."""

    name: str
    summary: str
    pruning: str
    charts: list[Chart] = field(default_factory=list)
    rungs: list[Cells] = field(default_factory=list)
    csv: str = ""  # name of the file with its trials


@dataclass(frozen=True)
class Sections:
    """The charts of a page by the sections that they belong to, and its searches."""

    curves: list[Chart] = field(default_factory=list)
    scores: list[Chart] = field(default_factory=list)
    together: list[Chart] = field(default_factory=list)
    searches: list[SearchSection] = field(default_factory=list)


def write_page(
    path: Path,
    rows: Sequence[RunRow],
    table: ScoreTable,
    bands: Mapping[tuple[str, str], IqmBand],
    sections: Sections,
    notes: Sequence[str] = (),
) -> None:
    """Write the page of a report."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    sentences = answer(table, rows)
    text = environment.from_string(TEMPLATE.read_text()).render(
        title=f"Report: {', '.join(table.envs)}",
        answer=sentences[0],
        details=[*sentences[1:], *notes],
        note=difference_note(table),
        sections=sections,
        palette=PALETTE,
        choices=_choice_rows(table),
        best=table.ranking.best if table.ranking else "",
        scale=table.scale,
        comparisons=_comparison_rows(table),
        most_shown=MOST_COLOURS,
        thresholds=_threshold_rows(rows, table, bands),
        settings=_settings(rows, table),
        runs=[_run_row(row, table.kind, path.parent) for row in rows],
        commands=commands(rows),
        versions=versions(rows),
        csv_files=[*CSV_FILES, *(search.csv for search in sections.searches)],
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_atomically(path, lambda file: file.write(text.encode()))


def _choice_rows(table: ScoreTable) -> list[Cells]:
    """Return the cells of each choice in each environment."""
    rows: list[Cells] = []
    for label, arrays in table.choices.items():
        for env, scores in zip(table.envs, arrays, strict=True):
            if not len(scores):
                rows.append((label, env, "0", "-", "-", "-"))
                continue
            summary = summarize(scores)
            interval = "too few seeds"
            if len(scores) >= ENOUGH_SEEDS:
                interval = " to ".join(map(format_return, summary.iqm_ci95))
            iqm, worst = format_return(summary.iqm), format_return(summary.min)
            rows.append((label, env, str(len(scores)), iqm, interval, worst))
    return rows


def _comparison_rows(table: ScoreTable) -> list[Cells]:
    """Return the cells of each comparison with the best choice."""
    found = table.ranking.comparisons.items() if table.ranking else ()
    return [
        (
            label or "all",
            format_return(c.difference),
            f"{format_return(c.low)} to {format_return(c.high)}",
            f"{c.p:.2g}",
            "yes" if c.is_different else "no",
            "-" if c.seeds_needed is None else f"{c.seeds_needed:,}",
        )
        for label, c in found
    ]


def _threshold_rows(
    rows: Sequence[RunRow], table: ScoreTable, bands: Mapping[tuple[str, str], IqmBand]
) -> list[Cells]:
    """Return the cells of the table of steps and time to a threshold."""
    cells: list[Cells] = []
    for env in table.envs:
        of_env = [band for (_, other), band in bands.items() if other == env]
        if not of_env:
            continue
        threshold = reachable_threshold(_goal(env), of_env)
        for label in table.choices:
            group = [row for row in rows if (row.choice, row.env) == (label, env)]
            reached = time_to(threshold, group)
            if reached.runs:
                cells.append((env, format_return(threshold), label, *_reached_cells(reached)))
    return cells


def _reached_cells(reached: Reached) -> tuple[str, str, str]:
    steps = "-" if reached.steps is None else f"{reached.steps:,.0f}"
    seconds = "-" if reached.seconds is None else _duration(reached.seconds)
    return f"{reached.reached} of {reached.runs}", steps, seconds


def _goal(env: str) -> float | None:
    """Return the return at which Gymnasium calls an environment solved, if it says so."""
    import gymnasium

    spec = gymnasium.registry.get(env)
    return None if spec is None or spec.reward_threshold is None else float(spec.reward_threshold)


def _settings(rows: Sequence[RunRow], table: ScoreTable) -> dict[str, Any]:
    """Return the keys in which runs differ, and the values of each choice."""
    varied = [key for key in varied_keys([row.overrides for row in rows]) if key != "env"]
    values: dict[str, list[dict[str, None]]] = {
        label: [{} for _ in varied] for label in table.choices
    }
    for row in rows:
        for place, key in enumerate(varied):
            values[row.choice][place][row.overrides.get(key, "default")] = None
    cells = {label: [", ".join(found) for found in columns] for label, columns in values.items()}
    return {"keys": varied, "choices": cells}


def _run_row(row: RunRow, kind: str, folder: Path) -> dict[str, Any]:
    """Return the cells of a run; its folder and films are linked where they are."""
    score = score_of(row, kind)
    return {
        "choice": row.choice,
        "env": row.env,
        "seed": row.seed,
        "status": row.status,
        "score": "-" if score is None else format_return(score),
        "steps": "-" if row.steps is None else f"{row.steps:,}",
        "time": "-" if row.seconds is None else _duration(row.seconds),
        "members": row.members or "-",
        "error": row.error,
        "name": row.folder.name,
        "link": _link(row.folder, folder),
        "films": [(text, _link(film, folder)) for text, film in _films(row.folder)],
    }


def _films(run: Path) -> list[tuple[str, Path]]:
    """Return the films of a run and what their links say: of the best policy, and of its way there.

    Each film at a step is in the folder of the last one.
    """
    found = [("film", path) for path in sorted((run / CHECKPOINTS_DIR).glob("*.mp4"))]
    progress = run / FOLDER / PROGRESS
    return [*found, *([("progress", progress)] if progress.is_file() else [])]


def _link(target: Path, folder: Path) -> str:
    return Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
