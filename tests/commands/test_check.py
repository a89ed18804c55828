from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.commands.check import compose_settings, default_seconds, split_seconds
from dqn_cli.commands.command_line import run_command

Typed = Callable[..., int]

ENVS = """
import time
import gymnasium
import numpy as np
from gymnasium import spaces


class Cell(gymnasium.Env):
    def __init__(self, kind=""):
        self.kind = kind
        number = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict(number=number, mission=spaces.Text(9))
        self.action_space = spaces.Discrete(3)

    def answer(self):
        mask = np.array([True, False, True])
        info = {"action_mask": mask} if self.kind != "late" or self.time else {}
        return {"number": self.np_random.normal(5_000, 9, 2), "mission": "go"}, info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.answer()

    def step(self, action):
        assert action != 1
        self.time += 1
        if self.kind == "hang" and self.time == 3:
            time.sleep(1_000)
        obs, info = self.answer()
        return obs, 1.0, self.time == 10, False, info


gymnasium.register("Cell-v0", entry_point=Cell)
"""


@pytest.fixture
def type_check(in_folder: Path) -> Typed:
    """Types a dqn-check command in a folder with an environment and gives its exit code."""
    from dqn_cli.commands.check import dispatch

    (in_folder / "cells_to_check.py").write_text(ENVS)
    terminate, hang_up = (signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGHUP))

    def typed(*words: str) -> int:
        try:
            return run_command(lambda: dispatch(list(words)))
        finally:
            signal.signal(signal.SIGTERM, terminate)
            signal.signal(signal.SIGHUP, hang_up)

    return typed


def test_it_ends_with_the_command_that_trains(
    type_check: Typed, type_train: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("import=[cells_to_check]", "env=Cell-v0", "seconds=4", "env.num_envs=2")
    assert type_check(*words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    command = shlex.split(out.splitlines()[-1])
    assert command == [
        "dqn-train",
        "import=[cells_to_check]",
        "env=Cell-v0",
        "env.num_envs=2",
        "env.drop=[mission]",
        "env.normalize=running",
    ]
    assert "warning: no network reads mission" in out
    assert "2 of 3 actions are legal on average" in " ".join(out.split())
    short = ("steps=60", "learning_starts=20", "network.widths=[8]", "eval.episodes=1")
    assert type_train(*command[1:], *short) == 0


def test_nothing_is_written(type_check: Typed, in_folder: Path) -> None:
    before = set(in_folder.iterdir())
    assert type_check("env=CartPole-v1", "seconds=1") == 0
    assert set(in_folder.iterdir()) == before


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("late", "env=cells_to_check:Cell-v0: action_mask is in a step's info"),
        ("hang", "env=cells_to_check:Cell-v0: it did not answer within 0.4 s in step 3"),
    ],
)
def test_an_environment_that_can_not_be_trained_is_an_error(
    type_check: Typed,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    error: str,
) -> None:
    monkeypatch.setattr("dqn_cli.checking.inspection.LEAST_PATIENCE", 0.3)
    start = time.monotonic()
    assert type_check("env=cells_to_check:Cell-v0", f"+env.kwargs.kind={kind}", "seconds=1") == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith(f"error: {error}")
    assert "Traceback" not in out + err
    assert "can't be trained yet" in out
    assert "dqn-train" not in out
    assert time.monotonic() - start < 10


def test_words_of_the_environment_are_those_of_dqn_train(type_check: Typed) -> None:
    words = ("env.mask=info", "env.max_episode_steps=5", "env.preprocess.stack=2", "network=gru")
    assert type_check("env=CartPole-v1", "seconds=2", *words) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["env=CartPole-v1", "env.drp=[a]"], "did you mean drop?"),
        (["env=CartPole-v11"], "unknown environment CartPole-v11; did you mean CartPole-v1"),
        (["env=CartPole-v1", "env.kwargs.k=1"], "+env.kwargs.k=..."),
        (["network=mlp"], "env=ID is missing"),
        (["env=CartPole-v1", "env.mask=nowhere"], "env.mask"),
        (["env=CartPole-v1", "seconds=none"], "seconds=none is not valid"),
        (["env=CartPole-v1", "import=[no_such_module]"], "import=no_such_module"),
        (["env=CartPole-v1,Acrobot-v1"], "several values"),
        (["env=CartPole-v1", "resume=outputs/x"], "dqn-check takes an environment"),
    ],
)
def test_bad_input_is_one_line(
    type_check: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert type_check(*words) == 1
    err = capsys.readouterr().err
    assert told in err.splitlines()[-1]
    assert len(err.splitlines()) == 1


def test_flags_are_unknown_but_for_help_and_version(
    type_check: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_check("-m", "env=CartPole-v1") == 2
    assert type_check() == type_check("--help") == type_check("--version") == 0
    assert "dqn-check env=ID" in capsys.readouterr().out


def test_settings_are_composed_with_own_files(in_folder: Path) -> None:
    from dqn_cli.config.gymnasium_source import register_source
    from dqn_cli.config.registry import register_schemas

    (in_folder / "env").mkdir()
    (in_folder / "env" / "small.yaml").write_text(
        "# @package _global_\nenv:\n  id: CartPole-v1\n  max_episode_steps: 9\n"
    )
    register_schemas()
    register_source([f"file://{in_folder}"])
    assert compose_settings(["env=small"]).env.max_episode_steps == 9
    register_source()


def test_seconds_are_split_off() -> None:
    assert split_seconds(["env=A", "seconds=2.5"]) == (2.5, ["env=A"])
    assert split_seconds(["env=A"]) == (None, ["env=A"])
    assert 3 <= default_seconds() <= 5


@pytest.mark.parametrize(
    ("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_hanging_check_at_once(
    in_folder: Path, kind: signal.Signals, code: int
) -> None:
    (in_folder / "cells_to_check.py").write_text(ENVS)
    words = ["env=cells_to_check:Cell-v0", "+env.kwargs.kind=hang", "seconds=500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dqn_cli.commands.check", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (started := children.read_text().split()):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(kind)
    start = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert time.monotonic() - start < 5
    assert "Traceback" not in err
    for child in started:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
