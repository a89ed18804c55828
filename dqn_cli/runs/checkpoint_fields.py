"""Checks of a checkpoint's fields before a run is built from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dqn_cli.agent.metrics import Metrics
from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Spaces
from dqn_cli.fields import (
    LARGEST,
    FieldError,
    finite,
    flag,
    items,
    mapping,
    natural,
    not_nan,
    number,
    plain_data,
    require,
    tensor_of,
    text,
)
from dqn_cli.runs.early_stopping import EvaluationHistory
from dqn_cli.runs.scores import EVALUATION, RECENT, TRAINING
from dqn_cli.runs.stopwatch import ACTIVITIES
from dqn_cli.training.devices import MOST_THREADS

POLICY_KEYS = ("settings", "spaces", "clock", "parameters", "versions")
LARGEST_OBSERVATION, MOST_ACTIONS = 2**25, 2**24
LARGEST_START = 2**63
DTYPES = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)")


def check_policy(data: Mapping[str, Any]) -> None:
    """Check all that evaluation reads.

    Raises:
        FieldError: A field is missing or can't be used.
    """
    mapping(data, "", POLICY_KEYS)
    _check_settings(data)
    plain_data(data["versions"], "versions")
    check_spaces_fields(data["spaces"])
    parameters = data["parameters"]
    require(isinstance(parameters, Tensor), "parameters", "must be a tensor")
    require(parameters.is_floating_point(), "parameters", f"have type {parameters.dtype}")
    finite(tensor_of(parameters, "parameters", parameters.dtype, [None]), "parameters")
    if "layout" in data:
        _check_layout(data["layout"], len(parameters))


def _check_layout(layout: Any, size: int) -> None:
    """Check the names and shapes of parameters."""

    def check(entry: Any, name: str) -> None:
        require(isinstance(entry, tuple) and len(entry) == 2, name, "must have 2 items")
        text(entry[0], f"{name}.name")
        items(entry[1], f"{name}.shape", natural)

    items(layout, "layout", check)
    require(len({name for name, _ in layout}) == len(layout), "layout", "names a parameter twice")
    total = sum(math.prod(shape) for _, shape in layout)
    require(total == size, "layout", f"has {total} numbers, not {size}")


def check_manifest(data: Mapping[str, Any]) -> None:
    """Check all that is read before a run is built, of a manifest or a whole checkpoint."""
    mapping(data, "", ("settings", "together", "clock", "stream", "threads"))
    _check_settings(data)
    _check_group(data)


def _check_settings(data: Mapping[str, Any]) -> None:
    """Check the settings of a run and where it is."""
    mapping(data["settings"], "settings", ("type",))
    plain_data(data["settings"], "settings")
    _check_clock(data["clock"], "clock")


def _check_group(data: Mapping[str, Any]) -> None:
    """Check what the members of a group share."""
    mapping(data, "", ("together", "stream", "threads"))
    items(data["together"], "together", text)
    natural(data["threads"], "threads", 1, MOST_THREADS)
    mapping(data["stream"], "stream")


def check_state(data: Mapping[str, Any]) -> None:
    """Check a whole checkpoint, as far as it can be without the run.

    Raises:
        FieldError: A field is missing or can't be used.
    """
    check_policy(data)
    _check_group(data)
    keys = ("learner", "sampler", "normalizer", "action", "state", "random", "snapshots", "obs")
    mapping(data, "", (*keys, "exact", "learning_began", "tracker", "compiled"))
    for key in ("learner", "sampler", "random"):
        mapping(data[key], key)
    flag(data["exact"], "exact")
    flag(data["compiled"], "compiled")
    _check_clock(data["learning_began"], "learning_began")
    _check_snapshots(data["snapshots"], data["obs"], data["spaces"][1])
    check_tracker(data["tracker"], len(data["snapshots"]))
    if data.get("init") is not None:
        _check_origin(data["init"])


def _check_origin(origin: Any) -> None:
    """Check the description of the checkpoint that a run started from."""
    mapping(origin, "init", ("path", "sha256", "step", "env"))
    for key in ("path", "sha256", "env"):
        text(origin[key], f"init.{key}")
    natural(origin["step"], "init.step")


def check_tracker(tracker: Any, envs: int) -> None:
    """Check the metrics of a member with so many environments."""
    keys = ("best", "final", "evaluated", "evaluations", "info", "seconds", "return", "length")
    mapping(tracker, "tracker", (*keys, "returns", "lengths", "new_returns", "sums", "updates"))
    for key in ("best", "final"):
        if tracker[key] is not None:
            _check_summary(tracker[key], f"tracker.{key}")
    natural(tracker["evaluated"], "tracker.evaluated", -1)
    history, names = tracker["evaluations"], EvaluationHistory.__dataclass_fields__
    mapping(history, "tracker.evaluations", list(names))
    require(len(history) == len(names), "tracker.evaluations", "has unknown fields")
    not_nan(history["best"], "tracker.evaluations.best")
    natural(history["since_best"], "tracker.evaluations.since_best")
    seconds = mapping(tracker["seconds"], "tracker.seconds", ACTIVITIES)
    for activity in ACTIVITIES:
        number(seconds[activity], f"tracker.seconds.{activity}", 0)
    items(tracker["return"], "tracker.return", not_nan, envs)
    items(tracker["length"], "tracker.length", natural, envs)
    items(tracker["returns"], "tracker.returns", not_nan)
    items(tracker["lengths"], "tracker.lengths", natural, len(tracker["returns"]))
    require(len(tracker["returns"]) <= RECENT, "tracker.returns", "has too many items")
    flag(tracker["new_returns"], "tracker.new_returns")
    items(tracker["sums"], "tracker.sums", _any_number, len(Metrics._fields))
    natural(tracker["updates"], "tracker.updates")
    for name, info in mapping(tracker["info"], "tracker.info").items():
        where = f"tracker.info.{name}"
        mapping(info, where, ("sum", "count", "at_end", "absent"))
        not_nan(info["sum"], f"{where}.sum")
        natural(info["count"], f"{where}.count")
        items(info["at_end"], f"{where}.at_end", not_nan)
        flag(info["absent"], f"{where}.absent")


def _check_summary(summary: Any, name: str) -> None:
    mapping(summary, name, ("step", "episodes", "mean", "mean_ci95"))
    natural(summary["step"], f"{name}.step")
    natural(summary["episodes"], f"{name}.episodes", 1)
    number(summary["mean"], f"{name}.mean")
    items(summary["mean_ci95"], f"{name}.mean_ci95", number, 2)
    kind = summary.get("by", EVALUATION)
    require(kind in (EVALUATION, TRAINING), f"{name}.by", "must be evaluation or training")
    plain_data(summary, name)


def _check_clock(clock: Any, name: str) -> None:
    items(clock, name, natural, 3)


def check_spaces_fields(spaces: Any) -> None:
    """Check the spaces of an agent, as `Spaces.plain` returns them."""
    require(isinstance(spaces, tuple) and len(spaces) == 5, "spaces", "must have 5 items")
    parts, actions, frames, *_ = spaces
    items(parts, "spaces.parts", _check_part)
    require(len(parts) > 0, "spaces.parts", "are missing")
    natural(actions, "spaces.actions", 1, MOST_ACTIONS)
    natural(frames, "spaces.frames")
    check_own_space(spaces[3], "spaces.own_observations")
    check_own_space(spaces[4], "spaces.own_actions")
    size = Spaces.restore(spaces).observation_size
    require(size <= LARGEST_OBSERVATION, "spaces", f"have observations of {size} numbers")


def check_own_space(space: Any, name: str) -> None:
    """Check the description of a space, as `describe_space` makes it."""
    kind = text(mapping(space, name, ("type",))["type"], f"{name}.type")
    keys = {"Dict": ["parts"], "Tuple": ["parts"], "Discrete": ["n", "start"]}
    keys |= {"MultiDiscrete": ["nvec", "start", "dtype"], "MultiBinary": ["shape"]}
    mapping(space, name, (keys | {"Box": ["shape", "dtype"]}).get(kind, ()))
    if kind == "Dict":
        require(isinstance(space["parts"], dict), f"{name}.parts", "must have named fields")
        for key, part in space["parts"].items():
            is_name = type(key) is int or isinstance(key, str)
            require(is_name, f"{name}.parts", "must have names that are text or whole numbers")
            check_own_space(part, f"{name}.parts.{key}")
    elif kind == "Tuple":
        items(space["parts"], f"{name}.parts", check_own_space)
    elif kind == "Discrete":
        natural(space["n"], f"{name}.n", 1)
        natural(space["start"], f"{name}.start", -LARGEST_START, LARGEST_START)
    elif kind == "MultiDiscrete":
        _check_counts(space["nvec"], f"{name}.nvec", 1, LARGEST)
        _check_counts(space["start"], f"{name}.start", -LARGEST_START, LARGEST_START)
    elif kind in ("MultiBinary", "Box"):
        items(space["shape"], f"{name}.shape", natural)
        size = math.prod(space["shape"])
        require(size <= LARGEST_OBSERVATION, f"{name}.shape", f"has {size} elements")
    if "dtype" in space:
        is_known = DTYPES.fullmatch(text(space["dtype"], f"{name}.dtype")) is not None
        require(is_known, f"{name}.dtype", "is unknown")


def _check_counts(counts: Any, name: str, low: int, high: int) -> None:
    """Check whole numbers in lists inside each other."""
    if isinstance(counts, (list, tuple)):
        items(counts, name, lambda item, where: _check_counts(item, where, low, high))
    else:
        natural(counts, name, low, high)


def _check_part(part: Any, name: str) -> None:
    require(isinstance(part, tuple) and len(part) == 6, name, "must have 6 items")
    label, kind, shape, low, high, is_bytes = part
    text(label, f"{name}.name")
    require(kind in (PICTURE, VECTOR, ONE_HOT, BINARY), f"{name}.kind", "is unknown")
    items(shape, f"{name}.shape", natural)
    for bounds, which in ((low, "low"), (high, "high")):
        items(bounds, f"{name}.{which}", not_nan)
        require(len(bounds) in (1, math.prod(shape)), f"{name}.{which}", "has another length")
    flag(is_bytes, f"{name}.is_bytes")


def _check_snapshots(snapshots: Any, obs: Any, actions: int) -> None:
    def check(snapshot: Any, name: str) -> None:
        require(isinstance(snapshot, tuple) and len(snapshot) == 2, name, "must have 2 items")
        natural(snapshot[0], f"{name}.seed_number")
        taken = items(snapshot[1], f"{name}.actions", lambda *_: None)
        are_actions = all(type(action) is int and 0 <= action < actions for action in taken)
        require(are_actions, f"{name}.actions", f"must be numbers from 0 to {actions - 1}")

    items(snapshots, "snapshots", check)
    require(isinstance(obs, Tensor), "obs", "must be a tensor")
    fits = obs.dim() > 0 and len(obs) == len(snapshots)
    require(fits, "obs", f"has shape {list(obs.shape)} of {len(snapshots)} environments")


def _any_number(value: Any, name: str) -> float:
    """Return a number that may be NaN, as the sums of a run that diverges."""
    if type(value) not in (int, float):
        raise FieldError(f"{name} must be a number")
    return float(value)
