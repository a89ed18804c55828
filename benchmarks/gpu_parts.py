"""Parts of `benchmarks/gpu.py`: each yields rows of numbers as they are measured."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_agents import EXPERIMENTS, SMALL, Experiment, Player, shrunk
from gpu_agreement import measure_agreement
from gpu_compilers import CudaGraphs, Inductor

from dqn_cli.compiling.compiler import Compiler

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
SECONDS, FEW_SECONDS = 3.0, 0.02  # that a rate is measured for; of a trial
DEVICE_TESTS = "tests/training/test_devices.py"


def machine(device: str, small: bool) -> Iterator[Row]:
    """Yield versions, date and the device."""
    row = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "device": device,
    }
    if device == "cuda":
        own = torch.cuda.get_device_properties(0)
        query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        row |= {
            "gpu": own.name,
            "capability": f"{own.major}.{own.minor}",
            "gpu_gigabytes": round(own.total_memory / 1e9, 1),
            "driver": _output(*query),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    yield row


def agreement(device: str, small: bool) -> Iterator[Row]:
    """Yield differences between the CPU and the device, for each head and precision."""
    yield from measure_agreement(device, small)


def eager(device: str, small: bool) -> Iterator[Row]:
    """Yield speeds as the product runs on a GPU, frames kept by the CPU and by the device."""
    for name in SMALL if small else EXPERIMENTS:
        yield measure_speed(name, device, small, "eager", None)
    yield measure_speed("nature_dqn", device, small, "eager, replay on device", None, device)


def graphs(device: str, small: bool) -> Iterator[Row]:
    """Yield speeds with CUDA graphs."""
    if device != "cuda":
        yield {"skipped": "needs CUDA"}
        return
    for name in EXPERIMENTS:
        yield measure_speed(name, device, small, "CUDA graphs", CudaGraphs())


def inductor(device: str, small: bool) -> Iterator[Row]:
    """Yield speeds with Inductor; a trial only traces the graphs."""
    names = ["nature_dqn"] if small else ["nature_dqn", "rainbow_atari", "btr"]
    for name in names:
        compiler = Inductor(device, None if small else "inductor")
        yield measure_speed(name, device, small, "traced" if small else "Inductor", compiler)


def games(device: str, small: bool) -> Iterator[Row]:
    """Yield the product's speed on Pong, where environments are installed."""
    if missing := _missing("gymnasium", "ale_py", "cv2", "hydra"):
        yield {"skipped": f"not installed: {', '.join(missing)}"}
        return
    if small:
        yield {"skipped": "a trial plays no games"}
        return
    from atari import measure_parts

    for count in (1, 8, 64):
        random, acting, updates = measure_parts(device, count, "native")
        rates = {"random steps/s": random, "acting steps/s": acting, "updates/s": updates}
        yield {"games": count} | rates


def tests(device: str, small: bool) -> Iterator[Row]:
    """Yield the result of the tests that need a GPU, where pytest and all else is installed."""
    if device != "cuda":
        yield {"skipped": "needs CUDA"}
        return
    if missing := _missing("pytest", "gymnasium", "hydra"):
        yield {"skipped": f"not installed: {', '.join(missing)}"}
        return
    words = ["-o", "addopts=", "-q", "-p", "no:cacheprovider", "-k", "gpu", DEVICE_TESTS]
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if re.match("FAILED|ERROR", line)]
    yield {"passed": done.returncode == 0, "summary": lines[-1] if lines else "", "failed": failed}


# In order of importance: the time may run out. With the seconds that each may take.
PARTS: dict[str, tuple[Callable[[str, bool], Iterator[Row]], int]] = {
    "machine": (machine, 60),
    "agreement": (agreement, 90),
    "eager": (eager, 150),
    "graphs": (graphs, 120),
    "tests": (tests, 100),
    "inductor": (inductor, 200),
    "games": (games, 60),
}


def measure_speed(
    name: str,
    device: str,
    small: bool,
    mode: str,
    compiler: Compiler | None,
    replay_device: str = "cpu",
) -> Row:
    """Return steps a second of acting, learning and both, and the largest memory."""
    row: Row = {"experiment": name, "mode": mode}
    try:
        experiment = EXPERIMENTS[name]()
        if small:
            experiment = shrunk(experiment)
        began = time.perf_counter()
        player = Player(experiment, device, compiler, replay_device)
        return row | _rates(player, experiment, device, FEW_SECONDS if small else SECONDS, began)
    except Exception as error:  # the next experiment may work
        reason = str(error).strip() or type(error).__name__
        return row | {"error": reason.splitlines()[0][:200]}


def _rates(
    player: Player, experiment: Experiment, device: str, seconds: float, began: float
) -> Row:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    player.act()
    player.start_training()
    player.update()
    _wait(device)
    first = time.perf_counter() - began
    acting = calls_per_second(player.act, device, seconds) * experiment.envs
    updates = calls_per_second(player.update, device, seconds)
    both = calls_per_second(player.act_and_train, device, seconds)
    peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None
    return {
        "first_seconds": first,
        "acting": acting,
        "updates": updates,
        "learning": updates * experiment.train_every / experiment.updates,
        "both": both * experiment.train_every,
        "gpu_megabytes": peak,
    }


def calls_per_second(call: Callable[[], object], device: str, seconds: float) -> float:
    """Return the rate at which a function can be called, once what it started is done."""
    call()
    _wait(device)
    began, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - began < seconds:
        call()
        count += 1
    _wait(device)
    return count / (time.perf_counter() - began)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _missing(*names: str) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"
