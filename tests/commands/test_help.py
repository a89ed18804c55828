from __future__ import annotations

import re

import pytest

from dqn_cli.commands.help import TRAIN
from dqn_cli.config.paths import config_folder

CHOICES = [
    (folder.name, choice.stem)
    for folder in sorted(config_folder().iterdir())
    if folder.is_dir()
    for choice in sorted(folder.glob("*.yaml"))
]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_help_names_every_choice(group: str, choice: str) -> None:
    line = re.search(rf"^  \+?{group} (.*(?:\n   .*)*)", TRAIN, re.MULTILINE)
    assert line is not None
    assert choice in line[1].replace(",", "").split()


def test_help_shows_ten_commands() -> None:
    commands = re.findall(r"^  (dqn-train.*)$", TRAIN.split("Then")[0], re.MULTILINE)
    assert len(commands) - 1 == 10  # the first is the usage
