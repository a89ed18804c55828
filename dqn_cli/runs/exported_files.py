"""Weights and architecture of an exported policy: safetensors, and JSON beside it.

Neither can hold code, and every field is checked before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.parameters import Layout, views
from dqn_cli.agent.spaces import Part, Spaces
from dqn_cli.fields import damage_named, items, mapping, natural, require, text
from dqn_cli.runs.checkpoint_fields import POLICY_KEYS
from dqn_cli.storage import CheckpointError, load_json

WEIGHTS, DESCRIPTION = "model.safetensors", "policy.json"
SCHEMA = 1
INFINITIES = {"inf": math.inf, "-inf": -math.inf}
NEEDS_EXTRA = "needs an extra: pip install 'dqn-train[export]'"


def is_exported(path: Path) -> bool:
    """Return whether a path is a folder of an exported policy, or a file in one."""
    folder = path if path.is_dir() else path.parent
    return path.exists() and (folder / DESCRIPTION).is_file()


def exported_weights(path: Path) -> Path:
    """Return the weights of an exported policy, named by its folder or any file in it.

    Raises:
        CheckpointError: It was exported without them.
    """
    weights = (path if path.is_dir() else path.parent) / WEIGHTS
    if not weights.is_file():
        reason = "export with format=safetensors or hub=true to read a policy back"
        raise CheckpointError(f"{weights.parent} holds no {WEIGHTS}: {reason}")
    return weights


def architecture(data: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return all of a checkpoint's policy but its parameters, as data that JSON can hold."""
    kept = {key: data[key] for key in POLICY_KEYS if key not in ("spaces", "parameters")}
    shapes = {name: list(parameter.shape) for name, parameter in layout.items()}
    return kept | {"spaces": _plain_spaces(Spaces.restore(data["spaces"])), "parameters": shapes}


def save_weights(path: Path, parameters: Tensor, layout: Layout) -> None:
    """Write parameters [size] by name."""
    from safetensors.torch import save

    named = {name: value.clone() for name, value in views(parameters.cpu(), layout).items()}
    path.write_bytes(save(named, {"format": "pt"}))


def load_exported(weights: Path) -> dict[str, Any]:
    """Return the data of a checkpoint, of weights and the description beside them.

    Raises:
        CheckpointError: They are damaged, or the extra is missing.
    """
    if find_spec("safetensors") is None:
        raise CheckpointError(f"{weights} {NEEDS_EXTRA}")
    file = weights.with_name(DESCRIPTION)
    described = load_json(file)
    with damage_named(file):
        mapping(described, "", ("schema", "architecture"))
        natural(described["schema"], "schema", SCHEMA, SCHEMA)
        stored = dict(mapping(described["architecture"], "architecture", POLICY_KEYS))
        stored["spaces"] = _spaces_from(stored["spaces"])
        shapes = mapping(stored["parameters"], "architecture.parameters")
        for name, shape in shapes.items():
            items(shape, f"architecture.parameters.{name}", natural)
    stored["shapes"] = {name: list(shape) for name, shape in shapes.items()}
    stored["parameters"] = _flat(weights, stored["shapes"])
    return stored


def _flat(weights: Path, shapes: Mapping[str, Sequence[int]]) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        named = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{weights} can't be read: {error}") from error
    if {name: list(value.shape) for name, value in named.items()} != shapes:
        raise CheckpointError(f"{weights} has other parameters than {DESCRIPTION} names")
    if len({value.dtype for value in named.values()}) != 1:
        raise CheckpointError(f"{weights} has parameters of several types, or none")
    return torch.cat([named[name].flatten() for name in shapes])  # [size]


def _plain_spaces(spaces: Spaces) -> dict[str, Any]:
    plain = spaces._asdict()
    plain["parts"] = [_plain_part(part) for part in spaces.parts]
    for name in ("own_observations", "own_actions"):
        plain[name] = _with_pairs(plain[name])
    return plain


def _plain_part(part: Part) -> dict[str, Any]:
    bounds = {
        name: [bound if math.isfinite(bound) else str(bound) for bound in getattr(part, name)]
        for name in ("low", "high")
    }
    return part._asdict() | bounds


def _with_pairs(space: Any) -> Any:
    """Return a described space with the parts of a Dict as pairs: JSON's keys are all text."""
    if not isinstance(space, dict) or "parts" not in space:
        return space
    parts = space["parts"]
    if isinstance(parts, dict):
        return space | {"parts": [[name, _with_pairs(part)] for name, part in parts.items()]}
    return space | {"parts": [_with_pairs(part) for part in parts]}


def _spaces_from(plain: Any) -> tuple[Any, ...]:
    """Return what `_plain_spaces` was made of, as a checkpoint has it."""
    fields = mapping(plain, "spaces", Spaces._fields)
    parts = items(fields["parts"], "spaces.parts", lambda part, name: mapping(part, name))
    return (
        tuple(_part_from(part) for part in parts),
        fields["actions"],
        fields["frames"],
        _without_pairs(fields["own_observations"], "spaces.own_observations"),
        _without_pairs(fields["own_actions"], "spaces.own_actions"),
    )


def _part_from(plain: Mapping[str, Any]) -> tuple[Any, ...]:
    fields = mapping(plain, "spaces.parts", Part._fields)
    found = {name: fields[name] for name in Part._fields}
    for name in ("shape", "low", "high"):
        values = items(found[name], f"spaces.parts.{name}", lambda *_: None)
        found[name] = tuple(
            INFINITIES.get(value, value) if isinstance(value, str) else value for value in values
        )
    return tuple(found.values())


def _without_pairs(space: Any, name: str) -> Any:
    kind = text(mapping(space, name, ("type",))["type"], f"{name}.type")
    if kind not in ("Dict", "Tuple"):
        return space
    parts = mapping(space, name, ("parts",))["parts"]
    if kind == "Tuple":
        items(parts, f"{name}.parts", lambda *_: None)
        return {**space, "parts": [_without_pairs(part, f"{name}.parts") for part in parts]}
    items(parts, f"{name}.parts", lambda pair, where: items(pair, where, lambda *_: None, 2))
    for key, _ in parts:
        require(isinstance(key, (str, int)), f"{name}.parts", "must have names")
    return {**space, "parts": {key: _without_pairs(part, f"{name}.parts") for key, part in parts}}
