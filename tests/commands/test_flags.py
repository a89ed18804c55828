from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.commands.flags import UsageError, check_flags


def test_flags_are_told_from_words(in_folder: Path) -> None:
    (in_folder / "mine").mkdir()
    flags = ("-m", "--cfg", "job", "--config-dir", "mine", "-cd=mine", "--info", "--package", "x")
    assert check_flags(["seed=1", *flags, "steps=2"]) == ["seed=1", "steps=2"]
    assert check_flags(["--info", "defaults", "--info", "seed=1"]) == ["seed=1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fast"], "unknown flag --fast: words have no dashes"),
        (["--multi"], "did you mean --multirun"),
        (["--cfg", "foo"], "--cfg foo: --cfg takes job, hydra, all"),
        (["--package", "x"], "--package goes with --cfg"),
        (["--config-dir"], "--config-dir has no value"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    ],
)
def test_a_wrong_flag_ends_with_code_2(in_folder: Path, words: list[str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_flags(words)
    assert caught.value.code == 2
    assert told in caught.value.message
