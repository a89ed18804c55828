"""Checks of stored rings before a stream takes them over."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.fields import LARGEST
from dqn_cli.replay.stream import Stream

Problem = tuple[str, str]  # the field, and what is wrong with it


def find_problem(stream: Stream, contents: Mapping[str, Array]) -> Problem | None:
    """Return why a stream can't load a member's contents, or None if it can.

    A sample would be incomplete, overwritten or no transition. Types and shapes are those of the
    stream, see `Stream.contents`.
    """
    head, first, count = (contents[name] for name in ("head", "first", "count"))
    if not 0 <= contents["appends"] <= LARGEST:
        return "stream.appends", "is out of range"
    for name, values in (("head", head), ("first", first)):
        if values.min() < 0 or values.max() > LARGEST:
            return f"stream.{name}", "is out of range"
    if count.min() < 0 or count.max() > stream.capacity:
        return "stream.count", f"must be from 0 to {stream.capacity}"
    action = contents["action"]
    if action.min(initial=0) < 0 or action.max(initial=0) >= stream.actions:
        return "stream.action", f"must be from 0 to {stream.actions - 1}"
    for ring in range(len(head)):
        order = (first[ring] + np.arange(count[ring])) % stream.capacity
        slots = contents["queue"][ring, order]
        oldest, newest = head[ring] - stream.slots, head[ring] - stream.window
        is_complete = (slots >= 0) & (slots - stream.before > oldest) & (slots <= newest)
        if not is_complete.all() or (np.diff(slots) <= 0).any():
            return "stream.queue", "has slots that are not in the ring"
        if not contents["begins"][ring, slots % stream.slots].all():
            return "stream.queue", "has slots that begin no transition"
    return None
