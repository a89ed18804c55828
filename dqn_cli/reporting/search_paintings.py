"""Charts of a search: importances, and trials in parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from optuna.trial import TrialState

from dqn_cli.evaluation.tables import format_return
from dqn_cli.reporting.charts import INK, LETTER, PAPER, Chart, colour, draw
from dqn_cli.searching.space import Choice, Decimal, Domain, Value
from dqn_cli.searching.study import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 400  # trials in one chart; the best ones, and then those that were pruned
CLOSE = 0.16  # share of a row; ticks nearer to each other would overlap
LETTERS = 50  # that fit below a row
SPREAD = 0.03  # of trials with the same choice, so that their lines don't hide each other
GAP = 0.015  # of the longest bar, between a bar and its text
SCORE = "score"


class Style(NamedTuple):
    """Style that trials of one kind are drawn in; kinds also differ in their dashes."""

    label: str
    line: dict[str, Any]


STYLES = {
    TrialState.RUNNING: Style("not ended", {"color": colour(1), "lw": 1.0, "ls": "-."}),
    TrialState.PRUNED: Style("pruned", {"color": INK, "lw": 0.7, "ls": "--", "alpha": 0.4}),
    TrialState.FAIL: Style("failed", {"color": colour(3), "lw": 1.0, "ls": ":"}),
    TrialState.COMPLETE: Style("trained to the end", {"color": colour(0), "lw": 1.0, "alpha": 0.8}),
}
BEST = Style("best score", {"color": colour(4), "lw": 2.4})


def draw_importances(importances: Mapping[str, float], folder: Path, name: str) -> Chart:
    """Draw the share of each hyperparameter in good scores."""
    keys = sorted(importances, key=lambda key: -importances[key])

    def paint(figure: Figure, axes: Axes) -> None:
        shares = [importances[key] for key in keys]
        axes.barh(range(len(keys)), shares, height=0.6, color=colour(0))
        for row, share in enumerate(shares):
            axes.text(share + GAP * max(shares), row, f"{share:.0%}", va="center")
        _label_rows(axes, keys)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set(xlabel="importance for good scores", xlim=(0, 1.15 * max(shares)))
        axes.grid(visible=False, axis="y")
        axes.set_axisbelow(True)

    caption = "Importance: the share of each hyperparameter in what tells good trials from others"
    return draw(name, caption, folder, 0.9 + 0.42 * len(keys), paint)


def draw_trials(
    domains: Mapping[str, Domain], trials: Sequence[Record], folder: Path, name: str
) -> Chart:
    """Draw each trial as a line through its hyperparameters, which leads to its score."""
    scores = [trial.score for trial in trials if trial.score is not None]
    ends = Decimal(min(scores), max(scores)) if scores else None
    best = max((t for t in trials if t.score is not None), key=_by_score, default=None)

    def paint(figure: Figure, axes: Axes) -> None:
        for style, drawn in _by_style(trials, best):
            lines = [_points(trial, domains, ends) for trial in drawn]
            for place, (x, y) in enumerate(lines):
                axes.plot(x, y, label=None if place else style.label, **style.line)
        for row, domain in enumerate(domains.values()):
            _paint_scale(axes, row, ticks(domain))
        if ends is not None:
            _paint_scale(axes, len(domains), [(p, format_return(v)) for p, v in _ends(ends)])
        _label_rows(axes, [*map(_title, domains, domains.values()), *([SCORE] if ends else [])])
        axes.set(xticks=[], xlim=(-0.08, 1.08))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        figure.legend(loc="outside lower left", ncols=2)

    caption = "Trials in parallel coordinates: a line for each, through its hyperparameters"
    caption += "; only trials that were trained to the end have a score" if ends else ""
    return draw(name, caption, folder, 1.2 + 0.62 * (len(domains) + bool(ends)), paint)


def position(domain: Domain, value: Value) -> float:
    """Return where a value is on the scale of its domain, from 0 to 1."""
    if isinstance(domain, Choice):
        return (domain.words.index(str(value)) + 0.5) / len(domain.words)
    low, high, number = float(domain.low), float(domain.high), float(value)
    if domain.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    return (number - low) / (high - low) if high > low else 0.5


def ticks(domain: Domain) -> list[tuple[float, str]]:
    """Return positions and texts of a scale: each choice, or both ends and what is between."""
    if isinstance(domain, Choice):
        width = max(3, LETTERS // len(domain.words))
        return [(position(domain, word), _shortened(word, width)) for word in domain.words]
    low, high = float(domain.low), float(domain.high)
    between = [(low + high) / 2]
    if domain.log:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        between = [10.0**power for power in powers]
    values = [low, high]
    for value in between:
        if all(abs(position(domain, value) - position(domain, v)) > CLOSE for v in values):
            values.append(value)
    return [(position(domain, value), f"{value:.4g}") for value in sorted(values)]


def _by_style(
    trials: Sequence[Record], best: Record | None
) -> list[tuple[Style, Sequence[Record]]]:
    """Return trials by how they are drawn, the best last, so that it lies above the others."""
    ranked = sorted(trials, key=_by_score, reverse=True)[:MOST_LINES]
    kinds: list[tuple[Style, Sequence[Record]]] = [
        (style, [trial for trial in ranked if trial.state is state and trial is not best])
        for state, style in STYLES.items()
    ]
    return [*kinds, (BEST, [best] if best else [])]


def _by_score(trial: Record) -> float:
    return -math.inf if trial.score is None else trial.score


def _points(
    trial: Record, domains: Mapping[str, Domain], scores: Decimal | None
) -> tuple[list[float], list[int]]:
    """Return a trial's line, from the first row to its score."""
    x = []
    for key, domain in domains.items():
        shift = SPREAD * (trial.number % 5 - 2) / 2 if isinstance(domain, Choice) else 0.0
        x.append(position(domain, trial.values[key]) + shift)
    if scores is not None and trial.score is not None:
        x.append(position(scores, trial.score))
    return x, list(range(len(x)))


def _ends(scores: Decimal) -> list[tuple[float, float]]:
    values = [scores.low] if scores.low == scores.high else [scores.low, scores.high]
    return [(position(scores, value), value) for value in values]


def _paint_scale(axes: Axes, row: int, marks: Sequence[tuple[float, str]]) -> None:
    """Paint the line of a row, with its ticks and their texts."""
    axes.plot([0, 1], [row, row], color=INK, lw=0.8, alpha=0.5)
    box = {"boxstyle": "round,pad=0.1", "fc": PAPER, "ec": "none", "alpha": 0.8}
    for x, text in marks:
        axes.plot([x, x], [row, row + 0.12], color=INK, lw=0.8)
        axes.text(x, row + 0.3, text, ha="center", va="center", size=LETTER - 1, bbox=box)


def _title(key: str, domain: Domain) -> str:
    is_log = not isinstance(domain, Choice) and domain.log
    return f"{key} (log)" if is_log else key


def _label_rows(axes: Axes, keys: Sequence[str]) -> None:
    axes.set_yticks(range(len(keys)), [key.replace(".", ".\n") for key in keys])
    axes.set_ylim(len(keys) - 0.4, -0.5)


def _shortened(word: str, width: int) -> str:
    return word if len(word) <= width else f"{word[: width - 1]}…"
