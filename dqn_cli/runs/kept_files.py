"""Files of a run that loggers may keep, once the run has ended."""

from __future__ import annotations

from pathlib import Path

from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR
from dqn_cli.runs.result import RESULT

BEST = Path(CHECKPOINTS_DIR) / "best"
NAMES = (Path(RESULT), Path(".hydra") / "config.yaml", BEST)


def kept_files(folder: Path) -> list[Path]:
    """Return the files that are there: result, configuration and best policy."""
    return [path for name in NAMES if (path := folder / name).is_file()]
