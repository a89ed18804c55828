"""The answer of a report, in sentences with their uncertainty."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from dqn_cli.config.run_metadata import varied_keys
from dqn_cli.evaluation.comparison import Comparison
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, interquartile_mean, iqm_interval
from dqn_cli.evaluation.tables import TOO_FEW, format_return
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import ScoreTable

MOST_NAMED = 3  # choices in a sentence; more are counted
MOST_SEEDS = 1_000  # that anybody would train


def answer(table: ScoreTable, rows: Sequence[RunRow]) -> list[str]:
    """Return the answer, its uncertainty, and what it does not cover; the answer first."""
    if not table.most_seeds:
        if any(row.has_finished for row in rows):
            return ["No finished run has evaluated its policy, so there is no answer."]
        return [f"No run has finished yet, so there is no answer: {_statuses(rows)}."]
    sentences = [_only_choice(table)] if len(table.choices) == 1 else _comparison(table)
    incomplete = len(table.choices) - len(table.normalised)
    if incomplete and len(table.choices) > 1:
        what = "1 choice" if incomplete == 1 else f"{incomplete} choices"
        sentences.append(f"Not compared: {what} without a finished run in some environment.")
    if not all(row.has_finished for row in rows):
        sentences.append(f"Only finished runs count: {_statuses(rows)}.")
    best = next(iter(table.choices))
    if failed := sum(row.status == "failed" for row in rows if row.choice == best):
        runs = "1 run" if failed == 1 else f"{failed} runs"
        sentences.append(f"{best or 'It'} is evaluated without {runs} of its own that failed.")
    if mixed := _mixed_keys(rows):
        sentences.append(f"Runs of one choice also differ in {_listed(mixed)}.")
    return sentences


def _only_choice(table: ScoreTable) -> str:
    (choice, arrays), parts = next(iter(table.choices.items())), []
    for env, scores in zip(table.envs, arrays, strict=True):
        if not len(scores):
            continue
        score = format_return(float(interquartile_mean(scores)))
        if len(scores) < ENOUGH_SEEDS:
            seeds = "1 seed" if len(scores) == 1 else f"{len(scores)} seeds"
            parts.append(f"{score} on {env} ({seeds}, too few for an interval)")
        else:
            low, high = map(format_return, iqm_interval(scores))
            parts.append(f"{score} on {env} (95 %: {low} to {high}, {len(scores)} seeds)")
    return f"{choice or 'This setting'} scores {_listed(parts)}, by the interquartile mean."


def _comparison(table: ScoreTable) -> list[str]:
    if len(table.normalised) < 2:
        return ["No two choices have finished runs in all environments, so none can be compared."]
    if table.ranking is None:
        best = next(iter(table.choices))
        return [f"There are {TOO_FEW}. {best} has the highest mean, which may be chance."]
    best, found = table.ranking
    shown = {label: c for label, c in found.items() if c.is_different}
    open_ = {label: c for label, c in found.items() if not c.is_different}
    lead = _lead(*next(iter(found.items())))
    if not open_:
        rest = "the other choice" if len(shown) == 1 else f"each of the {len(shown)} other choices"
        return [f"{best} is better than {rest}: {lead}."]
    if shown:
        sentences = [
            f"{best} is better than {_named(shown)}, but not shown to be better than"
            f" {_named(open_)}: {lead}."
        ]
    else:
        label, closest = next(iter(open_.items()))
        order = f"{best} has the highest mean: {lead}"
        if not closest.difference:
            order = f"{best} and {label} have the same mean, the highest"
        sentences = [f"No choice is shown to be better than another. {order}."]
    return sentences + _needed(open_)


def _needed(open_: dict[str, Comparison]) -> list[str]:
    """Return how many seeds would settle the closest comparison that is open."""
    label, closest = next(iter(open_.items()))
    if closest.seeds_needed is None:
        return []
    if closest.seeds_needed > MOST_SEEDS:
        return [f"Its lead over {label} is so small that {MOST_SEEDS:,} seeds would not show it."]
    return [
        f"If its lead over {label} is as large as it looks, about {closest.seeds_needed:,} seeds"
        " of each would show it in four experiments of five."
    ]


def _lead(label: str, comparison: Comparison) -> str:
    """Return how far the best choice is above the next."""
    difference, low, high = map(format_return, comparison[:3])
    certainty = f"(95 %: {low} to {high}; p {comparison.p:.2g})"
    return f"it leads {label}, the next, by {difference} {certainty} in the mean"


def _named(found: dict[str, Comparison]) -> str:
    labels = list(found)
    return f"{len(labels)} choices" if len(labels) > MOST_NAMED else _listed(labels)


def _mixed_keys(rows: Sequence[RunRow]) -> list[str]:
    """Return the keys in which runs of one choice differ, beside seed and environment."""
    choices: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        choices[row.choice].append(row.overrides)
    return sorted({key for runs in choices.values() for key in varied_keys(runs)} - {"env"})


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _statuses(rows: Sequence[RunRow]) -> str:
    counts = Counter(row.status for row in rows)
    return _listed([f"{count} {status}" for status, count in counts.most_common()])


def difference_note(table: ScoreTable) -> str:
    """Return what the numbers of the answer are."""
    count = len(table.compared)
    many = f", as {table.scale}, averaged over {count} environments" if count > 1 else ""
    seeds = min((len(v) for scores in table.normalised.values() for v in scores), default=0)
    return f"Score: {table.kind}{many}. Fewest seeds of a choice: {seeds}."
