from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.commands.completion import without_bases, without_own_words, words_of

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(in_folder: Path) -> Complete:
    """Completes a line as a shell would, in a process that must not import torch."""
    (in_folder / "u" / "network").mkdir(parents=True)
    (in_folder / "u" / "network" / "big.yaml").write_text("defaults: [mlp]\nwidths: [512]\n")
    (in_folder / "u" / "env").mkdir()
    (in_folder / "u" / "env" / "Own-v0.yaml").write_text("# @package _global_\nsteps: 3\n")
    (in_folder / "my_package.py").write_text(
        "from dataclasses import dataclass\nimport dqn_cli\n"
        "@dataclass\nclass Mine:\n    knots: int = 1\n"
        "dqn_cli.register('exploration', 'mine', Mine)\n"
    )

    def completed(line: str, shell: str = "bash") -> list[str]:
        words = [sys.executable, "-X", "importtime", "-m", "dqn_cli.commands.train"]
        done = subprocess.run(
            [*words, "-sc", f"query={shell}"],
            capture_output=True, text=True, check=True, env=os.environ | {"COMP_LINE": line},
        )  # fmt: skip
        assert " torch\n" not in done.stderr
        return done.stdout.split()

    return completed


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_choices_are_completed(complete: Complete, shell: str) -> None:
    assert complete("dqn-train agent=d", shell) == [
        "agent=d3qn", "agent=data_efficient_rainbow", "agent=double", "agent=dqn", "agent=drqn",
        "agent=dueling",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dqn-train network.wi", ["network.widths."]),
        ("dqn-train +experiment=soft", ["+experiment=soft-huber"]),
        ("dqn-train experiment=soft", ["experiment=soft-huber"]),
        ("dqn-train +experiment=soft-huber target.", ["target.act=", "target.tau="]),
        ("dqn-train import=my_package exploration=mi", ["exploration=mine"]),
        ("dqn-train import=[my_package] exploration=mine exploration.", ["exploration.knots="]),
        ("dqn-train --config-dir u network=b", ["network=big"]),
        ("dqn-train --config-dir=u env=Own", ["env=Own-v0"]),
        ("dqn-train -cd u network=big network.l", ["network.layer_norm="]),
        ("dqn-train env=Blackj", ["env=Blackjack-v1"]),
        ("dqn-train hydra.searchpath=[file://u] env=Blackj", ["env=Blackjack-v1"]),
    ],
)  # fmt: skip
def test_words_are_completed(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line) == offered


@pytest.mark.parametrize("group", ["env", "network", "head", "exploration", "protocol"])
def test_files_that_others_share_are_not_offered(complete: Complete, group: str) -> None:
    offered = complete(f"dqn-train {group}=")
    assert len(offered) > 2
    assert [word for word in offered if "base_" in word] == []


def test_the_script_that_installs_completion_is_left_as_it_is(in_folder: Path) -> None:
    words = [sys.executable, "-m", "dqn_cli.commands.train", "-sc", "install=bash"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "hydra_bash_completion()" in done.stdout
    assert "-sc query=bash" in done.stdout


def test_words_are_finished_before_the_one_that_is_typed() -> None:
    assert words_of("dqn-train seed=1 env=C") == ["dqn-train", "seed=1"]
    assert words_of("dqn-train seed=1 ") == ["dqn-train", "seed=1"]
    assert words_of("dqn-train 'seed=range(8)' a") == ["dqn-train", "seed=range(8)"]
    assert words_of("dqn-train 'seed= a") == ["dqn-train", "'seed="]


def test_hydra_is_not_shown_words_of_this_package() -> None:
    assert without_own_words("dqn-train import=a +experiment=b c=") == "dqn-train experiment=b c="
    assert without_own_words("dqn-train +experiment=b") == "dqn-train +experiment=b"


def test_only_choices_are_taken_for_bases() -> None:
    offered = "head=base_iqn head=iqn env=MinAtar/base_minatar resume=./base_run database_x=\n"
    assert without_bases(offered) == "head=iqn resume=./base_run database_x=\n"
