"""Films of a member's greedy policy at some of its evaluations, and of its way to the best one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import crossings
from dqn_cli.agent.model import Model
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.gifs import FRAMES_PER_SECOND, write_gif
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.evaluation.video import NAME, record_episode
from dqn_cli.runs.kept_files import BEST
from dqn_cli.storage import load_checkpoint
from dqn_cli.text import one_line
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings

FOLDER, PROGRESS = "films", "progress.gif"
COUNT = 10  # films of a run, beside the one before its first step
MOST_STEPS = 1_000  # of an episode that are filmed
FILM = re.compile(r"step_(\d{1,15})\.mp4")

Told = Callable[[Path, int], object]  # takes a film and its step


class Films:
    """Films of one member; a failure is one line, and the run trains on without them."""

    def __init__(
        self, folder: Path, settings: Settings, tell: Told, warn: Callable[[str], object]
    ) -> None:
        """Prepare films in the folder of a run.

        Args:
            folder: The run's folder.
            settings: Settings of the run.
            tell: Takes each film and its step.
            warn: Takes a line that says why there are no films from now on.
        """
        self._run, self._folder, self._settings = folder, folder / FOLDER, settings
        self._tell, self._warn = tell, warn
        self._works = True
        total = settings.steps or settings.data.pretrain
        self._period = max(1, total // COUNT)

    def is_due(self, before: int, now: int) -> bool:
        """Return True if an evaluation now is to be filmed, after one before."""
        if not (self._settings.video and self._works):
            return False
        return not now or crossings(before, now, self._period) > 0

    def record(self, policy: GreedyPolicy, step: int, should_stop: Callable[[], bool]) -> None:
        """Film the first episode of an evaluation."""

        def film() -> None:
            path = self._record(policy, self._folder, f"step_{step}", should_stop)
            self._tell(path, step)

        self._try(film)

    def record_best(self, model: Model, step: int) -> None:
        """Film the best policy, and show it beside the first film and the one half-way."""
        best = self._run / BEST

        def film() -> None:
            policy = GreedyPolicy(model, load_checkpoint(best)["parameters"])
            path = self._record(policy, best.parent, NAME, lambda: False)
            self._tell(path, step)
            films = self._by_step()
            if self._settings.video and len(films) > 1:
                half = min(films, key=lambda other: abs(other - max(films) / 2))
                shown = {f"step {other:,}": films[other] for other in (min(films), half)}
                write_gif(shown | {f"best, step {step:,}": path}, self._folder / PROGRESS)

        if best.is_file():
            self._try(film)

    def _record(
        self,
        policy: GreedyPolicy,
        folder: Path,
        name: str,
        should_stop: Callable[[], bool],
    ) -> Path:
        settings = self._settings
        path = record_episode(
            policy,
            settings.evaluation_env,
            episode_seeds(settings.seed, Purpose.evaluation.value, 0),
            min(settings.eval.max_episode_steps, MOST_STEPS),
            folder,
            name,
            should_stop,
            FRAMES_PER_SECOND,
        )
        write_gif({"": path}, path.with_suffix(".gif"))
        return path

    def _by_step(self) -> Mapping[int, Path]:
        if not self._folder.is_dir():
            return {}
        found = {path: FILM.fullmatch(path.name) for path in self._folder.iterdir()}
        return {int(match[1]): path for path, match in found.items() if match}

    def _try(self, action: Callable[[], Any]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:  # the environment may raise anything
            self._works = False
            self._warn(f"no films: {one_line(error)}")
