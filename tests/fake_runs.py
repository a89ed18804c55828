"""Folders of runs that were never trained: settings, results and event files of any size."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

RETURNS = "eval/mean_reward"


def write_run(
    sweep: Path,
    words: Sequence[str],
    returns: Sequence[float] = (),
    status: str | None = "finished",
    env: str = "CartPole-v1",
    **fields: Any,
) -> Path:
    """Writes a run that evaluated every 100 steps; without a status it has no result yet."""
    folder = sweep / f"{len(list(sweep.glob('*/')))}_job"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(list(words)))
    (folder / ".hydra" / "config.yaml").write_text(f"env: {{id: {env}}}\n")
    if returns:
        start, writer = time.time(), SummaryWriter(str(folder))
        for place, value in enumerate(returns, start=1):
            writer.add_scalar(RETURNS, value, 100 * place, walltime=start + 2 * place)
        writer.close()
    if status is not None:
        score = {"mean": returns[-1], "mean_ci95": [returns[-1]] * 2} if returns else None
        result = {
            "status": status,
            "error": None,
            "overrides": list(words),
            "steps": 100 * len(returns),
            "seconds": {"total": 2.0 * len(returns)},
            "members": 1,
            "best": score,
            "final": score,
            "versions": {"python": "3.11.7", "torch": "2.13.0"},
            "git_commit": None,
        }
        (folder / "result.json").write_text(json.dumps(result | fields))
    return folder
