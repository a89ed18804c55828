"""Findings about numbers: ranges of observations and rewards."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.normalization import UNBOUNDED, Normalization
from dqn_cli.agent.spaces import PICTURE, Part
from dqn_cli.checking.findings import Finding, Level
from dqn_cli.checking.seen import Inspection, Trial
from dqn_cli.training.settings import Settings

LARGE_OBSERVATION, LARGE_REWARD = 100.0, 1_000.0
DARK = 25.0  # of 255
COVERED = 0.1  # share of the declared range, above which bounds describe the numbers well


def large_observations(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield numbers so large that a network learns little from them."""
    if settings.env.normalize is not Normalization.none:
        return
    large = [
        (part, low, high)
        for part, (low, high) in _parts(inspection.trial)
        if part.can_be_normalized and part.scale == 1 and max(-low, high) > LARGE_OBSERVATION
    ]
    if not large:
        return
    named = ", ".join(f"{_name(part)} from {low:,.6g} to {high:,.6g}" for part, low, high in large)
    kind = "running"
    parts = _parts(inspection.trial)
    if all(_is_bounded(part, low, high) for part, (low, high) in parts if part.can_be_normalized):
        kind = "bounds"
    word = f"env.normalize={kind}"
    yield Finding(Level.warning, f"large numbers: {named}", word, (word,))


def _is_bounded(part: Part, low: float, high: float) -> bool:
    """Return whether bounds are finite for each element, and what was seen fills them."""
    spans = [most - least for least, most in zip(part.low, part.high, strict=True)]
    return all(0 < span < UNBOUNDED for span in spans) and high - low > COVERED * max(spans)


def out_of_bounds(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield numbers beyond the bounds that are declared."""
    for part, (low, high) in _parts(inspection.trial):
        least, most = min(part.low), max(part.high)
        tolerance = 1e-5 * max(abs(low), abs(high))
        if low < least - tolerance or high > most + tolerance:
            yield Finding(
                Level.warning,
                f"{_name(part)} went from {low:,.6g} to {high:,.6g}, and {least:,.6g} to"
                f" {most:,.6g} is declared",
                "correct the bounds of observation_space",
            )


def dark_pictures(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield pictures that are declared, and scaled, as bytes and have small numbers only."""
    for part, (_, high) in _parts(inspection.trial):
        if part.kind == PICTURE and part.scale < 1 and 0 < high <= DARK:
            yield Finding(
                Level.warning if high <= 1 else Level.note,
                f"{_name(part)} is declared up to 255 and divided by it; at most {high:g} came",
                f"declare high={high:g} in observation_space",
            )


def constant_parts(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield parts that never change."""
    trial = inspection.trial
    if trial is None or not trial.steps or trial.failure:
        return
    parts = [part for part, _ in _parts(trial)]
    still = [
        part for part, is_changing in zip(parts, trial.changing, strict=True) if not is_changing
    ]
    steps = f"in {trial.steps:,} steps"
    if len(still) == len(parts):
        yield Finding(
            Level.warning,
            f"the observation never changed {steps}",
            "nothing can be learned from it",
        )
    elif still:
        names = [part.name for part in still]
        drop = f"env.drop=[{','.join([*settings.env.drop, *names])}]"
        yield Finding(
            Level.note, f"{', '.join(names)} never changed {steps}", f"{drop} saves memory"
        )


def flat_pictures(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield that a network without convolutions reads pictures."""
    pictures = [part for part, _ in _parts(inspection.trial) if part.kind == PICTURE]
    if pictures and type(settings.network) is Mlp:
        yield Finding(
            Level.warning,
            f"network=mlp reads {_name(pictures[0])} without convolutions",
            "use network=multi",
            ("network=multi",),
        )


def rewards(inspection: Inspection, settings: Settings) -> Iterator[Finding]:
    """Yield rewards that are too large to learn from, or all the same."""
    trial, env = inspection.trial, settings.env
    if trial is None or not trial.steps:
        return
    low, high, _ = trial.rewards
    largest = max(-low, high)
    if low == high == 0 and not trial.failure:
        yield Finding(
            Level.note,
            f"every reward was 0 in {trial.steps:,} steps of random actions",
            "learning begins with the first reward: explore longer, or reward progress",
        )
    if largest * env.reward_scale > LARGE_REWARD and not env.preprocess.clip_rewards:
        scale = 10.0 ** -math.ceil(math.log10(largest / 10))
        word = f"env.reward_scale={scale:g}"
        yield Finding(
            Level.warning, f"large rewards, from {low:,.6g} to {high:,.6g}", word, (word,)
        )


def _parts(trial: Trial | None) -> list[tuple[Part, tuple[float, float]]]:
    """Return each part with the range seen."""
    if trial is None or trial.spaces is None:
        return []
    return list(zip(trial.spaces.parts, trial.ranges, strict=True))


def _name(part: Part) -> str:
    return f"part {part.name}" if part.name else "the observation"
