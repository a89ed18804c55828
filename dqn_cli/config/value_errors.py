"""Values of the wrong type: OmegaConf's message as what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from dqn_cli.training.settings import Settings

LIST, MAPPING = "it must be a list, as in [1,2]", "it must be a mapping, as in {a:1}"

# OmegaConf's messages, and what to say in their place; \1 is the first group of the pattern.
MESSAGES = (
    (r".*ListConfig.*list,? or tuple\.$", LIST),
    (r"Value .* is not a valid bool", "it must be true or false"),
    (r"Value .* with type hint 'Union\[bool, str\]'", "it must be true, false or text"),
    (r"Cannot convert '\w+' to string", "it must be text"),
    (r"Cannot assign \w+ to Dict\[", MAPPING),
    (r"Invalid value .*, expected one of \[(.*)\]", r"it must be one of \1"),
    (r"Value .* is not a valid input for <enum", "it must be a single word"),
    (r"field '.*' is not Optional", "it can't be null"),
)


def value_error(message: str, word: str = "") -> str:
    """Return what a value must be, for the message by which OmegaConf refuses it in a word."""
    if message == "Cannot merge DictConfig with ListConfig":
        return LIST if "={" in word else MAPPING
    if name := re.match(r"Invalid type assigned: \w+ is not a subclass of (\w+)", message):
        keys = next((_keys(part) for part in _parts(Settings) if part.__name__ == name[1]), "")
        return f"it has keys of its own{keys}"
    for pattern, right in MESSAGES:
        if found := re.match(pattern, message, re.DOTALL):
            return found.expand(right)
    return message


def _keys(part: type[Any]) -> str:
    return ": " + ", ".join(field.name for field in fields(part))


def _parts(part: type[Any]) -> Iterator[type[Any]]:
    """Iterate over the dataclasses that a dataclass has as values, at any depth."""
    for hint in get_type_hints(part).values():
        if isinstance(hint, type) and is_dataclass(hint):
            yield hint
            yield from _parts(hint)
