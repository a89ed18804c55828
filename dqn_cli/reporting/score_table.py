"""Scores of choices in each environment, and which score of a run that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.aggregates import normalise
from dqn_cli.evaluation.comparison import Ranking, compare_best
from dqn_cli.reporting.run_rows import RunRow

FRESH = "mean return of the best checkpoint in new episodes, by dqn-eval"
FINAL = "mean return of the last greedy evaluation"


@dataclass(frozen=True)
class ScoreTable:
    """Scores of finished runs: of each choice [seeds] in each environment, best choice first."""

    kind: str  # FRESH or FINAL
    envs: list[str]
    choices: dict[str, list[Array]]  # may be empty arrays
    compared: list[str]  # environments in which some run has a score
    normalised: dict[str, list[Array]]  # in these, of choices that have scores in all of them
    scale: str  # of `normalised`, in words
    ranking: Ranking | None  # by `normalised`; None if too few choices have enough seeds

    @property
    def most_seeds(self) -> int:
        """The most seeds that a choice has in one environment."""
        return max(
            (len(scores) for arrays in self.choices.values() for scores in arrays), default=0
        )


def score_of(row: RunRow, kind: str) -> float | None:
    """Return a run's score, or None if it has none that counts."""
    if not row.has_finished:
        return None
    return row.fresh if kind == FRESH else row.final


def tabulate(rows: Sequence[RunRow]) -> ScoreTable:
    """Return the scores of finished runs.

    The best checkpoint of a run was chosen by its own evaluations, which flatter it. So its score
    counts only if every run has new episodes; otherwise the last evaluation does.
    """
    finished = [row for row in rows if row.has_finished and row.final is not None]
    kind = FRESH if finished and all(row.fresh is not None for row in finished) else FINAL
    envs = sorted({row.env for row in rows})
    labels = list(dict.fromkeys(row.choice for row in rows))
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if (score := score_of(row, kind)) is not None:
            found[row.choice, row.env].append(score)
    choices = {label: [np.array(found[label, env], float) for env in envs] for label in labels}
    compared = [env for env in envs if any(found[label, env] for label in labels)]
    in_compared = {
        label: [scores for env, scores in zip(envs, arrays, strict=True) if env in compared]
        for label, arrays in choices.items()
    }
    complete = {c: s for c, s in in_compared.items() if s and all(map(len, s))}
    scale = "score"
    normalised = complete
    if complete and len(compared) > 1:
        scaled, scale = normalise(compared, list(complete.values()))
        normalised = dict(zip(complete, scaled, strict=True))
    order = sorted(labels, key=lambda label: -_mean(normalised.get(label)))
    return ScoreTable(
        kind,
        envs,
        {label: choices[label] for label in order},
        compared,
        {label: normalised[label] for label in order if label in normalised},
        scale,
        compare_best(normalised),
    )


def _mean(scores: list[Array] | None) -> float:
    return float(np.mean([values.mean() for values in scores])) if scores else float("-inf")
