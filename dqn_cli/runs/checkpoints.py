"""What a checkpoint holds: everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dqn_cli.agent.clock import Clock
from dqn_cli.arrays import tensor
from dqn_cli.envs.episode_seeds import EnvSnapshot
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import CheckpointError, load_checkpoint, save_checkpoint, temporary_name
from dqn_cli.training.loop import Run
from dqn_cli.training.population import LearnerState
from dqn_cli.training.settings import Settings, plain

FOLDER = "checkpoints"
POLICY = ("settings", "spaces", "clock", "parameters", "versions")  # what `best` holds


def policy_data(settings: Settings, run: Run, member: int) -> dict[str, Any]:
    """What evaluation needs, and all that checkpoints/best holds."""
    return {
        "settings": plain(settings),
        "spaces": tuple(run.envs.spaces),
        "clock": tuple(run.clocks[member]),
        "parameters": run.learner.state.parameters[member].clone(),  # not its neighbours' too
        "versions": versions(),
    }


def run_data(
    settings: Settings, run: Run, member: int, tracker: MetricsTracker, compiled: bool
) -> dict[str, Any]:
    """The policy, and everything else of a member that changes as a run goes on."""
    replay = settings.checkpoint.replay
    stream = run.stream.contents(member) if replay else {}
    sampler = run.sampler.contents(member) if replay else {}
    learner = run.learner.state._asdict()
    return policy_data(settings, run, member) | {
        "learner": {name: values[member].clone() for name, values in learner.items()},
        "stream": {name: tensor(values).cpu() for name, values in stream.items()},
        "sampler": {name: tensor(values) for name, values in sampler.items()},
        "action": torch.from_numpy(run.action[member]),
        "state": torch.from_numpy(run.state[member]),
        "random": {name: own.state(member) for name, own in run.random._asdict().items()},
        "places": [tuple(place) for place in run.envs.places[run.stream.rings_of(member)]],
        "learning_began": tuple(run.learning_began[member]),
        "tracker": tracker.state(),
        "compiled": compiled,
        "threads": torch.get_num_threads(),
    }


def load_last(folder: Path) -> dict[str, Any]:
    """The checkpoint that the run in this folder goes on from; CheckpointError if it has none."""
    last = folder / FOLDER / "last"
    if not last.is_file():
        reason = "holds no checkpoints/last yet" if folder.is_dir() else "does not exist"
        if folder.is_file():
            reason = "is a file; name the run's folder"
        raise CheckpointError(f"can't resume: {folder} {reason}")
    return load_checkpoint(last)


def snapshots_in(data: Mapping[str, Any]) -> list[EnvSnapshot]:
    """Where a checkpoint left each environment."""
    return [EnvSnapshot(episode, tuple(actions)) for episode, actions in data["places"]]


def restore(data: Mapping[str, Any], run: Run, member: int, tracker: MetricsTracker) -> None:
    """Puts a member of a fresh run of the same settings where `run_data` left it."""
    run.learner.load(LearnerState(**data["learner"]), member)
    if data["stream"]:
        stream = {name: values.numpy() for name, values in data["stream"].items()}
        sampler = {name: values.numpy() for name, values in data["sampler"].items()}
        run.stream.load(stream, member)
        run.sampler.load(sampler, member)
    run.action[member] = data["action"].numpy()
    run.state[member] = data["state"].numpy()
    for name, own in run.random._asdict().items():
        own.load(data["random"][name], member)
    run.clocks[member] = Clock(*data["clock"])
    run.learning_began[member] = Clock(*data["learning_began"])
    tracker.load(data["tracker"], run.clocks[member])


class CheckpointFolder:
    """The checkpoints of one run: `last`, `best`, and as many older ones as are to be kept."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder / FOLDER, keep
        self._folder.mkdir(exist_ok=True)
        # What a killed process had half written, gigabytes of frames perhaps.
        for name in ("best", "last", "step_*"):
            for torn in self._folder.glob(temporary_name(name, "*")):
                torn.unlink(missing_ok=True)

    def save_best(self, data: Mapping[str, Any]) -> None:
        """Replaces `best` by what a member knows now, its `policy_data`."""
        _check_finite(data)
        save_checkpoint(self._folder / "best", data)

    def save_last(self, data: Mapping[str, Any]) -> None:
        """Replaces `last` by a member's `run_data`, and keeps its policy among the older ones."""
        _check_finite(data)
        save_checkpoint(self._folder / "last", data)
        if self._keep:
            name = f"step_{Clock(*data['clock']).steps:010}"
            save_checkpoint(self._folder / name, {key: data[key] for key in POLICY})
            for old in sorted(self._folder.glob("step_*"))[: -self._keep]:
                old.unlink()


def expected_bytes(settings: Settings, run: Run) -> int:
    """Disk space that all checkpoints of a member will take when its replay buffer is full."""
    policy = run.learner.state.parameters[0].nbytes
    learner = sum(part[0].nbytes for part in run.learner.state)
    replay = (run.stream.nbytes + run.sampler.nbytes) // run.stream.members
    replay = replay if settings.checkpoint.replay else 0
    return policy * (2 + settings.checkpoint.keep) + learner + replay


def _check_finite(data: Mapping[str, Any]) -> None:
    if not bool(torch.isfinite(data["parameters"]).all()):
        raise CheckpointError("parameters are not finite numbers, so no checkpoint is written")
