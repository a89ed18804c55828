from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from dqn_cli.config import registry
from dqn_cli.config.choices import Group, groups_in, run_keys, with_parts
from dqn_cli.config.paths import config_folder

GROUPS = {group.name: group for group in groups_in([config_folder()])}
SCHEMAS = [name for name in registry.SCHEMAS if "/" in name and name != "protocol/base_atari"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_choice_has_the_keys_of_its_dataclass(schema: str) -> None:
    registry.register_schemas()
    part = registry.part_named(registry.SCHEMAS[schema].partition(":")[2])
    group, _, choice = schema.replace("base_", "").partition("/")
    assert set(GROUPS[group].choices[choice]) == {field.name for field in fields(part)}


def test_a_choice_has_the_keys_of_the_choices_it_builds_on() -> None:
    assert GROUPS["network"].choices["dueling"] == GROUPS["network"].choices["multi"]
    assert list(GROUPS["target"].choices["rare"]) == ["every", "unit"]
    assert set(GROUPS["protocol"].choices["btr"]) == set(GROUPS["protocol"].choices["nature"])


def test_keys_have_the_values_that_their_comments_list() -> None:
    assert GROUPS["optimizer"].choices["adam"]["schedule"] == "constant|linear"
    assert GROUPS["optimizer"].choices["adam"]["lr"] == ""
    assert GROUPS["target"].choices["hard"]["unit"] == "steps|updates|episodes"


def test_files_that_others_share_are_no_choices() -> None:
    assert "MinAtar/Breakout-v1" in GROUPS["env"].choices
    names = [choice for group in GROUPS.values() for choice in group.choices]
    assert [name for name in names if "base_" in name] == []


def test_packages_say_where_keys_are() -> None:
    assert GROUPS["protocol"].package == "env.preprocess"
    assert GROUPS["network"].package == "network"
    assert {GROUPS[name].package for name in ("env", "agent", "experiment")} == {"_global_"}


def test_a_run_has_its_keys_without_those_of_hydra() -> None:
    keys = run_keys(config_folder() / "config.yaml")
    assert keys["steps"] == ""
    assert keys["dtype"] == "float32|float64"
    assert {"env.num_envs", "eval.every", "checkpoint.keep", "log.every"} <= set(keys)
    assert not any(key.startswith(("hydra", "defaults")) for key in keys)


def test_folders_of_ones_own_add_choices_and_groups(tmp_path: Path) -> None:
    for name, text in (
        ("network/big", "# Big.\ndefaults: [mlp]\n\nwidths: [512]\n"),
        ("network/mlp", "# Mine.\nwidths: [3]\n"),
        ("mine/one", "size: 1   # small | large\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    groups = {group.name: group for group in groups_in([config_folder(), tmp_path])}
    assert groups["network"].choices["big"] == GROUPS["network"].choices["mlp"]
    assert groups["network"].choices["mlp"] == GROUPS["network"].choices["mlp"]
    assert groups["mine"] == Group("mine", "mine", {"one": {"size": "small|large"}})


def test_registered_parts_are_choices_too() -> None:
    group = Group("head", "head", {"scalar": {}})
    parts = {"head": {"mine": ["atoms"]}, "new": {"one": []}}
    assert with_parts([group], parts) == [
        Group("head", "head", {"scalar": {}, "mine": {"atoms": ""}}),
        Group("new", "new", {"one": {}}),
    ]


def test_keys_of_nested_sections_have_their_whole_path() -> None:
    keys = run_keys(config_folder() / "config.yaml")
    assert {"eval.env.kwargs", "stop.at", "log.info", "env.kwargs"} <= set(keys)
    assert "eval.kwargs" not in keys
