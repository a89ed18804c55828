"""Groups, choices and keys as the YAML files list them; read without Hydra for --help."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

BASE = "base_"  # prefix of files and schemas that other choices share
Keys = dict[str, str]


class Group(NamedTuple):
    """A configuration group: where its keys are in a run, and the keys of each choice.

    A key maps to its legal values, as `constant|linear`, or to an empty string. Choices that set
    keys of several groups have none of their own.
    """

    name: str
    package: str
    choices: dict[str, Keys]


def groups_in(folders: Sequence[Path]) -> list[Group]:
    """Return the groups of these folders, in the order of the first folder's config.yaml."""
    names = sorted({path.name for folder in folders for path in folder.glob("*/")})
    order = _defaults_of(folders[0] / "config.yaml")
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return [_group(name, [folder / name for folder in folders]) for name in names]


def with_parts(
    groups: Sequence[Group], parts: Mapping[str, Mapping[str, Iterable[str]]]
) -> list[Group]:
    """Return the groups with the keys of registered parts: by group, then by choice."""
    extended = {group.name: group for group in groups}
    for name, choices in parts.items():
        group = extended.get(name, Group(name, name, {}))
        keys = {choice: dict.fromkeys(fields, "") for choice, fields in choices.items()}
        extended[name] = group._replace(choices=group.choices | keys)
    return list(extended.values())


def run_keys(config_file: Path) -> Keys:
    """Return the keys that a run has beside its groups, as `eval.every`."""
    keys: Keys = {}
    path: list[str] = []  # of the key in the line before
    for line in config_file.read_text().splitlines():
        match = re.match(r"(\s*)([a-z]\w*): *([^#]*)(.*)", line)
        if match is None or match[2] == "defaults":
            continue
        indent, name, value, comment = match.groups()
        path[len(indent) // 2 :] = [name]
        if path[0] != "hydra" and value.strip():
            keys[".".join(path)] = _legal_values(comment)
    return keys


def _group(name: str, folders: Sequence[Path]) -> Group:
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in reversed(folders)
        for path in folder.rglob("*.yaml")
    }
    texts = {choice: path.read_text() for choice, path in sorted(files.items())}
    packages = {choice: _package(text, name, choice) for choice, text in texts.items()}
    choices = {choice: Keys() for choice in texts if not Path(choice).name.startswith(BASE)}
    for choice in choices:
        if packages[choice] != "_global_":
            choices[choice] = dict(_keys(choice, texts))
    package, _ = Counter(packages.values() or [name]).most_common(1)[0]
    return Group(name, package, choices)


def _keys(choice: str, texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a choice and of the choices in its defaults list."""
    content = _load(texts[choice])
    for default in content.pop("defaults", []):
        parent = str(default).partition("@")[0]
        if parent in texts:
            yield from _keys(parent, texts)
    for key in content:
        comment = re.search(rf"^{key}:[^#\n]*(#.*)", texts[choice], re.MULTILINE)
        yield key, _legal_values(comment[1] if comment else "")


def _legal_values(comment: str) -> str:
    """Return the values that begin a comment as `a | b`, or an empty string."""
    values = re.match(r"# (\w+(?: \| \w+)+)", comment)
    return values[1].replace(" ", "") if values else ""


def _package(text: str, group: str, choice: str) -> str:
    """Return where a choice's keys are; those of choices side by side, at `group.CHOICE`."""
    header = re.match(r"# @package (\S+)", text)
    package = header[1] if header else group
    return f"{group}.CHOICE" if package == f"{group}.{choice}" else package


def _defaults_of(config_file: Path) -> list[str]:
    """Return the groups of a defaults list."""
    defaults = _load(config_file.read_text())["defaults"]
    return [group for default in defaults if isinstance(default, dict) for group in default]


def _load(text: str) -> dict[str, Any]:
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content if isinstance(content, dict) else {}
