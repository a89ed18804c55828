"""Command `dqn-eval`: evaluate trained agents greedily, on fresh episodes."""

from __future__ import annotations

import glob
import sys
from collections.abc import Container, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from dqn_cli.commands.arguments import split_env_kwargs, split_imports
from dqn_cli.commands.command_line import (
    exit_on_flags,
    exit_with,
    import_modules,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.help import EVALUATE
from dqn_cli.commands.run_discovery import (
    find_runs,
    load_run_info,
    run_label,
    shown_folder,
    varied_keys,
)
from dqn_cli.commands.words import check_plain_words, flag, probability, values_by_key, whole_number

KEYS = ("checkpoint", "episodes", "seed", "video", "record", "epsilon", "play")


@dataclass
class EvaluationRequest:
    """Options of the command line."""

    checkpoint: Any
    episodes: int = 100
    seed: int = 0
    video: bool = False
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    record: Path | None = None  # a file for what is played
    epsilon: float = 0.0  # of a policy that is recorded
    play: bool = False  # by hand

    def conflict(self, typed: Container[str]) -> str | None:
        """Return why the keys that were typed don't go together, or None."""
        if "epsilon" in typed and (self.play or self.record is None):
            return "epsilon=E goes with record=FILE of a policy: evaluations are greedy"
        if "episodes" in typed and self.play:
            return "play=true goes on until you end it, without episodes=N"
        if self.video and (self.record or self.play):
            return "video=true is of an evaluation: leave it out beside record= and play="
        return None


def main() -> None:
    """Run the console script."""
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, or evaluate each named checkpoint; return the exit code."""
    if print_help_or_version(arguments or ["--help"], lambda: EVALUATE):
        return 0
    exit_on_flags(arguments)
    check_plain_words(arguments, (*KEYS, "import"))
    modules, arguments = split_imports(arguments)
    import_modules(modules)
    request = parse(arguments)
    checkpoints = named_checkpoints(request.checkpoint)
    if request.record or request.play:
        from dqn_cli.commands.record_episodes import record_episodes

        record_episodes(checkpoints, request, modules)
    else:
        evaluate(checkpoints, request, modules)
    return 0


def parse(arguments: Sequence[str]) -> EvaluationRequest:
    """Return the request of arguments of the form key=value.

    Raises:
        ConfigError: If a key is unknown, or a value is missing or not valid.
    """
    from dqn_cli.config.memory_needs import find_excessive_episodes
    from dqn_cli.config.validation import ConfigError

    env_kwargs, words = split_env_kwargs(arguments)
    takes = f"dqn-eval takes {', '.join(KEYS)}, +env.kwargs.KEY"
    values = values_by_key(words, KEYS, takes)
    if not values.get("checkpoint"):
        raise ConfigError("checkpoint=PATH is missing: name a run's folder or a checkpoint")
    episodes = whole_number("episodes", values.get("episodes", "100"), least=1)
    if reason := find_excessive_episodes(episodes):
        raise ConfigError(reason)
    request = EvaluationRequest(
        values["checkpoint"],
        episodes,
        whole_number("seed", values.get("seed", "0"), least=0),
        flag("video", values.get("video", "false")),
        env_kwargs,
        Path(values["record"]) if "record" in values else None,
        probability("epsilon", values.get("epsilon", "0")),
        flag("play", values.get("play", "false")),
    )
    if reason := request.conflict(values):
        raise ConfigError(reason)
    return request


def named_checkpoints(text: str) -> list[Path]:
    """Return the checkpoints of a path, a list `[a,b]` or a pattern with `*`."""
    if Path(text).exists():
        return _checkpoints_at(Path(text))
    is_list = text.startswith("[") and text.endswith("]")
    names = [part.strip(" '\"") for part in text[1:-1].split(",")] if is_list else [text]
    if not all(names):
        from dqn_cli.storage import CheckpointError

        raise CheckpointError(f"checkpoint={text} names no path: name a run or a checkpoint")
    found = (
        _checkpoints_matching(name) if glob.has_magic(name) else _checkpoints_at(Path(name))
        for name in names
    )
    return list(chain.from_iterable(found))


def _checkpoints_at(path: Path) -> list[Path]:
    """Return a checkpoint, that of a run's folder, or those of a sweep's or search's folder."""
    from dqn_cli.policies import find_checkpoint

    runs = find_runs(shown_folder(path))
    return _existing_checkpoints(runs) if runs else [find_checkpoint(path)]


def _checkpoints_matching(pattern: str) -> list[Path]:
    """Return the checkpoints of a pattern; other files, such as sweep.csv, are left out."""
    from dqn_cli.storage import CheckpointError

    matches = map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207
    paths = [path for path in matches if path.is_dir() or _is_checkpoint(path)]
    if not paths:
        raise CheckpointError(f"nothing matches {pattern}")
    return _existing_checkpoints(paths)


def _existing_checkpoints(paths: Sequence[Path]) -> list[Path]:
    """Return the checkpoint of each path, and print which paths have none, as failed jobs."""
    from dqn_cli.policies import find_checkpoint
    from dqn_cli.storage import CheckpointError

    checkpoints: list[Path] = []
    missing: list[CheckpointError] = []
    for path in paths:
        try:
            checkpoints.append(find_checkpoint(path))
        except CheckpointError as error:
            missing.append(error)
    if not checkpoints:
        raise missing[0]
    for reason in missing:
        print(f"left out: {reason}", file=sys.stderr)
    return checkpoints


def _is_checkpoint(path: Path) -> bool:
    return path.parent.name == "checkpoints" and path.suffix == ""


def _labels(checkpoints: Sequence[Path]) -> list[str]:
    """Return the overrides in which the run of each checkpoint differs, without the seed."""
    from dqn_cli.config.run_metadata import is_run

    folders = [path.parents[1] for path in checkpoints if len(path.parents) > 1]
    if len(folders) < len(checkpoints) or not all(map(is_run, folders)):
        return [""] * len(checkpoints)
    runs = list(map(load_run_info, folders))
    varied = varied_keys(runs)
    return [run_label(run, varied) for run in runs]


def evaluate(paths: Sequence[Path], request: EvaluationRequest, modules: Sequence[str]) -> None:
    """Evaluate checkpoints, write each report beside its checkpoint, and print one table.

    Reports that are finished when an error or Ctrl-C comes are written and printed.
    """
    from dqn_cli.evaluation.tables import print_table
    from dqn_cli.policies import evaluate_checkpoint, evaluation_path, record_video
    from dqn_cli.storage import write_json

    reports: list[dict[str, Any]] = []
    unwritten: list[OSError] = []  # a folder may be read-only
    try:
        for number, path in enumerate(paths, start=1):
            if len(paths) > 1:
                print(f"evaluating {number} of {len(paths)}: {path}", file=sys.stderr, flush=True)
            with chdir("."):  # an environment may change the working folder
                report = evaluate_checkpoint(
                    path, request.episodes, request.seed, modules, request.env_kwargs
                )
            reports.append(report)
            try:
                write_json(evaluation_path(path), reports[-1])
            except OSError as error:
                unwritten.append(error)
    finally:
        if reports:
            print_table(reports, _labels(paths[: len(reports)]))
    if unwritten:
        raise unwritten[0]
    if request.video:
        for path in paths:
            print(f"video: {record_video(path, request.seed, request.env_kwargs)}")


if __name__ == "__main__":
    main()
