from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.commands.words import (
    UsageError,
    check_flags,
    check_plain_words,
    check_settings,
    options_and_paths,
)
from dqn_cli.config.validation import ConfigError


def test_a_path_with_an_equals_sign_is_a_path(in_folder: Path) -> None:
    (in_folder / "by=me").mkdir()
    options, paths = options_and_paths(["by=me", "out=a.png"], ("by", "out"))
    assert options == {"out": "a.png"}
    assert paths == [Path("by=me")]


def test_an_option_is_given_once() -> None:
    with pytest.raises(ConfigError, match="by is given twice"):
        options_and_paths(["by=a", "run", "by=b"], ("by", "out"))


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


def test_a_path_may_look_like_a_key() -> None:
    check_plain_words(["a b=", "c=d=", "out=x"], ["out"])
    with pytest.raises(ConfigError, match="out is given twice: out=x and out=y"):
        check_plain_words(["out=x", "out=y"], ["out"])


def test_modules_may_be_named_in_several_words() -> None:
    check_plain_words(["import=a", "import=b"], ["import"])


@pytest.mark.parametrize(
    "words",
    [
        ["env=CartPole-v1", "network=null", "~tuned", "eval={every: 5}", "steps=1e6"],
        ["hydra.run.dir='ein Ordner für mich'", "+env.kwargs.a=''", "experiment=width-study"],
    ],
)
def test_right_words_are_accepted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check_settings(words, False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words", [["seed=1,2"], ["seed=range(3)"], ["network=glob(m*)"], ["experiment=width-study"]]
)
def test_sweeps_are_accepted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check_settings(words, True)
    assert capsys.readouterr().err == ""


def test_too_many_jobs_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than 100,000 jobs"):
        check_settings(["seed=range(1000)", "steps=range(1,1000)"], True)


@pytest.mark.parametrize("word", ["+search=dqn", "hydra/sweeper=search"])
def test_a_search_trains_some_of_all_combinations_and_needs_m(word: str) -> None:
    many = [word, "seed=range(1000)", "train_every=range(1,1000)"]
    check_settings(many, sweeps=True)
    with pytest.raises(ConfigError, match="searches over many runs: add -m"):
        check_settings(many, sweeps=False)
