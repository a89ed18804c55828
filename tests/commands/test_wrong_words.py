from __future__ import annotations

import sys
from pathlib import Path

import pytest
from wrong_words import Wrong, wrong_lines

from dqn_cli.commands import check, evaluate, plot, report, train
from dqn_cli.commands.command_line import run_command
from dqn_cli.config.current_command import Sweep

COMMANDS = {"train": train, "eval": evaluate, "plot": plot, "report": report, "check": check}
LINES = list(wrong_lines())
MOST_LINES = 12


def check_told(wrong: Wrong, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong word is refused in a few lines that name it, and nothing is written."""
    Sweep.folder = None
    module = COMMANDS[wrong.command]
    assert run_command(lambda: module.dispatch(list(wrong.words))) != 0
    said = capsys.readouterr()
    lines = (said.out + said.err).splitlines()
    assert len(lines) <= MOST_LINES
    assert not any("Traceback" in line for line in lines)
    last = said.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert last.isprintable()
    assert "HYDRA_FULL_ERROR" not in last
    assert wrong.named in last
    assert list(folder.iterdir()) == []


def test_there_are_three_hundred_lines_and_no_two_are_the_same() -> None:
    assert len(set(LINES)) == len(LINES) >= 300


OFTEN = 6  # one line of so many is a fast test


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(wrong, marks=[pytest.mark.slow] if number % OFTEN else [])
        for number, wrong in enumerate(LINES)
    ],
    ids=lambda wrong: repr(wrong.words)[:60],
)
def test_a_wrong_word_is_named(
    wrong: Wrong,
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"dqn-{wrong.command}"])
    check_told(wrong, in_folder, capsys)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("seed=1", "seed=2"), "warning: seed is given twice, and the last one counts: seed=2"),
        (("-m", "seed=1"), "warning: -m has nothing to sweep over"),
    ],
)
def test_a_superfluous_word_is_told(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["dqn-train"])
    assert run_command(lambda: train.dispatch([*words, "steps=0"])) == 1
    assert capsys.readouterr().err.startswith(told)
