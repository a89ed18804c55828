"""Recording by `dqn-eval record=FILE` and `play=true`: what a policy or the user plays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from dqn_cli.commands.evaluate import EvaluationRequest
from dqn_cli.config.validation import ConfigError
from dqn_cli.evaluation.tables import format_return
from dqn_cli.recordings import record


def record_episodes(
    paths: Sequence[Path], request: EvaluationRequest, modules: Sequence[str]
) -> None:
    """Record what a checkpoint's policy, or the user, plays, and print how much it is."""
    if len(paths) > 1:
        raise ConfigError(f"record= and play= take one checkpoint, and there are {len(paths)}")
    epsilon = None if request.play else request.epsilon
    with chdir("."):  # an environment may change the working folder
        recording = record(
            paths[0],
            request.record,
            modules,
            request.episodes,
            request.seed,
            epsilon,
            request.env_kwargs,
        )
    returns = recording.returns
    mean = f", mean return {format_return(sum(returns) / len(returns))}" if returns else ""
    print(f"played {recording.rows:,} steps of {recording.episodes:,} episodes{mean}")
    if request.record and recording.file:
        written = request.record.with_name(recording.file.name)
        if written != request.record:
            print(f"another command wrote {request.record}, so they are in {written}")
        print(f"learn from it with dqn-train and data={written}")
