"""dqn-eval: judges trained agents greedily, on episodes they have never seen."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from dqn_cli.commands.command_line import (
    answered,
    exit_code_of,
    import_all,
    refuse_flags,
    split_imports,
)
from dqn_cli.commands.help import EVALUATE
from dqn_cli.commands.run_discovery import found, label_of, runs_in, varied_keys


@dataclass
class EvaluationRequest:
    """What the command line asks for."""

    checkpoint: Any
    episodes: int = 100
    seed: int = 0
    video: bool = False


def main() -> None:
    """The console script."""
    sys.exit(exit_code_of(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Help, or an evaluation of each checkpoint named."""
    if answered(arguments or ["--help"], EVALUATE):
        return 0
    refuse_flags(arguments)
    modules, arguments = split_imports(arguments)
    import_all(modules)
    request = parse(arguments)
    evaluate(checkpoints_named(request.checkpoint), request, modules)
    return 0


def parse(arguments: Sequence[str]) -> EvaluationRequest:
    """The request in words of the form key=value; ConfigError names what is wrong."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from dqn_cli.config.hints import near
    from dqn_cli.config.validation import ConfigError

    values: dict[str, str] = {}
    keys = list(EvaluationRequest.__dataclass_fields__)
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or key not in keys:
            is_path = Path(argument).exists()
            hint = f"; did you mean checkpoint={argument}?" if is_path else near(key, keys)
            raise ConfigError(f"unknown word {argument}: dqn-eval takes {', '.join(keys)}{hint}")
        values[key] = value
    if not values.get("checkpoint"):
        raise ConfigError("checkpoint=PATH is missing: name a run's folder or a checkpoint")
    path = values.pop("checkpoint")
    try:
        typed = OmegaConf.merge(
            OmegaConf.structured(EvaluationRequest(checkpoint=None)),
            OmegaConf.from_dotlist([f"{key}={value}" for key, value in values.items()]),
        )
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    request = OmegaConf.to_object(typed)
    assert isinstance(request, EvaluationRequest)
    if request.episodes < 1 or request.seed < 0:
        raise ConfigError("episodes must be at least 1, and seed at least 0")
    return replace(request, checkpoint=path)


def checkpoints_named(text: str) -> list[Path]:
    """The checkpoints meant by a path, a list `[a,b]` or a pattern with `*`."""
    if Path(text).exists():
        return _meant_by(Path(text))
    is_list = text.startswith("[") and text.endswith("]")
    names = [part.strip(" '\"") for part in text[1:-1].split(",")] if is_list else [text]
    meant = (_matching(name) if glob.has_magic(name) else _meant_by(Path(name)) for name in names)
    return list(chain.from_iterable(meant))


def _meant_by(path: Path) -> list[Path]:
    """A checkpoint itself, that of a run's folder, or those of all runs in a sweep's."""
    from dqn_cli.policies import checkpoint_at

    runs = runs_in(path)
    return _of_each(runs) if runs else [checkpoint_at(path)]


def _matching(pattern: str) -> list[Path]:
    """Without what else is met, such as a sweep's table."""
    from dqn_cli.storage import CheckpointError

    met = map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207
    paths = [path for path in met if path.is_dir() or _is_checkpoint(path)]
    if not paths:
        raise CheckpointError(f"nothing matches {pattern}")
    return _of_each(paths)


def _of_each(paths: Sequence[Path]) -> list[Path]:
    """Without those that have none, such as a job that failed before its first."""
    from dqn_cli.policies import checkpoint_at
    from dqn_cli.storage import CheckpointError

    checkpoints: list[Path] = []
    missing: list[CheckpointError] = []
    for path in paths:
        try:
            checkpoints.append(checkpoint_at(path))
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
    """What sets the run of each checkpoint apart from the others, but for its seed."""
    from dqn_cli.config.run_metadata import is_run

    folders = [path.parents[1] for path in checkpoints if len(path.parents) > 1]
    if len(folders) < len(checkpoints) or not all(map(is_run, folders)):
        return [""] * len(checkpoints)
    runs = list(map(found, folders))
    varied = varied_keys(runs)
    return [label_of(run, varied) for run in runs]


def evaluate(paths: Sequence[Path], request: EvaluationRequest, modules: Sequence[str]) -> None:
    """Plays, writes each evaluation beside its checkpoint, and prints one table of all.

    What was judged is written and shown, whatever becomes of the others.
    """
    from dqn_cli.evaluation.tables import print_table
    from dqn_cli.policies import evaluate_checkpoint, record, report_path
    from dqn_cli.storage import write_json

    reports: list[dict[str, Any]] = []
    unwritten: list[OSError] = []  # of folders that are not the user's own, for one
    try:
        for number, path in enumerate(paths, start=1):
            if len(paths) > 1:
                print(f"judging {number} of {len(paths)}: {path}", file=sys.stderr, flush=True)
            reports.append(evaluate_checkpoint(path, request.episodes, request.seed, modules))
            try:
                write_json(report_path(path), reports[-1])
            except OSError as error:
                unwritten.append(error)
    finally:
        if reports:
            print_table(reports, _labels(paths[: len(reports)]))
    if unwritten:
        raise unwritten[0]
    if request.video:
        for path in paths:
            print(f"film: {record(path, request.seed)}")


if __name__ == "__main__":
    main()
