"""Checkpoints: the policy, and the whole state of a member, to resume bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array, tensor
from dqn_cli.envs.episode_seeds import EnvSnapshot
from dqn_cli.fields import damage_named
from dqn_cli.runs.checkpoint_fields import POLICY_KEYS, check_state
from dqn_cli.runs.checkpoint_state import check_count, check_fits, check_random
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import CheckpointError, load_checkpoint, save_checkpoint, temporary_name
from dqn_cli.training.learner import LearnerState
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings, plain

CHECKPOINTS_DIR = "checkpoints"


def checkpoint_in(path: Path, names: Sequence[str] = ("best", "last")) -> Path:
    """Return the checkpoint at a path, or the first of these names in a run folder.

    Raises:
        CheckpointError: There is none.
    """
    if path.is_file():
        return path
    for folder in (path / CHECKPOINTS_DIR, path):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    if path.is_dir():
        known = " or ".join(f"{CHECKPOINTS_DIR}/{name}" for name in names)
        raise CheckpointError(f"{path} holds no checkpoint yet ({known})")
    raise CheckpointError(f"no checkpoint or run at {path}")


def policy_data(settings: Settings, run: Run, member: int) -> dict[str, Any]:
    """Return the data of checkpoints/best, which is all that evaluation needs."""
    return {
        "settings": _of_policy(plain(settings)),
        "spaces": run.envs.spaces.plain(),
        "clock": tuple(run.clocks[member]),
        # Saving a view would save the storage of all members.
        "parameters": run.learner.policy_parameters(member),
        "layout": [(name, tuple(entry.shape)) for name, entry in run.learner.policy_layout.items()],
        "versions": versions(),
    }


def run_data(
    settings: Settings, run: Run, member: int, tracker: MetricsTracker, compiled: bool
) -> dict[str, Any]:
    """Return the data of checkpoints/last: the policy and all other state of a member."""
    replay = settings.checkpoint.replay
    stream = run.stream.contents(member) if replay else {}
    sampler = run.sampler.contents(member) if replay else {}
    learner = run.learner.state._asdict()
    return policy_data(settings, run, member) | {
        "settings": plain(settings),
        "learner": {name: values[member].clone() for name, values in learner.items()},
        "stream": {name: tensor(values).cpu() for name, values in stream.items()},
        "sampler": {name: tensor(values) for name, values in sampler.items()},
        "normalizer": _copied(run.normalizer.statistics if run.normalizer else None, member),
        "reward_normalizer": _copied(
            run.reward_normalizer.statistics if run.reward_normalizer else None, member
        ),
        "active_heads": _copied(run.active_heads.heads if run.active_heads else None, member),
        "action": torch.from_numpy(run.action[member]),
        "state": torch.from_numpy(run.state[member]),
        "random": {
            name: generator.state(member) for name, generator in run.random._asdict().items()
        },
        "snapshots": [
            (seed_number, actions)
            for seed_number, actions, _ in run.envs.snapshots[run.stream.rings_of(member)]
        ],
        "obs": torch.from_numpy(run.envs.obs[member]),
        "exact": run.exact[member],
        "learning_began": tuple(run.learning_began[member]),
        "tracker": tracker.state(),
        "compiled": compiled,
        "data": run.data.plain() if run.data else None,
        "threads": torch.get_num_threads(),
    }


def load_last(folder: Path) -> dict[str, Any]:
    """Load checkpoints/last of a run.

    Raises:
        CheckpointError: The folder has no such file, or the file is damaged.
    """
    last = folder / CHECKPOINTS_DIR / "last"
    if not last.is_file():
        reason = "holds no checkpoints/last yet" if folder.is_dir() else "does not exist"
        if folder.is_file():
            reason = "is a file; name the run's folder"
        raise CheckpointError(f"can't resume: {folder} {reason}")
    data = load_checkpoint(last)
    with damage_named(last):
        check_state(data)
    return data


def snapshots_in(data: Mapping[str, Any]) -> list[EnvSnapshot]:
    """Return the snapshot of each environment in a checkpoint."""
    rows = zip(data["snapshots"], data["obs"].numpy(), strict=True)
    return [EnvSnapshot(seed_number, tuple(actions), obs) for (seed_number, actions), obs in rows]


def check_same_spaces(data: Mapping[str, Any], run: Run) -> None:
    """Check that the environment still has the spaces that a run began with.

    Raises:
        CheckpointError: They differ.
    """
    before, now = Spaces.restore(data["spaces"]), run.envs.spaces
    if not before.fits(now):
        raise CheckpointError(f"can't resume: the run has {before}; the environment now has {now}")


def check_data(data: Mapping[str, Any], run: Run) -> None:
    """Check that logged data are those that a run began with.

    Raises:
        CheckpointError: They differ.
    """
    before = data.get("data")
    if run.data is not None and (before is None or before.get("sha256") != run.data.sha256):
        raise CheckpointError(
            f"can't resume: data={run.data.path} is not what the run began with (SHA-256 differs);"
            " where the same data have another path, resume with data=PATH"
        )


def check_group(
    group: Sequence[Mapping[str, Any]], folders: Sequence[Path], settings: Sequence[Settings]
) -> None:
    """Check the checkpoints of members that resume together, before their run is built.

    Raises:
        CheckpointError: A file is damaged, or they are not at the same step.
    """
    if len({tuple(data["clock"][:2]) for data in group}) > 1:
        raise CheckpointError("members that resume together must be at the same step")
    for data, folder, member in zip(group, folders, settings, strict=True):
        with damage_named(folder / CHECKPOINTS_DIR / "last"):
            check_count(data, member)
            check_random(data, group[0])


def check_and_restore(
    data: Mapping[str, Any], folder: Path, run: Run, member: int, tracker: MetricsTracker
) -> None:
    """Restore a member of a new run from the checkpoint in its folder.

    Raises:
        CheckpointError: The environment has other spaces, or the file is damaged.
    """
    check_same_spaces(data, run)
    check_data(data, run)
    with damage_named(folder / CHECKPOINTS_DIR / "last"):
        check_fits(data, run, member)
    restore(data, run, member, tracker)


def restore(data: Mapping[str, Any], run: Run, member: int, tracker: MetricsTracker) -> None:
    """Restore a member of a new run, which has the same settings, from its `run_data`."""
    run.learner.load(LearnerState(**data["learner"]), member)
    if data["stream"]:
        stream = {name: values.numpy() for name, values in data["stream"].items()}
        sampler = {name: values.numpy() for name, values in data["sampler"].items()}
        run.stream.load(stream, member)
        run.sampler.load(sampler, member)
    if run.normalizer:
        run.normalizer.statistics[member] = data["normalizer"].numpy()
    if run.reward_normalizer:
        run.reward_normalizer.statistics[member] = data["reward_normalizer"].numpy()
    if run.active_heads:
        run.active_heads.heads[member] = data["active_heads"].numpy()
    run.action[member] = data["action"].numpy()
    run.state[member] = data["state"].numpy()
    for name, generator in run.random._asdict().items():
        generator.load(data["random"][name], member)
    run.clocks[member] = Clock(*data["clock"])
    run.learning_began[member] = Clock(*data["learning_began"])
    tracker.load(data["tracker"], run.clocks[member])
    # Without its replay, a run goes on with other batches.
    run.exact[member] = data["exact"] and bool(data["stream"] or not any(run.clocks[member]))


class CheckpointFolder:
    """Checkpoints of one run: `last`, `best`, and the latest `keep` older ones."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder / CHECKPOINTS_DIR, keep
        self._folder.mkdir(exist_ok=True)
        # A killed process may have left partial files of many gigabytes.
        for name in ("best", "last", "step_*"):
            for partial_file in self._folder.glob(temporary_name(name, "*")):
                partial_file.unlink(missing_ok=True)

    def save_best(self, data: Mapping[str, Any]) -> None:
        """Replace `best` with a member's `policy_data`."""
        _check_finite(data)
        save_checkpoint(self._folder / "best", data)

    def save_last(self, data: Mapping[str, Any]) -> None:
        """Replace `last` with a member's `run_data`, and keep its policy as `step_*`."""
        _check_finite(data)
        if self._keep:  # first: a run that was killed in between writes it again
            clock = Clock(*data["clock"])
            count = clock.steps if data["settings"]["steps"] else clock.updates
            name = f"step_{count:010}"
            policy = {key: data[key] for key in (*POLICY_KEYS, "layout")}
            save_checkpoint(
                self._folder / name, policy | {"settings": _of_policy(data["settings"])}
            )
            for old_file in sorted(self._folder.glob("step_*"))[: -self._keep]:
                old_file.unlink()
        save_checkpoint(self._folder / "last", data)


def expected_bytes(settings: Settings, run: Run) -> int:
    """Return the disk space that a member's checkpoints take once its replay buffer is full."""
    policy = run.learner.state.parameters[0].nbytes
    learner = sum(values[0].nbytes for values in run.learner.state)
    replay = 0
    if settings.checkpoint.replay:
        replay = (run.stream.nbytes + run.sampler.nbytes) // run.stream.members
    return policy * (2 + settings.checkpoint.keep) + learner + replay


def _of_policy(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings without loggers, which may be classes that no policy needs."""
    return {**settings, "logger": {}}


def _check_finite(data: Mapping[str, Any]) -> None:
    if not bool(torch.isfinite(data["parameters"]).all()):
        raise CheckpointError("parameters are not finite numbers, so no checkpoint is written")


def _copied(values: Array | None, member: int) -> Tensor | None:
    """Return a copy of a member's values, or None if the run has no such part."""
    return None if values is None else torch.from_numpy(values[member].copy())
