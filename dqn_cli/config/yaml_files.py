"""Reading of YAML files whose text may be damaged, or made to harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dqn_cli.config.validation import ConfigError
from dqn_cli.text import one_line

LONGEST, DEEPEST = 2**20, 32  # bytes, and lists or dicts inside each other
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path) -> Any:
    """Return the plain data of a file without aliases, which could stand for any amount of it.

    Raises:
        ConfigError: The file is damaged, too long or nested too deeply.
        OSError: It can't be opened.
    """
    try:
        if path.stat().st_size > LONGEST:
            raise ValueError("it is too long")
        text = path.read_text()
        _check_events(text)
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {one_line(error)}") from error


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
