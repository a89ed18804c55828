"""Spaces of environments that observe a single array."""

from __future__ import annotations

from collections.abc import Sequence

from dqn_cli.agent.spaces import ONE_HOT, PICTURE, VECTOR, Part, Spaces


def array_spaces(
    shape: tuple[int, ...],
    low: Sequence[float],
    high: Sequence[float],
    actions: int,
    one_hot: bool = False,
    frames: int = 0,
) -> Spaces:
    """Returns spaces; with frames, `shape` and the bounds include their axis."""
    frame = shape[1:] if frames else shape
    kind = ONE_HOT if one_hot else PICTURE if len(shape) == 3 or len(frame) == 3 else VECTOR
    count = len(low) if len(low) == 1 else len(low) // max(frames, 1)
    bounds = tuple(map(float, low[:count])), tuple(map(float, high[:count]))
    return Spaces((Part("", kind, frame, *bounds, False),), actions, frames)
