"""Command `dqn-export`: write a trained policy in a form that runs without this package."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_cli.commands.arguments import split_imports
from dqn_cli.commands.command_line import (
    exit_on_flags,
    exit_with,
    import_modules,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.help import EXPORT
from dqn_cli.commands.words import check_plain_words, flag, values_by_key, whole_number

if TYPE_CHECKING:
    from dqn_cli.exporting.write_export import Export

KEYS = ("checkpoint", "format", "hub", "out", "episodes")
FORMATS = ("onnx", "torch", "safetensors")
HUB_FORMATS = ("safetensors", "onnx")
OUT = "export"


def main() -> None:
    """Run the console script."""
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, or export a policy; return the exit code."""
    if print_help_or_version(arguments or ["--help"], lambda: EXPORT):
        return 0
    exit_on_flags(arguments)
    check_plain_words(arguments, (*KEYS, "import"))
    modules, words = split_imports(arguments)
    import_modules(modules)
    for kind, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        signal.signal(kind, lambda *_, code=code: sys.exit(code))
    request = parse(words)
    with chdir("."):  # an environment may change the working folder
        export(request, modules)
    return 0


@dataclass
class ExportRequest:
    """Options of the command line."""

    checkpoint: Path
    format: str
    hub: bool
    out: Path
    episodes: int


def parse(words: Sequence[str]) -> ExportRequest:
    """Return the request of words of the form key=value.

    Raises:
        ConfigError: If a key is unknown, or a value is missing or not valid.
    """
    from dqn_cli.config.hints import did_you_mean
    from dqn_cli.config.memory_needs import find_excessive_episodes
    from dqn_cli.config.validation import ConfigError

    values = values_by_key(words, KEYS, f"dqn-export takes {', '.join(KEYS)}")
    if "checkpoint" not in values:
        raise ConfigError("checkpoint=PATH is missing: name a run's folder or a checkpoint")
    hub, chosen = flag("hub", values.get("hub", "false")), values.get("format", "")
    if chosen not in FORMATS and not (hub and not chosen):
        right = f"format is one of {', '.join(FORMATS)}"
        wrong = f"format={chosen} is not valid" if chosen else "format=NAME is missing"
        raise ConfigError(f"{wrong}: {right}{did_you_mean(chosen, FORMATS)}")
    if "episodes" in values and not hub:
        raise ConfigError("episodes=N goes with hub=true, whose card tells how good the policy is")
    episodes = whole_number("episodes", values.get("episodes", "100"), least=1)
    if reason := find_excessive_episodes(episodes):
        raise ConfigError(reason)
    out = Path(values.get("out", OUT))
    return ExportRequest(Path(values["checkpoint"]), chosen, hub, out, episodes)


def export(request: ExportRequest, modules: Sequence[str]) -> None:
    """Export a policy and print what it takes, what it gives and how it was checked."""
    from dqn_cli.exporting.hub_folder import HubFiles
    from dqn_cli.exporting.write_export import write_export
    from dqn_cli.policies import find_checkpoint

    formats = list(
        dict.fromkeys([*HUB_FORMATS, request.format]) if request.hub else [request.format]
    )
    formats = [name for name in formats if name]
    checkpoint = find_checkpoint(request.checkpoint)
    if request.hub:
        files = HubFiles(request.episodes, modules)
        written = write_export(checkpoint, formats, request.out, modules, finish=files.write)
    else:
        written = write_export(checkpoint, formats, request.out, modules)
    print_summary(written, request.out)


def print_summary(written: Export, out: Path) -> None:
    """Print what was written."""
    from dqn_cli.exporting.policy_description import port_line

    print(f"exported the policy of {written.checkpoint} ({written.settings.env.id}) to {out}")
    for title, lines in (
        ("takes", map(port_line, written.policy.inputs)),
        ("gives", map(port_line, written.policy.outputs)),
        ("does itself", written.description["inside"]),
        ("leaves to you", written.description["outside"]),
    ):
        for number, line in enumerate(lines):
            print(f"  {'' if number else title:<14}{line}")
    for name, agreement in written.agreements.items():
        ties = f" but for {agreement.ties} ties" if agreement.ties else ""
        print(
            f"{out / name}: on {agreement.observations:,} observations of the environment, actions"
            f" are the checkpoint's{ties}, and values differ by at most {agreement.largest:.1g}"
        )


if __name__ == "__main__":
    main()
