from __future__ import annotations

from typing import Any

import pytest

from dqn_cli.config.search_words import read_space
from dqn_cli.config.validation import ConfigError
from dqn_cli.searching.space import Choice, Decimal, Whole


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("interval(0.1,2)", Decimal(0.1, 2.0)),
        ("tag(log,interval(1e-5,1e-2))", Decimal(1e-5, 1e-2, log=True)),
        ("int(interval(1,9))", Whole(1, 9)),
        ("tag(log,int(interval(1,900)))", Whole(1, 900, log=True)),
        ("range(1,9,3)", Whole(1, 7, step=3)),
        ("range(0.25,1,0.25)", Decimal(0.25, 0.75, step=0.25)),
        ("1,3,5", Choice(("1", "3", "5"))),
        ("choice([64,64],[256])", Choice(("[64,64]", "[256]"))),
    ],
)
def test_domains_are_in_hydras_words(text: str, domain: object) -> None:
    assert read_space({}, [f"optimizer.lr={text}"]).domains == {"optimizer.lr": domain}


def test_other_words_are_those_of_every_run() -> None:
    space = read_space(
        {"gamma": "interval(0.9,1)", "optimizer.lr": "interval(0,1)"},
        ["env=CartPole-v1", "optimizer.lr=0.5", "+search=dqn", "network.widths=[8,8]"],
    )
    assert space.domains == {"gamma": Decimal(0.9, 1.0)}
    assert space.words == ["optimizer.lr=0.5", "env=CartPole-v1", "network.widths=[8,8]"]


def test_what_is_typed_wins_over_a_ready_space() -> None:
    space = read_space({"gamma": "interval(0.9,1)"}, ["gamma=interval(0.5,1)"])
    assert space.domains == {"gamma": Decimal(0.5, 1.0)}


def test_a_key_with_a_plus_is_the_same_key() -> None:
    space = read_space({"gamma": "interval(0.9,1)"}, ["++gamma=0.5", "+env.kwargs.size=1,2"])
    assert space.domains == {"+env.kwargs.size": Choice(("1", "2"))}
    assert space.words == ["++gamma=0.5"]


@pytest.mark.parametrize(
    ("params", "typed", "reason"),
    [
        ({}, ["env=CartPole-v1"], "nothing to search over: add"),
        ({}, ["seed=0,1"], "seed can't be searched over"),
        ({}, ["steps=1000,2000"], "steps can't be searched over"),
        ({}, ["env=CartPole-v1,Acrobot-v1"], "env can't be searched over"),
        ({}, ["stop.step=1,2"], "stop.step can't be searched over"),
        ({}, ["gamma=interval(1,0.5)"], "needs low < high"),
        ({}, ["gamma=tag(log,interval(0,0.5))"], "needs 0 < low < high"),
        ({}, ["optimizer=glob(*)"], "name the choices"),
        ({"gamma": "0.5"}, [], "nothing to search over"),
        ({}, ["gamma=tag(lg,interval(0.1,0.5))"], "the only tag is log"),
        ({}, ["gamma=shuffle(0.1,0.5)"], "the order of values does not matter"),
        ({}, ["gamma=tag(log,choice(0.1,0.5))"], "only numbers have a logarithm"),
        ({}, ["gamma=tag(log,range(1,9,2))"], "numbers in steps have no logarithm"),
        ({}, ["gamma=0.1,0.10"], "several choices, all different"),
        ({}, ["gamma=choice(0.1)"], "several choices, all different"),
        ({}, ["gamma=interval(0.1,inf)"], "at most 4 digits"),
        ({}, ["gamma=interval(0.9,0.99999)"], "at most 4 digits"),
        ({}, ["+search=dqn,iqn", "gamma=0.1,0.5"], r"\+search=dqn,iqn is not valid: .* one space"),
        ({}, ["protocol=none,image"], "protocol can't be searched over"),
        ({}, ["threads=1,2"], "threads can't be searched over"),
    ],
)
def test_what_can_not_be_searched_over_says_so(
    params: dict[str, Any], typed: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        read_space(params, typed)


def test_copies_of_an_environment_may_be_searched_over() -> None:
    assert read_space({}, ["env.num_envs=1,2"]).domains == {"env.num_envs": Choice(("1", "2"))}
