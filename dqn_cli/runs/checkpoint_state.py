"""Checks of a checkpoint against the run that it is loaded into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dqn_cli.arrays import tensor
from dqn_cli.fields import LARGEST, finite, items, mapping, natural, require, tensor_of, within
from dqn_cli.replay.stored_rings import find_problem
from dqn_cli.training.loop import Run
from dqn_cli.training.randomness import KINDS, RandomStreams
from dqn_cli.training.settings import Settings

GENERATOR = ("bit_generator", "state", "has_uint32", "uinteger")


def check_count(data: Mapping[str, Any], settings: Settings) -> None:
    """Check that there is a snapshot for each environment, before they are made."""
    snapshots, envs = len(data["snapshots"]), settings.env.num_envs
    require(snapshots == envs, "snapshots", f"has {snapshots} items, not {envs}")


def check_fits(data: Mapping[str, Any], run: Run, member: int) -> None:
    """Check that everything fits a run of the same settings.

    Raises:
        FieldError: A field has another type or shape, or values that can't be.
    """
    check_learner(data["learner"], run, member)
    check_replay(data["stream"], data["sampler"], run, member)
    if run.normalizer:
        statistics = run.normalizer.statistics[member]
        own = tensor_of(data["normalizer"], "normalizer", torch.float64, statistics.shape)
        count, _, squares = finite(own, "normalizer").tensor_split([1, 1 + len(own) // 2])
        require(bool(count >= 0), "normalizer", "has a negative count")
        require(bool((squares >= 0).all()), "normalizer", "has a negative variance")
    if run.reward_normalizer:
        _check_reward_normalizer(data, run.reward_normalizer.statistics[member].shape)
    if run.active_heads:
        heads = _alike(data.get("active_heads"), "active_heads", run.active_heads.heads[member])
        within(heads, "active_heads", 0, run.active_heads.count - 1)
    actions = run.envs.spaces.actions
    within(_alike(data["action"], "action", run.action[member]), "action", 0, actions - 1)
    finite(_alike(data["state"], "state", run.state[member]), "state")
    finite(_alike(data["obs"], "obs", run.envs.obs[member]), "obs")


def _check_reward_normalizer(data: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    name = "reward_normalizer"
    count, _, squares, *_ = finite(tensor_of(data.get(name), name, torch.float64, shape), name)
    require(bool(count >= 0), name, "has a negative count")
    require(bool(squares >= 0), name, "has a negative variance")


def check_random(data: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """Check the random streams of a member.

    The `first` checkpoint of members that resume together is checked; all drew as many numbers.
    """
    for name in RandomStreams._fields:
        streams = mapping(data["random"].get(name), f"random.{name}", ("own", *KINDS))
        _check_generator(streams["own"], f"random.{name}.own")
        for kind in KINDS:
            where = f"random.{name}.{kind}"
            _check_block(streams[kind], where, kind)
            has, count = (len(x["random"][name][kind]["rest"]) for x in (data, first))
            require(has == count, where, f"has {has} numbers, not {count}")


def _alike(value: Any, name: str, template: Any) -> Tensor:
    """Return a tensor that has the type and shape of an array or tensor of the run."""
    right = tensor(template)
    return tensor_of(value, name, right.dtype, right.shape)


def _check_names(fields: Mapping[str, Any], name: str, templates: Mapping[str, Any]) -> None:
    """Check that fields have the names of the run's own, and no others."""
    mapping(fields, name, list(templates))
    require(len(fields) == len(templates), name, "has unknown fields")


def check_learner(learner: Mapping[str, Any], run: Run, member: int) -> None:
    """Check parameters and moments of a member."""
    state = run.learner.state._asdict()
    _check_names(learner, "learner", state)
    for name, values in state.items():
        own = _alike(learner[name], f"learner.{name}", values[member])
        if name == "moments":  # squares of gradients may overflow
            require(not bool(own.isnan().any()), "learner.moments", "has values that are NaN")
        else:
            finite(own, f"learner.{name}")


def check_replay(
    stream: Mapping[str, Any], sampler: Mapping[str, Any], run: Run, member: int
) -> None:
    """Check the replay of a member."""
    rings, templates = run.stream.contents(member), run.sampler.contents(member)
    if not stream:
        require(not sampler, "sampler", "has contents, and stream has none")
        return
    _check_names(stream, "stream", rings)
    head = within(_alike(stream["head"], "stream.head", rings["head"]), "stream.head", 0, LARGEST)
    used = min(int(head.max()) + 1, run.stream.slots)
    for name, template in rings.items():
        right = tensor(template)
        has_slots = right.dim() > 1 and name != "queue"
        shape = [None if has_slots and axis == 1 else size for axis, size in enumerate(right.shape)]
        own = tensor_of(stream[name], f"stream.{name}", right.dtype, shape)
        if has_slots:
            require(own.shape[1] == used, f"stream.{name}", f"has not {used} slots")
        if own.is_floating_point():
            finite(own, f"stream.{name}")
    _check_names(sampler, "sampler", templates)
    for name, template in templates.items():
        finite(_alike(sampler[name], f"sampler.{name}", template), f"sampler.{name}")
    contents = {name: values.numpy() for name, values in stream.items()}
    if problem := find_problem(run.stream, contents):
        require(False, *problem)
    known = {name: values.numpy() for name, values in sampler.items()}
    if problem := run.sampler.find_problem(known, contents):
        require(False, *problem)


def _check_generator(state: Any, name: str) -> None:
    """Check the state of a PCG64 generator."""
    mapping(state, name, GENERATOR)
    require(state["bit_generator"] == "PCG64", f"{name}.bit_generator", "must be PCG64")
    numbers = mapping(state["state"], f"{name}.state", ("state", "inc"))
    for key in ("state", "inc"):
        natural(numbers[key], f"{name}.state.{key}", 0, 2**128 - 1)
    require(numbers["inc"] % 2 == 1, f"{name}.state.inc", "must be odd")
    natural(state["has_uint32"], f"{name}.has_uint32", 0, 1)
    natural(state["uinteger"], f"{name}.uinteger", 0, 2**32 - 1)


def _check_block(state: Any, name: str, kind: str) -> None:
    """Check a generator and the numbers that were drawn but not used."""
    mapping(state, name, ("generator", "rest"))
    _check_generator(state["generator"], f"{name}.generator")
    rest = items(state["rest"], f"{name}.rest", lambda *_: None)
    require(all(type(x) is float for x in rest), f"{name}.rest", "must be numbers")
    drawn = finite(torch.tensor(rest, dtype=torch.float64), f"{name}.rest")
    if kind == "random":
        require(bool(((drawn >= 0) & (drawn < 1)).all()), f"{name}.rest", "must be in [0, 1)")
