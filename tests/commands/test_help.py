from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dqn_cli.commands.help import CHECK, EVALUATE, PLOT, REPORT, TRAIN, train_help
from dqn_cli.config.choices import groups_in
from dqn_cli.config.paths import config_folder

CHOICES = [
    (group.name, choice) for group in groups_in([config_folder()]) for choice in group.choices
]
HELP = train_help()


def lines_of(group: str, text: str = HELP) -> str:
    found = re.search(rf"^  {group} (.*(?:\n    .*)*)", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_help_names_every_choice(group: str, choice: str) -> None:
    assert choice in lines_of(group).split()


def test_help_names_the_choices_that_have_a_key() -> None:
    assert ".units .burn_in .length (gru lstm)" in lines_of("network")
    assert "(all but table)" in lines_of("network")
    assert ".schedule=constant|linear" in lines_of("optimizer")
    assert "env.preprocess.stack .clip_rewards" in lines_of("protocol")


def test_help_names_the_keys_of_every_run() -> None:
    assert "  eval.every .episodes .max_episode_steps" in HELP
    assert " dtype=float32|float64" in HELP


def test_help_shows_ten_commands() -> None:
    commands = re.findall(r"^  (dqn-train.*)$", TRAIN.split("Before and after")[0], re.MULTILINE)
    assert len(commands) - 1 == 10  # the first is the usage


@pytest.mark.parametrize("text", [HELP, CHECK, EVALUATE, PLOT, REPORT])
def test_help_fits_a_terminal(text: str) -> None:
    assert max(map(len, text.splitlines())) <= 100
    assert "{" not in text


def test_help_lists_what_is_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "big.yaml").write_text("defaults: [mlp]\nwidths: [512]\n")
    text = train_help([tmp_path], {"head": {"mine": ["knots"]}})
    assert "big" in lines_of("network", text).split()
    assert "mine" in lines_of("head", text).split()
    assert ".knots (mine)" in lines_of("head", text)


def test_help_of_a_command_lists_what_is_the_users_own(in_folder: Path) -> None:
    (in_folder / "u" / "experiment").mkdir(parents=True)
    (in_folder / "u" / "experiment" / "own.yaml").write_text("# @package _global_\nsteps: 3\n")
    (in_folder / "my_package_for_help.py").write_text(
        "from dataclasses import dataclass\nimport dqn_cli\n"
        "@dataclass\nclass Mine:\n    knots: int = 1\n"
        "dqn_cli.register('exploration', 'mine', Mine)\n"
    )
    words = ["--help", "--config-dir", "u", "import=[my_package_for_help]"]
    done = subprocess.run(
        [sys.executable, "-m", "dqn_cli.commands.train", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "own" in lines_of("experiment", done.stdout).split()
    assert ".knots (mine)" in lines_of("exploration", done.stdout)


@pytest.mark.parametrize("module", ["torch", "gymnasium", "hydra", "numpy"])
def test_help_imports_nothing_slow(in_folder: Path, module: str) -> None:
    code = (
        "import sys; from dqn_cli.commands.train import dispatch; dispatch(['--help']);"
        f"sys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands people type" in done.stdout


def test_help_is_there_within_a_second(in_folder: Path) -> None:
    words = [sys.executable, "-m", "dqn_cli.commands.train", "--help"]

    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1
