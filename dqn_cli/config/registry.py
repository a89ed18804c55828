"""Registry of the dataclass of each choice in each configuration group.

The values of a choice are in configs/GROUP/CHOICE.yaml. Its defaults list names the schema, and the
comment after it the dataclass: `defaults: [base_qr]  # dqn_cli.agent.quantiles:Qr`.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, get_type_hints

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.paths import config_folder

SCHEMA_LINE = re.compile(
    r"^(?:defaults: \[|  - )(base_\w+)(?:@_here_)?\]? +# (dqn_cli[\w.]*:\w+)$", re.MULTILINE
)


def find_schemas() -> dict[str, str]:
    """Return the schemas that YAML files name, as `head/base_qr: dqn_cli.agent.quantiles:Qr`."""
    root = config_folder()
    found = {}
    for file in sorted(root.glob("**/*.yaml")):
        group = file.relative_to(root).parent.as_posix()
        for schema, location in SCHEMA_LINE.findall(file.read_text()):
            found[schema if group == "." else f"{group}/{schema}"] = location
    return found


# Names, not classes: completion must answer before torch is imported.
SCHEMAS = find_schemas()

SEVERAL = ("auxiliary", "logger")  # groups that take a list of choices, each with a key of its name

_parts: dict[str, type[Any]] = {}
_own: dict[tuple[str, str], type[Any]] = {}  # the user's, by group and choice


def register_schemas() -> None:
    """Store every dataclass under its schema's name, so that compositions are typed."""
    for name, location in SCHEMAS.items():
        module, attribute = location.split(":")
        part = getattr(import_module(module), attribute)
        _parts[part.__name__] = part
        _store(name, part)
    _add_nested(_parts["Settings"])


def register_untyped() -> None:
    """Store an empty node under each schema's name; completion needs no types, and no torch."""
    for name in SCHEMAS:
        _store(name, {})


def register(group: str, choice: str, part: type[Any], like: str | None = None) -> None:
    """Add a choice from your own package, which `import=` names.

    Args:
        group: Such as `exploration`.
        choice: Such as `mine`; the command line then takes `exploration=mine`.
        part: A dataclass with a default for each field.
        like: A choice of the group whose values are those of fields without a default.

    Raises:
        ValueError: If dqn-train has a choice or a dataclass of this name, none of the name `like`,
            or a field has no value.
    """
    if (config_folder() / group / f"{choice}.yaml").is_file():
        raise ValueError(f"{group}={choice} is a choice of dqn-train: register another name")
    if part.__name__ in {location.partition(":")[2] for location in SCHEMAS.values()}:
        raise ValueError(f"{part.__name__} is a class of dqn-train: give yours another name")
    node = part if like is None else _filled(group, choice, part, like)
    _parts[part.__name__] = part
    _own[group, choice] = part
    _store(f"{group}/{choice}", node, f"{group}.{choice}" if group in SEVERAL else None)


def unregister(group: str, choice: str) -> None:
    """Take back a registered choice."""
    del _parts[_own.pop((group, choice)).__name__]
    del ConfigStore.instance().repo[group][f"{choice}.yaml"]


def own_choices() -> dict[str, dict[str, list[str]]]:
    """Return the keys of each choice that `register` added: by group, then by choice."""
    choices: dict[str, dict[str, list[str]]] = {}
    for (group, choice), part in _own.items():
        choices.setdefault(group, {})[choice] = [field.name for field in fields(part)]
    return choices


def part_named(name: str) -> type[Any]:
    """Return the registered dataclass of this name.

    Raises:
        KeyError: If there is none.
    """
    if "Settings" not in _parts:
        register_schemas()
    return _parts[name]


def registered_values(part: type[Any]) -> dict[str, Any]:
    """Return the values that a dataclass was registered with, or none if it was not.

    A value that refers to the environment's returns is -10 or 10.
    """
    for (group, choice), own in _own.items():
        if own is part:
            returns = {"min_return": -10.0, "max_return": 10.0}
            config = OmegaConf.create({"env": returns, "part": _node(group, choice)})
            return {
                name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
                for name, value in config.part.items()  # raises if one is missing
            }
    return {}


def is_part(name: str) -> bool:
    """Return True if a dataclass of this name is registered."""
    return name in _parts


def _filled(group: str, choice: str, part: type[Any], like: str) -> DictConfig:
    """Return a node of the part, whose fields without a default have the values of a choice."""
    values = _values(group, like)
    node: DictConfig = OmegaConf.structured(part)
    for field in fields(part):
        if not OmegaConf.is_missing(node, field.name):
            continue
        if field.name not in values:
            raise ValueError(
                f"{part.__name__}.{field.name} has no value: give it a default, because"
                f" {group}={like} has no {field.name}"
            )
        node[field.name] = values[field.name]
    return node


def _values(group: str, choice: str) -> dict[str, Any]:
    """Return the values of a choice, and of the choices in its defaults list."""
    if (group, choice) in _own:
        stored = OmegaConf.to_container(_node(group, choice), resolve=False)
        assert isinstance(stored, dict)
        return {str(key): value for key, value in stored.items()}
    file = config_folder() / group / f"{choice}.yaml"
    if not file.is_file():
        raise ValueError(f"like={choice}: dqn-train has no {group}={choice}")
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    values: dict[str, Any] = {}
    for default in content.pop("defaults", []):
        if isinstance(default, str) and not default.startswith("base_"):
            values |= _values(group, default)
    return values | content


def _node(group: str, choice: str) -> DictConfig:
    node: DictConfig = ConfigStore.instance().repo[group][f"{choice}.yaml"].node
    return node


def _add_nested(part: type[Any]) -> None:
    """Register the dataclasses of a part's fields, and of theirs."""
    for kind in get_type_hints(part).values():
        if is_dataclass(kind) and isinstance(kind, type):
            _parts[kind.__name__] = kind
            _add_nested(kind)


def _store(path: str, node: Any, package: str | None = None) -> None:
    group, _, name = path.rpartition("/")
    ConfigStore.instance().store(name=name, node=node, group=group or None, package=package)
