"""Searches that were never trained: trials that are pruned at a rung, fail or get to the end."""

from __future__ import annotations

from pathlib import Path

from dqn_cli.searching.space import Choice, Decimal, Space, Whole
from dqn_cli.searching.study import Sampler, Study

RUNG, LENGTH, SEEDS = 100, 1_000, 2
SPACE = Space(
    {
        "optimizer.lr": Decimal(1e-5, 1e-1, log=True),
        "replay.n_step": Whole(1, 9, step=2),
        "network.widths": Choice(("[8]", "[64,64]")),
    }
)


def write_search(file: Path, complete: int, pruned: int = 0, failed: int = 0) -> Study:
    """Writes a study; a trial's score is 10 times the rewards before the bootstrap."""
    study = Study(file, SPACE, Sampler.random, {"seeds": SEEDS})
    for number in range(complete + pruned + failed):
        score = 10.0 * float(study.ask(number).values["replay.n_step"])
        if number >= complete + pruned:
            study.fail(number)
            continue
        study.report(number, RUNG, score / 2)
        if number >= complete:
            study.prune(number)
            continue
        study.report(number, LENGTH, score)
        study.complete(number, score)
    return study
