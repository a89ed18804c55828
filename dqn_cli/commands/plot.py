"""Command `dqn-plot`: draw the learning curves of runs and sweeps on one chart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dqn_cli.commands.command_line import (
    exit_on_flags,
    exit_with,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.help import PLOT
from dqn_cli.commands.run_discovery import load_runs, run_label, varied_keys
from dqn_cli.commands.words import options_and_paths

KEYS = ("out", "x", "by")
IMAGES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".eps", ".ps", ".tif", ".tiff")


def main() -> None:
    """Run the console script."""
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, or draw a chart; return the exit code."""
    if print_help_or_version(arguments or ["--help"], lambda: PLOT):
        return 0
    exit_on_flags(arguments)
    options, paths = options_and_paths(arguments, KEYS)
    plot(paths, Path(options.get("out", "plot.png")), options.get("x", "steps"), options.get("by"))
    return 0


def plot(paths: Sequence[Path], out: Path, x: str, by: str | None) -> None:
    """Draw every run at the paths; runs without curves, such as failed ones, are left out.

    Raises:
        ConfigError: If an option is not valid, or if there is no run.
        ValueError: If no run has a curve.
    """
    from dqn_cli.config.hints import did_you_mean
    from dqn_cli.config.validation import ConfigError
    from dqn_cli.evaluation.curves import aggregate_curves, plot_bands, read_curve

    if x not in ("steps", "seconds"):
        raise ConfigError(f"x={x} is not valid: it must be steps or seconds")
    if out.is_dir() or out.suffix.lower() not in IMAGES:
        raise ConfigError(f"out={out} names no image: name a file, as in out=plot.png or plot.pdf")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"out={out}: there is no folder {out.parent}")
    if not paths:
        raise ConfigError("name what to draw: the folder of a run or of a sweep")
    runs = [run for path in paths for run in load_runs(path, "dqn-plot", KEYS)]
    keys = {"env"}.union(*(run.overrides for run in runs))
    if by and by not in keys:
        raise ConfigError(f"by={by}: no run was started with it{did_you_mean(by, sorted(keys))}")
    varied = [by] if by else varied_keys(runs)
    curves, envs, missing = [], set(), []
    for run in runs:
        label = run_label(run, varied) or run.env
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
    plot_bands(aggregate_curves(curves, x), x, y, ", ".join(sorted(envs)), out)
    runs_drawn = "1 run" if len(curves) == 1 else f"{len(curves)} runs"
    print(f"{runs_drawn} drawn in {out}")


if __name__ == "__main__":
    main()
