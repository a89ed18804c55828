from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import PLAIN

from dqn_cli.envs.contract import EnvironmentFailure, warn_once
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments, read_spaces
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.time_limits import close_all
from dqn_cli.interrupts import interrupts_marked

pytestmark = pytest.mark.timeout(20, method="thread")
HANG = r"did not answer in 0.3 s \(env.timeout\) \(.*dying.py:\d+\)"
FATES = {
    "sys_exit": r"{place} raised SystemExit: 5 \(.*dying.py:\d+\)",
    "interrupt": r"{place} raised KeyboardInterrupt: no message \(.*dying.py:\d+\)",
    "error": r"{place} raised RuntimeError: no licence \(.*dying.py:\d+\)",
    "sleep": HANG,
    "deaf": HANG,
}


@pytest.fixture(autouse=True)
def in_command() -> Iterator[None]:
    """Every command marks Ctrl-C."""
    with interrupts_marked():
        yield


def config(**kwargs: Any) -> EnvConfig:
    kind = Vectorization["sync"]
    return EnvConfig("dying:Dying-v0", kwargs, 2, kind, PLAIN, MaskSource.auto, timeout=0.3)


def make(**kwargs: Any) -> Environments:
    seeds = [lambda number, env=env: 40 + 10 * env + number for env in range(2)]
    return Environments(config(**kwargs), [seeds], "float32")


@pytest.mark.parametrize("way", FATES)
def test_death_in_a_step_is_one_line_with_step_and_seed(way: str) -> None:
    envs = make(way=way, at=8, seed_of_death=51)
    for _ in range(7):
        envs.step(np.zeros((1, 2), int))
    with pytest.raises(EnvironmentFailure) as caught:
        envs.step(np.zeros((1, 2), int))
    envs.close()
    place = r"\(in step 3 of the episode with seed 51\)"
    fate = FATES[way].format(place="step")
    assert re.fullmatch(f"env=dying:Dying-v0: {fate} {place}", str(caught.value))


@pytest.mark.parametrize("way", FATES)
def test_death_in_a_reset_is_one_line(way: str) -> None:
    fate = FATES[way].format(place="reset")
    with pytest.raises(EnvironmentFailure, match=f"{fate} .in reset of the episode with seed 50"):
        make(way=way, place="reset", seed_of_death=50)


@pytest.mark.parametrize("way", ["sys_exit", "interrupt", "error", "sleep"])
def test_death_in_making_is_one_line(way: str) -> None:
    what = {
        "sys_exit": r"making it raised SystemExit: 5",
        "interrupt": "making it raised KeyboardInterrupt",
        "error": "no licence",
        "sleep": rf"{HANG} \(while it was made\)",
    }[way]
    with pytest.raises(EnvironmentFailure, match=f"^env=dying:Dying-v0: {what}"):
        make(way=way, place="init")
    with pytest.raises(EnvironmentFailure, match=f"^env=dying:Dying-v0: {what}"):
        read_spaces(config(way=way, place="init"))


@pytest.mark.parametrize(
    ("way", "warning"),
    [
        ("sys_exit", "close raised SystemExit: 5"),
        ("error", "close raised RuntimeError: no licence"),
        ("sleep", "it did not close in 0.3 s"),
    ],
)
def test_death_in_closing_is_a_warning(
    way: str, warning: str, capfd: pytest.CaptureFixture[str]
) -> None:
    warn_once.cache_clear()
    envs = make(way=way, place="close")
    start = time.monotonic()
    envs.close(patience=0.3)
    assert time.monotonic() - start < 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: env=dying:Dying-v0: {warning}")


def test_many_environments_that_hang_share_one_limit() -> None:
    start = time.monotonic()
    close_all([lambda: time.sleep(10)] * 8, "Name-v0", 0.3)
    assert time.monotonic() - start < 2


def test_an_environment_in_time_is_left_alone() -> None:
    envs = make()
    for _ in range(20):
        envs.step(np.zeros((1, 2), int))
    time.sleep(0.4)  # which is nobody's call
    envs.step(np.zeros((1, 2), int))
    envs.close()
