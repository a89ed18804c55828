"""Start of a new run from a trained checkpoint: `init=CHECKPOINT`, with anything changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.normalization import EPSILON, FACTOR, OFFSET, Normalization
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.fields import damage_named
from dqn_cli.runs.checkpoint_fields import check_policy, check_state
from dqn_cli.runs.checkpoint_state import check_learner, check_replay
from dqn_cli.runs.checkpoints import checkpoint_in
from dqn_cli.runs.init_layers import Layers, Shapes, compare, fill
from dqn_cli.storage import CheckpointError, load_checkpoint, sha256
from dqn_cli.training.learner import LearnerState
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings, plain

OF_REPLAY = (
    "replay.type",
    "replay.capacity",
    "replay.n_step",
    "anneal.n_step.start",
    "env.num_envs",
    "dtype",
    "network.units",
    "network.burn_in",
    "network.length",
)  # keys that the shape of a replay depends on; the environment's spaces are compared themselves
OF_OPTIMIZER = ("optimizer.type", "dtype")


class InitCheckpoint(NamedTuple):
    """A checkpoint that a run starts from."""

    typed: str  # as the user named it
    path: Path
    sha256: str
    data: Mapping[str, Any]

    @property
    def shapes(self) -> Shapes:
        """Shapes of its parameters, in their order."""
        return dict(self.data["layout"])

    @property
    def origin(self) -> dict[str, Any]:
        """What result.json says about it."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "step": Clock(*self.data["clock"]).steps,
            "env": self.data["settings"]["env"]["id"],
        }


def load_init(settings: Settings) -> InitCheckpoint | None:
    """Load the checkpoint that a new run starts from, if it starts from one.

    Raises:
        CheckpointError: There is none, it is damaged, or it lacks what is to be kept.
    """
    if settings.init is None:
        return None
    keeps_state = settings.init_optimizer or settings.init_replay
    path = checkpoint_in(Path(settings.init), ("last",) if keeps_state else ("best", "last"))
    data = load_checkpoint(path)
    with damage_named(path):
        check_policy(data)
    if "layout" not in data:
        raise CheckpointError(
            f"init={settings.init}: {path} was written by an older dqn-train, which did not name"
            " its layers"
        )
    if keeps_state:
        if "learner" not in data:
            key = "init_optimizer" if settings.init_optimizer else "init_replay"
            raise CheckpointError(
                f"{key}=true needs a run's checkpoints/last; {path} holds its policy alone"
            )
        with damage_named(path):
            check_state(data)
    return InitCheckpoint(settings.init, path, sha256(path), data)


def load_inits(settings: Sequence[Settings]) -> list[InitCheckpoint | None]:
    """Load the checkpoints of the members of a group, each file once."""
    loaded: dict[tuple[Any, ...], InitCheckpoint | None] = {}
    for member in settings:
        key = (member.init, member.init_optimizer or member.init_replay)
        if key not in loaded:
            loaded[key] = load_init(member)
    return [loaded[member.init, member.init_optimizer or member.init_replay] for member in settings]


def start_members(
    inits: Sequence[InitCheckpoint | None], settings: Sequence[Settings], run: Run
) -> list[str]:
    """Start the members of a new run from their checkpoints; return the lines that say how."""
    members = enumerate(zip(inits, settings, strict=True))
    lines = [start_from(init, own, run, member) for member, (init, own) in members if init]
    return list(dict.fromkeys(lines))


def start_from(init: InitCheckpoint, settings: Settings, run: Run, member: int) -> str:
    """Start a member of a new run from a checkpoint, and return a line that says how.

    Raises:
        CheckpointError: No layer fits, what is to be kept does not, or the file is damaged.
    """
    layers = compare(init.shapes, run.learner.policy_layout)
    _check_any_fits(init, layers, run.learner.policy_layout)
    if settings.init_optimizer:
        _keep_learner(init, settings, layers, run, member)
    else:  # auxiliary parts, which no policy has, are new
        state, layout = run.learner.state, run.learner.layout
        own, stored = state.parameters[member], init.data["parameters"]
        parameters = fill(own, layout, stored, init.shapes, layers.taken)
        state.parameters[member].copy_(parameters)
        state.target[member].copy_(parameters)
    if OFFSET in layers.taken and settings.env.normalize is Normalization.running:
        _keep_statistics(init, run, member)
    if settings.init_replay:
        _keep_replay(init, settings, run, member)
    return _line(init, settings, layers)


