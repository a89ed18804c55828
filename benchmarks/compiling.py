"""Measure what `compile=auto` gains for each preset on CartPole, with an empty cache.

python benchmarks/compiling.py [AGENT ...]

Each preset trains twice with its own settings, without the compiler and with it, and is evaluated
only at the end. Processor seconds include the compiler's processes and hardly depend on what else
runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from dqn_cli.config.paths import config_folder

TRAIN = (sys.executable, "-m", "dqn_cli.commands.train", "env=CartPole-v1", "eval.every=50000")


def main() -> None:
    presets = (config_folder() / "agent").glob("*.yaml")
    agents = sys.argv[1:] or sorted(path.stem for path in presets)
    print("| agent | without, s | auto, s | auto is sooner by, s | and of processors |")
    print("| --- | --- | --- | --- | --- |")
    for agent in agents:
        (eager, eager_cpu), (auto, auto_cpu) = (
            run_seconds(f"agent={agent}", f"compile={choice}") for choice in ("false", "auto")
        )
        gains = f"{eager - auto:.0f} | {eager_cpu - auto_cpu:.0f}"
        print(f"| {agent} | {eager:.0f} | {auto:.0f} | {gains} |", flush=True)


def run_seconds(*words: str) -> tuple[float, float]:
    """Return the wall-clock and processor seconds of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        empty_cache = {"XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor"}
        command = [*TRAIN, *words, f"hydra.run.dir={folder}/run"]
        before, start = processor_seconds(), time.perf_counter()
        done = subprocess.run(command, env=os.environ | empty_cache, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return seconds, processor_seconds() - before


def processor_seconds() -> float:
    """Return the processor time of child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
