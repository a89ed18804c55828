from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PLAIN

from dqn_cli.envs.contract import EnvironmentFailure, warn_once
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.masks import MaskSource

pytestmark = pytest.mark.timeout(20)  # a hang is a failure
TIMEOUT = 0.5
FATES = {
    "kill": "worker 1 was killed by SIGKILL",
    "stop": "worker 1 was killed by SIGKILL",
    "segfault": r"worker 1 was killed by SIGSEGV \(.*:\d+\)",
    "exit": "worker 1 ended with exit code 7",
    "sys_exit": r"{place} raised SystemExit: 5 \(.*dying.py:\d+\)",
    "interrupt": r"{place} raised KeyboardInterrupt: no message \(.*dying.py:\d+\)",
    "error": r"{place} raised RuntimeError: no licence \(.*dying.py:\d+\)",
    "sleep": r"worker 1 did not answer in 0.5 s \(env.timeout\) \(.*dying.py:\d+\)",
    "busy": r"worker 1 did not answer in 0.5 s \(env.timeout\) \(.*dying.py:\d+\)",
    "deaf": r"worker 1 did not answer in 0.5 s \(env.timeout\) \(.*dying.py:\d+\)",
    "swallow": r"worker 1 did not answer in 0.5 s \(env.timeout\) \(.*dying.py:\d+\)",
}
RAISING = ("sys_exit", "interrupt", "error")


def make(kwargs: dict[str, Any], seed: int = 40, envs: int = 2) -> Environments:
    config = EnvConfig(
        "dying:Dying-v0",
        kwargs,
        envs,
        Vectorization["async"],
        PLAIN,
        MaskSource.auto,
        timeout=TIMEOUT,
    )
    seeds = [lambda number, env=env: seed + 10 * env + number for env in range(envs)]
    return Environments(config, [seeds], "float32")


def processes() -> set[int]:
    """Returns the processes that this one has started and that have not ended."""
    task = Path(f"/proc/{os.getpid()}/task")
    children = {int(pid) for path in task.glob("*/children") for pid in path.read_text().split()}
    return {pid for pid in children if "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()}


def fail(kwargs: dict[str, Any], steps: int) -> str:
    """Returns the failure of environments that die in this step at last; all processes end."""
    before = processes()
    message = ""
    try:
        envs = make(kwargs)
    except EnvironmentFailure as failure:
        message = str(failure)
    else:
        for _ in range(steps - 1):
            envs.step(np.zeros((1, 2), int))
        with pytest.raises(EnvironmentFailure) as caught:
            envs.step(np.zeros((1, 2), int))
        envs.close()
        message = str(caught.value)
    assert processes() <= before
    assert "\n" not in message
    return message


@pytest.mark.parametrize("way", FATES)
def test_death_in_a_step_is_one_line_with_worker_step_and_seed(way: str) -> None:
    message = fail({"way": way, "at": 8, "seed_of_death": 51}, 8)
    fate = FATES[way].format(place="step")
    place = r"\(in step 3 of the episode with seed 51\)"
    end = f"{place}, in worker 1" if way in RAISING else place
    assert re.fullmatch(f"env=dying:Dying-v0: {fate} {end}", message)


@pytest.mark.parametrize("way", ["kill", "exit", "error", "busy"])
def test_death_in_a_reset_names_the_seed_of_the_new_episode(way: str) -> None:
    message = fail({"way": way, "place": "reset", "at": 2, "seed_of_death": 51}, 5)
    assert "in reset of the episode with seed 51" in message
    assert re.match(f"env=dying:Dying-v0: {FATES[way].format(place='reset')} ", message)


@pytest.mark.parametrize("way", FATES)
def test_death_in_the_first_reset_is_told_too(way: str) -> None:
    message = fail({"way": way, "place": "reset", "seed_of_death": 50}, 0)
    assert "in reset of the episode with seed 50" in message


@pytest.mark.parametrize("way", ["kill", "segfault", "exit", "sleep", "busy", "swallow"])
def test_death_in_making_is_told_and_harms_nobody(way: str) -> None:
    message = fail({"way": way, "place": "init"}, 0)
    fate = FATES[way].replace("worker 1", "worker 0")
    assert re.fullmatch(rf"env=dying:Dying-v0: {fate} \(while it was made\)", message)


@pytest.mark.parametrize(
    ("way", "warning"),
    [
        ("kill", "was killed by SIGKILL while it was closed"),
        ("exit", "ended with exit code 7 while it was closed"),
        ("sys_exit", "raised SystemExit: 5"),
        ("busy", "did not close in 0.4 s and was killed"),
        ("deaf", "did not close in 0.4 s and was killed"),
    ],
)
def test_death_in_closing_is_a_warning(
    way: str, warning: str, capfd: pytest.CaptureFixture[str]
) -> None:
    warn_once.cache_clear()
    before = processes()
    envs = make({"way": way, "place": "close", "seed_of_death": 50})
    start = time.monotonic()
    envs.close(patience=0.4 if "0.4 s" in warning else 3)
    assert time.monotonic() - start < 3.5
    assert processes() <= before
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: env=dying:Dying-v0: worker 1 {warning}")


def test_a_worker_that_dies_between_two_steps_is_noticed() -> None:
    before = processes()
    envs = make({})
    envs.step(np.zeros((1, 2), int))
    first, second = sorted(processes() - before)
    os.kill(second, signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    place = r"\(after step 1 of the episode with seed 50\)"
    with pytest.raises(EnvironmentFailure, match=rf"worker 1 was killed by SIGKILL {place}"):
        envs.step(np.zeros((1, 2), int))
    envs.close()
    assert first not in processes()


def test_a_stopped_worker_is_a_hang() -> None:
    before = processes()
    envs = make({})
    _, second = sorted(processes() - before)
    os.kill(second, signal.SIGSTOP)
    with pytest.raises(EnvironmentFailure, match=r"worker 1 did not answer in 0\.5 s"):
        envs.step(np.zeros((1, 2), int))
    envs.close()
    assert processes() <= before


def test_processes_that_an_environment_has_started_end_with_it(tmp_path: Path) -> None:
    file = tmp_path / "child"
    envs = make({"child_file": str(file)}, envs=1)
    child = Path("/proc") / file.read_text()
    assert child.exists()
    envs.close()
    deadline = time.monotonic() + 5
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import numpy as np
from test_worker_pool import make, processes
envs = make({{"way": "busy", "at": 2}})
envs.step(np.zeros((1, 2), int))
print(*processes(), flush=True)
envs.step(np.zeros((1, 2), int))
"""


def test_workers_end_with_a_process_that_is_killed() -> None:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(path=[str(tests), str(tests / "envs")])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    workers = [Path("/proc") / pid for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    for worker in workers:
        while worker.exists() and "\nState:\tZ" not in (worker / "status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
