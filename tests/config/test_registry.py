from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from conftest import NEEDED

from dqn_cli.agent.exploration import Constant, Exploration, Linear
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp
from dqn_cli.config import registry
from dqn_cli.config.paths import config_folder
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.training.settings import Settings, plain

Compose = Callable[..., Settings]

# Spaces of searches are no choices of a run; tests/commands/test_search.py tries each.
FILES = sorted(path for path in config_folder().glob("*/*.yaml") if path.parent.name != "search")
CHOICES = [f"{file.parent.name}={file.stem}" for file in FILES]


def file_of(schema: str) -> Path:
    """The file that gives each key of a schema its value."""
    names = {"protocol/base_atari": "protocol/nature"}  # several rules share these keys
    return config_folder() / f"{names.get(schema, schema.replace('base_', ''))}.yaml"


def test_there_are_choices() -> None:
    assert len(CHOICES) >= 25


@pytest.mark.parametrize("choice", CHOICES)
def test_every_file_is_a_valid_choice_that_comes_back_as_it_was(
    settings_of: Compose, choice: str
) -> None:
    group, _, name = choice.partition("=")
    settings = settings_of(choice, *NEEDED.get(choice, ()))
    if group == "env":
        assert settings.env.id == name
    elif f"{group}/base_{name}" in registry.SCHEMAS:
        location = registry.SCHEMAS[f"{group}/base_{name}"]
        part = settings.env.preprocess if group == "protocol" else getattr(settings, group)
        if isinstance(part, dict):  # of choices side by side
            part = part[name]
        assert type(part).__name__ == location.partition(":")[2]
    data = plain(settings)
    assert json.loads(json.dumps(data)) == data
    again = stored_settings(data)
    assert again == settings
    assert plain(again) == data


@pytest.mark.parametrize("schema", [name for name in registry.SCHEMAS if "/" in name])
def test_every_schema_has_a_file(schema: str) -> None:
    assert file_of(schema) in FILES


GROUPS = [
    "augment",
    "exploration",
    "head",
    "replay",
    "optimizer",
    "network",
    "target",
    "protocol",
    "update",
]


@pytest.mark.parametrize("group", GROUPS)
def test_a_choice_has_every_field_of_its_dataclass_in_its_file(group: str) -> None:
    registry.register_schemas()
    for schema, location in registry.SCHEMAS.items():
        if schema.startswith(f"{group}/"):
            part = registry.part_named(location.partition(":")[2])
            written = set(re.findall(r"^(\w+):", file_of(schema).read_text(), re.M)) - {"defaults"}
            assert written == {field.name for field in fields(part)}


def documented_lines(file: Path) -> Iterator[str]:
    """Lines that give a key of a run its value; lists of defaults and Hydra's own are none."""
    section = ""
    for line in file.read_text().splitlines():
        key = re.match(r"(\s*)([\w.]+):(.*)", line)
        if key is None:
            continue
        if not key[1]:
            section = key[2]
        value = key[3].partition("#")[0].strip()
        if section not in ("defaults", "hydra") and value:
            yield line


def introduces_keys(file: Path) -> bool:
    """Files of environments, agents and experiments only change what others have explained."""
    return not file.read_text().startswith("# @package _global_")


INTRODUCING = [config_folder() / "config.yaml", *filter(introduces_keys, FILES)]


@pytest.mark.parametrize("file", INTRODUCING, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_every_key_says_on_its_line_what_it_means(file: Path) -> None:
    assert [line for line in documented_lines(file) if not re.search(r" # \S", line)] == []


def test_keys_are_found_where_there_are_some() -> None:
    assert len(list(documented_lines(config_folder() / "config.yaml"))) >= 20
    assert len(list(documented_lines(config_folder() / "replay" / "uniform.yaml"))) == 4


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_every_file_begins_with_what_it_is(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @")]
    assert re.match(r"# [A-Z]", lines[0])


@dataclass
class Mine(Constant):
    """A choice from somebody else's package."""

    strength: float = 0.5
    extra: str = "yes"


@pytest.fixture
def registered() -> Iterator[None]:
    registry.register("exploration", "mine", Mine)
    yield
    registry.unregister("exploration", "mine")


def test_a_choice_of_ones_own_is_like_any_other(registered: None, settings_of: Compose) -> None:
    settings = settings_of("exploration=mine", "exploration.start=0.2", "exploration.extra=no")
    assert settings.exploration == Mine(0.2, 0.5, "no")
    assert registry.is_part("Mine")
    assert registry.part_named("Mine") is Mine
    assert plain(settings)["exploration"]["type"] == "Mine"


@dataclass
class Steep(Linear):
    """A schedule whose fields have no defaults but its own."""

    power: float = 2.0


@dataclass
class Unset(Exploration):
    """A part without a value."""

    depth: float


def test_a_choice_of_ones_own_takes_the_values_of_another(settings_of: Compose) -> None:
    registry.register("exploration", "steep", Steep, like="linear")
    registry.register("exploration", "steeper", type("Steeper", (Steep,), {}), like="steep")
    try:
        linear = settings_of("exploration=linear").exploration
        assert isinstance(linear, Linear)
        expected = Steep(linear.unit, linear.start, linear.end, linear.duration)
        assert settings_of("exploration=steep").exploration == expected
        assert registry.registered_values(Steep) == vars(expected)
        changed = settings_of("exploration=steeper", "exploration.power=3", "exploration.end=0")
        assert vars(changed.exploration) == vars(expected) | {"power": 3, "end": 0}
    finally:
        registry.unregister("exploration", "steep")
        registry.unregister("exploration", "steeper")


def test_values_come_through_the_defaults_of_a_file() -> None:
    own = dataclass(type("OwnMulti", (Multi,), {}))
    registry.register("network", "own_multi", own, like="dueling")
    try:
        values = registry.registered_values(own)
        assert values["dueling"] is True
        assert values["widths"] == [256, 256]
    finally:
        registry.unregister("network", "own_multi")


def test_a_choice_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^like=cosine: dqn-train has no exploration=cosine$"):
        registry.register("exploration", "unset", Unset, like="cosine")
    line = r"^Unset.depth has no value: give it a default, because exploration=linear has no depth$"
    with pytest.raises(ValueError, match=line):
        registry.register("exploration", "unset", Unset, like="linear")


def test_parts_are_known_by_the_name_of_their_dataclass() -> None:
    assert registry.part_named("Mlp") is Mlp
    assert registry.is_part("EnvConfig")
    assert not registry.is_part("Cnn")
    with pytest.raises(KeyError):
        registry.part_named("Cnn")