def _check_any_fits(init: InitCheckpoint, layers: Layers, layout: Layout) -> None:
    # Biases and scales may have equal shapes by chance.
    if any(len(layout[name].shape) > 1 for name in layers.taken if name not in (OFFSET, FACTOR)):
        return
    differing = next(iter(layers.drawn), "")
    raise CheckpointError(
        f"init={init.typed}: no layer of its network fits the one of this run: {differing}; type"
        " the network.* keys of that run"
    )


def _keep_learner(
    init: InitCheckpoint, settings: Settings, layers: Layers, run: Run, member: int
) -> None:
    """Restore parameters, target network and moments."""
    if layers.drawn or layers.unused:
        layer = [*layers.drawn, *layers.unused][0]
        raise CheckpointError(
            f"init_optimizer=true needs all layers as they are in {init.path}, and {layer} differs:"
            " leave it out, which begins the optimizer anew"
        )
    _check_same(init, settings, OF_OPTIMIZER, "init_optimizer")
    if _shapes_of(init.data["settings"].get("auxiliary")) != _shapes_of(plain(settings.auxiliary)):
        raise CheckpointError(
            f"init_optimizer=true needs the parts of auxiliary as they are in {init.path}: leave it"
            " out, which begins the optimizer anew"
        )
    with damage_named(init.path):
        check_learner(init.data["learner"], run, member)
    run.learner.load(LearnerState(**init.data["learner"]), member)


def _keep_statistics(init: InitCheckpoint, run: Run, member: int) -> None:
    """Let a running normalization go on: the policy's offsets and factors tell its statistics."""
    assert run.normalizer is not None
    size = math.prod(init.shapes[OFFSET])
    mean, factor = init.data["parameters"][-2 * size :].double().numpy().reshape(2, size)
    clock, envs = Clock(*init.data["clock"]), init.data["settings"]["env"]["num_envs"]
    count = clock.steps + envs  # each step brings an observation, after the first ones
    squares = np.maximum(1 / factor**2 - EPSILON, 0) * count
    run.normalizer.statistics[member] = np.concatenate([[count], mean, squares])


def _keep_replay(init: InitCheckpoint, settings: Settings, run: Run, member: int) -> None:
    """Restore the replay; the environments begin new episodes in it."""
    data = init.data
    if not data["stream"]:
        raise CheckpointError(
            f"init_replay=true: {init.path} has no replay, because of checkpoint.replay=false"
        )
    spaces = Spaces.restore(data["spaces"])
    if not spaces.fits(run.envs.spaces):
        raise CheckpointError(
            f"init_replay=true needs the spaces of {init.path}, {spaces}; {settings.env.id} has"
            f" {run.envs.spaces}"
        )
    _check_same(init, settings, OF_REPLAY, "init_replay")
    with damage_named(init.path):
        check_replay(data["stream"], data["sampler"], run, member)
    run.stream.load({name: values.numpy() for name, values in data["stream"].items()}, member)
    run.sampler.load({name: values.numpy() for name, values in data["sampler"].items()}, member)
    for env in range(run.stream.envs):
        obs, mask = run.envs.obs[member, env], run.envs.mask[member, env]
        run.stream.begin_episode(member, env, obs, mask)


def _check_same(
    init: InitCheckpoint, settings: Settings, keys: tuple[str, ...], purpose: str
) -> None:
    own = plain(settings)
    for key in keys:
        before, now = _value(init.data["settings"], key), _value(own, key)
        if before != now:
            what = f"{key}={before}"
            if key.endswith(".type"):  # class names, which can't be typed
                what = f"the same {key.removesuffix('.type')}, {before}"
            raise CheckpointError(f"{purpose}=true needs {what}, as in {init.path}; it is {now}")


def _shapes_of(parts: Any) -> dict[str, dict[str, Any]]:
    """Return parts by name without decimal numbers, which no shape depends on."""
    return {
        name: {key: value for key, value in part.items() if not isinstance(value, float)}
        for name, part in (parts or {}).items()
    }


def _value(settings: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key, or None where the part has no such key."""
    value: Any = settings
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _line(init: InitCheckpoint, settings: Settings, layers: Layers) -> str:
    origin = init.origin
    kept = ["weights"]
    kept += ["optimizer"] if settings.init_optimizer else []
    kept += ["replay"] if settings.init_replay else []
    line = f"init: {' and '.join(kept)} of {init.path} ({origin['env']}, step {origin['step']:,})"
    if layers.drawn:
        line = f"{line}; drawn anew: {', '.join(layers.drawn)}"
    if layers.unused:
        line = f"{line}; not used: {', '.join(layers.unused)}"
    return line
