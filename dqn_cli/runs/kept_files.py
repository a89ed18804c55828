"""Files of a run that loggers may keep, once the run has ended."""

from __future__ import annotations

from pathlib import Path

from dqn_cli.agent.model import Model
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.video import record_episode
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR
from dqn_cli.runs.result import RESULT
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings

BEST = Path(CHECKPOINTS_DIR) / "best"
NAMES = (Path(RESULT), Path(".hydra") / "config.yaml", BEST)


def kept_files(folder: Path) -> list[Path]:
    """Return the files that are there: result, configuration and best policy."""
    return [path for name in NAMES if (path := folder / name).is_file()]


def record_best(folder: Path, settings: Settings, model: Model) -> Path | None:
    """Record an episode of a run's best policy and return the video's path; None without one.

    Raises:
        EnvironmentFailure: The environment can't be recorded.
    """
    best = folder / BEST
    if not best.is_file():
        return None
    return record_episode(
        GreedyPolicy(model, load_checkpoint(best)["parameters"]),
        settings.evaluation_env,
        episode_seeds(settings.seed, Purpose.evaluation.value, 0),
        settings.eval.max_episode_steps,
        best.parent,
    )
