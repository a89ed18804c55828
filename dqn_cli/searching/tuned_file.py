"""File of tuned settings: the numbers that a search found, with what found them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from dqn_cli.training.settings import Settings, plain

WIDTH = 100
# What says how a run is trained; all else says on what, for how long, or where.
PARTS = (
    "network",
    "head",
    "update",
    "target",
    "exploration",
    "replay",
    "optimizer",
    "augment",
    "anneal",
    "reset",
)
NUMBERS = ("learning_starts", "train_every", "updates_per_train", "gamma")
KWARGS = "kwargs"  # of the user's own class, which may have an argument `type`
AUXILIARY = "auxiliary"  # parts by name; a run may have none or several
OF_ENVIRONMENT = ("num_envs", "normalize", "reward_scale", "normalize_reward")


def is_in_file(key: str) -> bool:
    """Return whether a file can hold a key; choices of parts, and all else, must be typed."""
    part, _, name = key.partition(".")
    if part == "env":
        return name in OF_ENVIRONMENT
    return part in NUMBERS or (bool(name) and part in (*PARTS, AUXILIARY))


def is_choice(key: str) -> bool:
    """Return whether a key chooses a part, or what a run learns from."""
    return key in (*PARTS, AUXILIARY, "protocol", "data", "data.path", "init")


def tuned_text(found: Settings, untuned: Settings, header: Iterable[str]) -> str:
    """Return the file: what differs from the settings of the same agent without tuned ones."""
    after, before = plain(found), plain(untuned)
    content = {key: after[key] for key in NUMBERS if after[key] != before[key]}
    env = _differences(after["env"], before["env"])
    sections = {"env": {key: env[key] for key in OF_ENVIRONMENT if key in env}}
    sections |= {part: _differences(after[part], before[part]) for part in PARTS}
    extra, known = after[AUXILIARY], before[AUXILIARY]
    differing = {name: _differences(extra[name], known.get(name, {})) for name in extra}
    sections[AUXILIARY] = {name: values for name, values in differing.items() if values}
    content |= {name: values for name, values in sections.items() if values}
    others = [part for part in PARTS if after[part]["type"] != before[part]["type"]]
    types = [f"{part} is {after[part]['type']}" for part in others]
    types += [f"{AUXILIARY} is [{','.join(extra)}]"] if extra.keys() != known.keys() else []
    missing = f"Type the choices of these parts too: {', '.join(types)}." if types else ""
    lines = [*header, missing]
    # Words of a command stay whole, so that it can be typed again.
    wrapper = textwrap.TextWrapper(WIDTH - 2, break_on_hyphens=False, break_long_words=False)
    comment = "\n".join(f"# {part}" for line in lines for part in wrapper.wrap(line))
    return "\n".join(["# @package _global_", comment, *_yaml_lines(content), ""])


def _yaml_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key; those of a section are indented."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield f"{key}:"
            yield from (f"  {line}" for line in _yaml_lines(value))
        else:
            style = None if isinstance(value, list) else False  # [64, 64] in one line
            yield yaml.safe_dump({key: value}, default_flow_style=style).rstrip()


def _differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ, without the types of parts; of a section that differs all."""
    return {
        key: _differences(value, {}) if isinstance(value, dict) and key != KWARGS else value
        for key, value in new.items()
        if key != "type" and (key not in old or value != old[key])
    }
