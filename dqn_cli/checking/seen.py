"""Data of an inspection: declarations, measurements and answers."""

from __future__ import annotations

from typing import NamedTuple

from dqn_cli.agent.spaces import Part, Spaces


class PartDescription(NamedTuple):
    """One part of observations, as it is declared and stored."""

    part: Part
    dtype: str  # the environment's own
    colors_moved: bool  # the axis of colors was first and is last now


class ActionDescription(NamedTuple):
    """The actions, as they are declared and counted."""

    space: str
    total: int
    first: str  # the environment's own action for index 0
    last: str
    names: tuple[str, ...] = ()  # of the actions, where the environment has them


class Description(NamedTuple):
    """Declarations of an environment, with an error where one can't be used."""

    parts: tuple[PartDescription, ...]
    unread: tuple[str, ...]  # names of parts that no network reads, and that are left out
    observation_error: str
    actions: ActionDescription | None
    action_error: str
    mask_place: str  # where a mask is read, if there is one
    step_limit: int | None  # of an episode
    info_scalars: tuple[str, ...] = ()  # names in `info`
    mask_like: str = ""  # name in `info` of what looks like a mask
    mask_like_part: str = ""  # name of such a part of observations


class Record(NamedTuple):
    """The first steps after a seed: actions [steps, envs], and a digest of each result."""

    seed_number: int
    actions: tuple[tuple[int, ...], ...]
    digests: tuple[bytes, ...]  # that of the first observations comes first


class Trial(NamedTuple):
    """Result of random legal actions."""

    steps: int
    spaces: Spaces | None
    ranges: tuple[tuple[float, float], ...]  # of each part
    changing: tuple[bool, ...]  # whether any element of a part changed
    rewards: tuple[float, float, float]  # least, most and mean
    lengths: tuple[int, ...]  # of episodes that ended
    terminated: int
    truncated: int
    masked: bool
    legal: float  # actions that a mask allowed, on average
    seconds: float  # in steps
    longest: float  # step, seconds
    transition_bytes: float
    records: tuple[Record, ...]
    failure: str = ""


class Answer(NamedTuple):
    """Answer to a question; None if it is not known, and then the reason says why."""

    is_yes: bool | None
    reason: str = ""


class Inspection(NamedTuple):
    """All that an inspection has found."""

    description: Description | None
    trial: Trial | None
    failure: str  # why there is no description or trial
    gymnasium: tuple[str, ...]  # messages of Gymnasium's own checker
    repeats: Answer  # a seed repeats an episode
    copies: Answer  # two copies can live at once
    independent: Answer  # one copy does not change the other
    in_process: Answer  # it runs in a process of its own


UNKNOWN = Answer(None, "not tried")
