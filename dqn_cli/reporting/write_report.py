"""A report of runs: a page, and the pictures and tables that it is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_cli.reporting import csv_files
from dqn_cli.reporting.bands import IqmBand, iqm_band
from dqn_cli.reporting.charts import MOST_COLOURS, Chart
from dqn_cli.reporting.page import PAGE, SearchSection, Sections, write_page
from dqn_cli.reporting.paintings import draw_curves, draw_improvement, draw_profiles, draw_scores
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import ScoreTable, tabulate

if TYPE_CHECKING:
    from dqn_cli.searching.stored_search import StoredSearch  # which needs the extra

Bands = dict[tuple[str, str], IqmBand]  # by choice and environment
MOST_CHARTS = 12  # of one kind: one for each environment


def write_report(
    rows: Sequence[RunRow],
    out: Path,
    notes: Sequence[str] = (),
    searches: Mapping[str, StoredSearch] | None = None,
) -> Path:
    """Write a report of runs into a folder and return its page.

    Args:
        rows: The runs.
        out: The folder; a report in it is replaced.
        notes: Sentences below the answer.
        searches: By name, those that the runs are of.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = tabulate(rows)
    places = {label: place for place, label in enumerate(table.choices)}
    shown = set(list(table.choices)[:MOST_COLOURS])
    groups: dict[tuple[str, str], list[RunRow]] = defaultdict(list)
    for row in rows:
        groups[row.choice, row.env].append(row)
    bands: Bands = {}
    for (choice, env), group in groups.items():
        if choice in shown and (band := iqm_band(group)) is not None:
            bands[choice, env] = band
    sections = Sections(
        curves=_curve_charts(table, bands, places, out),
        scores=_score_charts(table, places, out),
        together=_charts_together(table, places, out),
        searches=_search_sections(searches or {}, out),
    )
    csv_files.write_runs(out / "runs.csv", rows, table.kind)
    csv_files.write_choices(out / "choices.csv", table)
    csv_files.write_comparisons(out / "comparisons.csv", table)
    csv_files.write_curves(out / "curves.csv", bands)
    write_page(out / PAGE, rows, table, bands, sections, notes)
    return out / PAGE


def _curve_charts(
    table: ScoreTable, bands: Bands, places: Mapping[str, int], out: Path
) -> list[Chart]:
    charts = []
    for number, env in enumerate(table.envs[:MOST_CHARTS]):
        found = {c: bands[c, env] for c in table.choices if (c, env) in bands}
        if found:
            is_greedy = all(curve.greedy for band in found.values() for curve in band.curves)
            y = "greedy return" if is_greedy else "return, some while training"
            charts.append(draw_curves(env, found, places, y, out, _name("curves", number)))
    return charts


def _score_charts(table: ScoreTable, places: Mapping[str, int], out: Path) -> list[Chart]:
    charts = []
    for number, env in enumerate(table.envs[:MOST_CHARTS]):
        place = table.envs.index(env)
        scores = {label: arrays[place] for label, arrays in table.choices.items()}
        scores = {label: values for label, values in scores.items() if len(values)}
        if scores:
            charts.append(draw_scores(env, scores, places, out, _name("scores", number)))
    return charts


def _charts_together(table: ScoreTable, places: Mapping[str, int], out: Path) -> list[Chart]:
    if len(table.normalised) < 2:
        return []
    return [draw_profiles(table, places, out), draw_improvement(table, out)]


def _search_sections(searches: Mapping[str, StoredSearch], out: Path) -> list[SearchSection]:
    if not searches:
        return []
    from dqn_cli.reporting.search_section import search_section

    return [
        search_section(name, search, out, number)
        for number, (name, search) in enumerate(searches.items())
    ]


def _name(kind: str, number: int) -> str:
    return f"{kind}_{number + 1}" if number else kind
