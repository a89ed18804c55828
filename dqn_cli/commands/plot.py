"""dqn-plot: draws the learning curves of runs and sweeps on one chart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dqn_cli.commands.command_line import answered, exit_code_of, refuse_flags
from dqn_cli.commands.help import PLOT
from dqn_cli.commands.run_discovery import RunInfo, found, label_of, runs_in, varied_keys

KEYS = ("out", "x", "by")


def main() -> None:
    """The console script."""
    sys.exit(exit_code_of(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Help, or a chart."""
    if answered(arguments or ["--help"], PLOT):
        return 0
    refuse_flags(arguments)
    options, paths = parse(arguments)
    plot(paths, Path(options.get("out", "plot.png")), options.get("x", "steps"), options.get("by"))
    return 0


def parse(arguments: Sequence[str]) -> tuple[dict[str, str], list[Path]]:
    """Options of the form key=value, and the paths of runs."""
    options: dict[str, str] = {}
    paths: list[Path] = []
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if separator and key in KEYS and not Path(argument).exists():
            options[key] = value
        else:
            paths.append(Path(argument))
    return options, paths


def plot(paths: Sequence[Path], out: Path, x: str, by: str | None) -> None:
    """Draws every run found at the paths; ConfigError or ValueError says what is missing.

    Of several runs those that have nothing to draw, such as failed ones, are left out.
    """
    from dqn_cli.config.hints import near
    from dqn_cli.config.validation import ConfigError
    from dqn_cli.evaluation.curves import bands, draw, read_curve

    if x not in ("steps", "seconds"):
        raise ConfigError(f"x={x} is not valid: it must be steps or seconds")
    if not paths:
        raise ConfigError("name what to draw: the folder of a run or of a sweep")
    runs = [run for path in paths for run in runs_at(path)]
    keys = {"env"}.union(*(run.overrides for run in runs))
    if by and by not in keys:
        raise ConfigError(f"by={by}: no run was started with it{near(by, sorted(keys))}")
    varied = [by] if by else varied_keys(runs)
    curves, envs, missing = [], set(), []
    for run in runs:
        label = label_of(run, varied) or run.env
        try:
            curves.append(read_curve(run.folder, label))
            envs.add(run.env)
        except ValueError as error:
            missing.append(error)
    if not curves:
        raise missing[0]
    for reason in missing:
        print(f"left out: {reason}", file=sys.stderr)
    y = "greedy return" if all(curve.greedy for curve in curves) else "return, some while training"
    draw(bands(curves, x), x, y, ", ".join(sorted(envs)), out)
    print(f"{len(curves)} runs drawn in {out}")


def runs_at(path: Path) -> list[RunInfo]:
    """The run in a folder, or every run of the sweep in it; ConfigError if there is none."""
    from dqn_cli.config.run_metadata import is_run
    from dqn_cli.config.validation import ConfigError

    if not path.is_dir():
        raise ConfigError(f"no run at {path}")
    runs = [path] if is_run(path) else runs_in(path)
    if not runs:
        raise ConfigError(f"no run in {path}")
    return [found(run) for run in runs]


if __name__ == "__main__":
    main()
