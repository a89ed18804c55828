from __future__ import annotations

from collections.abc import Callable

import yaml

from dqn_cli.searching.tuned_file import is_choice, is_in_file, tuned_text
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_a_file_has_what_differs_and_what_found_it(settings_of: Compose) -> None:
    found = settings_of(
        "tuned=none", "gamma=0.5", "optimizer.lr=2e-5", "network.widths=[64,32]", "env.num_envs=2",
        "seed=9", "steps=7000", "eval.every=70", "env.timeout=5",
    )  # fmt: skip
    text = tuned_text(found, settings_of("tuned=none"), ["Found by a search.", "word " * 40])
    lines = text.splitlines()
    assert lines[:2] == ["# @package _global_", "# Found by a search."]
    assert max(map(len, lines)) <= 100
    assert "  widths: [64, 32]" in lines
    assert yaml.safe_load(text) == {
        "gamma": 0.5,
        "env": {"num_envs": 2},
        "network": {"widths": [64, 32]},
        "optimizer": {"lr": 2e-5},
    }


def test_a_command_in_the_header_keeps_its_words(settings_of: Compose) -> None:
    words = ["dqn-train", *["--config-dir"] * 30, "x" * 120]
    text = tuned_text(settings_of("tuned=none"), settings_of("tuned=none"), [" ".join(words)])
    assert text.replace("#", "").split()[2:] == words


def test_parts_that_a_file_can_not_choose_are_named(settings_of: Compose) -> None:
    found = settings_of("tuned=none", "target=soft", "target.tau=0.5")
    text = tuned_text(found, settings_of("tuned=none"), [])
    assert "# Type the choices of these parts too: target is Soft." in text.splitlines()
    assert yaml.safe_load(text) == {"target": {"tau": 0.5, "act": False}}


def test_numbers_of_auxiliary_parts_are_in_the_file(settings_of: Compose) -> None:
    found = settings_of("tuned=none", "auxiliary=cql", "auxiliary.cql.weight=0.25")
    text = tuned_text(found, settings_of("tuned=none"), [])
    assert "# Type the choices of these parts too: auxiliary is [cql]." in text.splitlines()
    assert yaml.safe_load(text) == {"auxiliary": {"cql": {"weight": 0.25}}}


def test_a_section_within_a_part_is_written_with_its_keys(settings_of: Compose) -> None:
    found = settings_of("tuned=none", "anneal.gamma.start=0.9", "anneal.gamma.duration=1000")
    text = tuned_text(found, settings_of("tuned=none"), [])
    assert yaml.safe_load(text)["anneal"]["gamma"]["start"] == 0.9
    assert "type" not in text


def test_what_a_file_can_hold_is_numbers_of_parts() -> None:
    held = ("gamma", "optimizer.lr", "auxiliary.cql.weight", "env.num_envs", "network.kwargs.width")
    others = ("optimizer", "auxiliary", "data.share", "env.kwargs.gravity", "network", "init")
    assert [key for key in (*held, *others) if is_in_file(key)] == list(held)
    choices = ("optimizer", "auxiliary", "network", "init")
    assert [key for key in (*held, *others) if is_choice(key)] == list(choices)


def test_without_a_difference_a_file_is_empty(settings_of: Compose) -> None:
    settings = settings_of("tuned=none")
    assert yaml.safe_load(tuned_text(settings, settings, ["Nothing."])) is None
