"""The folder of a model hub: what is known about a policy, beside it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dqn_cli.config.run_metadata import is_run
from dqn_cli.evaluation.curves import aggregate_curves, plot_bands, read_curve
from dqn_cli.exporting.hub_card import card
from dqn_cli.exporting.write_export import Export
from dqn_cli.fields import damage_named, items, mapping, natural, number
from dqn_cli.policies import evaluate_checkpoint, evaluation_path
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR
from dqn_cli.runs.exported_files import WEIGHTS
from dqn_cli.runs.result import RESULT, read_result
from dqn_cli.storage import load_json, sha256, write_json
from dqn_cli.training.settings import plain

EVALUATION, CONFIG, CURVE, CARD = "evaluation.json", "config.yaml", "curve.png", "README.md"
FILMS = (".mp4", ".gif")


@dataclass
class HubFiles:
    """Files that a hub's folder has besides the policy.

    The card tells what `dqn-eval` found, or else `episodes` new ones.
    """

    episodes: int
    modules: Sequence[str]

    def write(self, folder: Path, export: Export) -> None:
        """Write all files that there are contents for."""
        checkpoint = export.checkpoint
        evaluation = self._evaluation(checkpoint)
        write_json(folder / EVALUATION, evaluation | {"checkpoint": WEIGHTS})
        settings = yaml.safe_dump(plain(export.settings), sort_keys=False, allow_unicode=True)
        (folder / CONFIG).write_text(settings)
        run = run_of(checkpoint)
        if run is not None:
            _write_run(folder, run, export.settings.env.id)
        for film in _films(checkpoint.parent):
            shutil.copyfile(film, folder / f"replay{film.suffix}")
        names = [path.name for path in folder.iterdir()]
        (folder / CARD).write_text(card(export, evaluation, names))

    def _evaluation(self, checkpoint: Path) -> dict[str, Any]:
        """Return the evaluation of this very checkpoint; its episodes are played if need be."""
        file = evaluation_path(checkpoint)
        if file.is_file():
            found = load_json(file)
            with damage_named(file):
                _check_evaluation(found)
            if found["checkpoint_sha256"] == sha256(checkpoint):
                return found
        return evaluate_checkpoint(checkpoint, self.episodes, 0, self.modules)


def run_of(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint is of, if it lies in one."""
    folder = checkpoint.absolute().parent
    is_inside = folder.name == CHECKPOINTS_DIR and is_run(folder.parent)
    return folder.parent if is_inside else None


def _write_run(folder: Path, run: Path, env_id: str) -> None:
    """Write the outcome and the learning curve of a run, if it has them."""
    if (result := read_result(run)) is not None:
        write_json(folder / RESULT, result)
    try:
        curve = read_curve(run, env_id)
    except ValueError:  # it has none yet
        return
    y = "greedy return" if curve.greedy else "return while training"
    plot_bands(aggregate_curves([curve], "steps"), "steps", y, env_id, folder / CURVE)


def _films(folder: Path) -> list[Path]:
    """Return the first film of each kind."""
    found = (sorted(folder.glob(f"*{suffix}"))[:1] for suffix in FILMS)
    return [film for films in found for film in films]


def _check_evaluation(found: dict[str, Any]) -> None:
    keys = ("checkpoint_sha256", "protocol", "seed", "episodes", "mean", "std", "iqm", "iqm_ci95")
    mapping(found, "", (*keys, "min", "max"))
    for name in ("mean", "std", "iqm", "min", "max"):
        number(found[name], name)
    natural(found["episodes"], "episodes", 1)
    natural(found["seed"], "seed")
    items(found["iqm_ci95"], "iqm_ci95", number, 2)
    steps = mapping(found["protocol"], "protocol", ("max_episode_steps",))["max_episode_steps"]
    natural(steps, "protocol.max_episode_steps", 1)
