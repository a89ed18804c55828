"""Transitions of a run's own replay, as its checkpoint has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dqn_cli.arrays import Array
from dqn_cli.data.columns import Column, Columns, DataError
from dqn_cli.fields import damage_named, mapping, require
from dqn_cli.storage import load_checkpoint

NAMES = ("obs", "numbers", "mask", "action", "reward", "terminated", "truncated", "begins")


def read_replay(path: Path) -> Columns:
    """Return the columns of the replay in a checkpoint, one environment after the other.

    An episode that was running, or whose begin was overwritten, is one that was truncated.

    Raises:
        DataError: It has no replay, or no transition.
        CheckpointError: It is damaged.
    """
    data = load_checkpoint(path)
    with damage_named(path):
        stream = mapping(data.get("stream", {}), "stream")
        if not stream:
            raise DataError(
                f"{path} has no replay: data=RUN needs a run with checkpoint.replay=true"
            )
        arrays = _checked(stream)
        frames = data["spaces"][2] if "spaces" in data else 0
        heads = arrays.pop("head")
    rings = [
        _rows({name: values[ring] for name, values in arrays.items()}, int(head), frames > 1)
        for ring, head in enumerate(heads)
    ]
    columns = {name: np.concatenate([rows[name] for rows in rings]) for name in rings[0]}
    if not len(columns["action"]):
        raise DataError(f"{path} has no transition in its replay")
    return _as_columns(str(path), columns)


def _checked(stream: Mapping[str, Any]) -> dict[str, Array]:
    """Return the arrays [rings, slots, ...] of a stream, and the number of its newest slots."""
    mapping(stream, "stream", (*NAMES, "head"))
    tensors = {name: stream[name] for name in (*NAMES, "head")}
    for name, values in tensors.items():
        require(isinstance(values, torch.Tensor), f"stream.{name}", "must be a tensor")
    head, (rings, slots) = tensors["head"], tensors["begins"].shape[:2]
    require(head.shape == (rings,) and slots > 0, "stream.head", "does not fit stream.begins")
    require(bool((head >= 0).all()), "stream.head", "must not be negative")
    for name in NAMES:
        fits = tensors[name].shape[:2] == (rings, slots)
        require(fits, f"stream.{name}", "does not fit stream.begins")
    return {name: values.numpy() for name, values in tensors.items()}


def _rows(ring: Mapping[str, Array], head: int, stacked: bool) -> dict[str, Array]:
    """Return the transitions of one ring in the order in which they happened."""
    slots = len(ring["begins"])
    order = np.arange(max(head + 1 - slots, 0), head + 1) % slots
    own = {name: values[order] for name, values in ring.items()}
    begins = own["begins"].astype(bool)
    begins[-1] = False  # the newest observation, on which nothing was done yet
    if stacked and head >= slots and not begins.all():
        # The first frames of the oldest episode are gone, and so are stacks with them.
        begins[: int(np.argmin(begins)) + 1] = False
    at = np.flatnonzero(begins)
    is_last = ~begins[at + 1]
    terminated = own["terminated"][at].astype(bool)
    obs = own["obs"]
    if own["numbers"].shape[1]:
        obs = np.concatenate([obs.astype(own["numbers"].dtype), own["numbers"]], 1)
    return {
        "obs": obs[at],
        "next_obs": obs[at + 1],
        "action": own["action"][at],
        "reward": own["reward"][at],
        "terminated": terminated & is_last,
        "truncated": ~terminated & is_last,
        "lost": terminated & ~is_last,
        "mask": own["mask"][at],
        "next_mask": own["mask"][at + 1],
    }


def _as_columns(file: str, values: Mapping[str, Array]) -> Columns:
    def column(name: str) -> Column:
        return Column(name, values[name])

    has_masks = values["mask"].shape[1] > 0
    return Columns(
        file,
        {"": column("obs")},
        column("action"),
        column("reward"),
        column("terminated"),
        column("truncated"),
        {"": column("next_obs")},
        column("lost"),
        column("mask") if has_masks else None,
        column("next_mask") if has_masks else None,
        joint_actions=True,
    )
