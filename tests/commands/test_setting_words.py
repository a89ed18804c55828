from __future__ import annotations

import pytest

from dqn_cli.commands.setting_words import check_settings
from dqn_cli.config.validation import ConfigError


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
