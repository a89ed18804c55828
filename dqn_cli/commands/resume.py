"""dqn-train resume=RUN: goes on with an interrupted run in its own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Linear
from dqn_cli.commands.job import closing_words
from dqn_cli.config.stored import stored_settings
from dqn_cli.policies import check_imported
from dqn_cli.storage import CheckpointError, load_checkpoint
from dqn_cli.training.checkpoints import FOLDER
from dqn_cli.training.loop import finished, horizon
from dqn_cli.training.session import Interrupted, Session
from dqn_cli.training.settings import Settings


def resume(folder: Path, overrides: Sequence[str], modules: Sequence[str]) -> int:
    """Continues from checkpoints/last; a run that is finished says so."""
    last = folder / FOLDER / "last"
    if not last.is_file():
        reason = "holds no checkpoints/last yet" if folder.is_dir() else "does not exist"
        raise CheckpointError(f"can't resume: {folder} {reason}")
    data = load_checkpoint(last)
    before = stored_settings(data["settings"])
    settings = with_schedule_of(before, stored_settings(data["settings"], overrides))
    check_imported(settings, modules)
    clock = Clock(*data["clock"])
    if finished(settings, clock):
        print(f"{folder} is finished after {clock.steps:,} steps; steps=N goes on to more")
        return 0
    typed = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    assert isinstance(typed, list)
    try:
        result = Session(settings, folder, [*map(str, typed), *overrides], data)()
    except Interrupted as interrupted:
        print(interrupted)
        return interrupted.exit_code
    print(closing_words(result, folder))
    return 0


def with_schedule_of(before: Settings, now: Settings) -> Settings:
    """`now` with epsilon's schedule as long as it was, though the run may be longer."""
    exploration = before.exploration
    if isinstance(exploration, Linear) and exploration.duration <= 1 and now != before:
        length = exploration.duration * horizon(before).reading(exploration.unit)
        return replace(now, exploration=replace(exploration, duration=max(length, 1.0 + 1e-9)))
    return now
