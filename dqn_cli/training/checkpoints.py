"""What a checkpoint holds: everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dqn_cli.agent.clock import Clock
from dqn_cli.envs.seeding import Place
from dqn_cli.storage import CheckpointError, save_checkpoint
from dqn_cli.training.loop import Run
from dqn_cli.training.population import LearnerState
from dqn_cli.training.provenance import versions
from dqn_cli.training.settings import Settings, plain
from dqn_cli.training.tracking import Tracker

FOLDER = "checkpoints"
STREAMS = ("exploration", "replay", "noise", "resets")  # of random numbers, that training moves on


def policy_data(settings: Settings, run: Run) -> dict[str, Any]:
    """What evaluation needs, and all that checkpoints/best holds."""
    return {
        "settings": plain(settings),
        "spaces": tuple(run.envs.spaces),
        "clock": tuple(run.clock),
        "parameters": run.learner.state.parameters[0],
        "versions": versions(),
    }


def run_data(settings: Settings, run: Run, tracker: Tracker, compiled: bool) -> dict[str, Any]:
    """The policy, and everything else that changes as a run goes on."""
    replay = settings.checkpoint.replay
    stream = run.stream.contents() if replay else {}
    sampler = run.sampler.contents() if replay else {}
    return policy_data(settings, run) | {
        "learner": run.learner.state._asdict(),
        "stream": {name: torch.from_numpy(array) for name, array in stream.items()},
        "sampler": {name: torch.from_numpy(array) for name, array in sampler.items()},
        "state": torch.from_numpy(run.state),
        "random": {name: getattr(run, name).state() for name in STREAMS},
        "places": [tuple(place) for place in run.envs.places],
        "learning_began": tuple(run.learning_began),
        "tracker": tracker.state(),
        "compiled": compiled,
    }


def places_in(data: Mapping[str, Any]) -> list[Place]:
    """Where a checkpoint left each environment."""
    return [Place(episode, tuple(actions)) for episode, actions in data["places"]]


def restore(data: Mapping[str, Any], run: Run, tracker: Tracker) -> None:
    """Puts a fresh run of the same settings where `run_data` left it."""
    device = run.learner.state.parameters.device
    learner = {name: tensor.to(device) for name, tensor in data["learner"].items()}
    run.learner.load(LearnerState(**learner))
    if data["stream"]:
        run.stream.load({name: tensor.numpy() for name, tensor in data["stream"].items()})
        run.sampler.load({name: tensor.numpy() for name, tensor in data["sampler"].items()})
    run.state = data["state"].numpy()
    for name in STREAMS:
        getattr(run, name).load(data["random"][name])
    run.clock = Clock(*data["clock"])
    run.learning_began = Clock(*data["learning_began"])
    tracker.load(data["tracker"], run.clock)


class CheckpointFolder:
    """The checkpoints of one run: `last`, `best`, and as many older ones as are to be kept."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder / FOLDER, keep
        self._folder.mkdir(exist_ok=True)

    def save_best(self, settings: Settings, run: Run) -> None:
        """Replaces `best` by what the run knows now."""
        _check_finite(run)
        save_checkpoint(self._folder / "best", policy_data(settings, run))

    def save_last(self, settings: Settings, run: Run, tracker: Tracker, compiled: bool) -> None:
        """Replaces `last`, and keeps this one among the older ones."""
        _check_finite(run)
        save_checkpoint(self._folder / "last", run_data(settings, run, tracker, compiled))
        if self._keep:
            name = f"step_{run.clock.steps:010}"
            save_checkpoint(self._folder / name, policy_data(settings, run))
            for old in sorted(self._folder.glob("step_*"))[: -self._keep]:
                old.unlink()


def expected_bytes(settings: Settings, run: Run) -> int:
    """Disk space that all checkpoints of the run will take when the replay buffer is full."""
    policy = run.learner.state.parameters.nbytes
    learner = sum(tensor.nbytes for tensor in run.learner.state)
    replay = run.stream.nbytes + run.sampler.nbytes if settings.checkpoint.replay else 0
    return policy * (2 + settings.checkpoint.keep) + learner + replay


def _check_finite(run: Run) -> None:
    if not bool(torch.isfinite(run.learner.state.parameters).all()):
        raise CheckpointError("parameters are not finite numbers, so no checkpoint is written")
