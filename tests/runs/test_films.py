from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.loggers.logger import Log, LoggedRun, Logger
from dqn_cli.runs import films
from dqn_cli.runs.job import Job
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

pytest.importorskip("moviepy")
Compose = Callable[..., Settings]
Filmed = tuple[Path, list[tuple[Path, int]]]  # a run's folder, and the films its logger got
SMALL = (
    "steps=200", "learning_starts=50", "train_every=4", "updates_per_train=1",
    "network.widths=[8]", "eval.every=50", "eval.episodes=2", "replay.batch_size=8",
    "eval.max_episode_steps=12",
)  # fmt: skip


@dataclass
class Watching(Logger):
    """Notes the films that it gets."""

    asks: bool = False  # for a film of the best policy
    films: list[tuple[Path, int]] = field(default_factory=list)

    @property
    def keeps_video(self) -> bool:
        return self.asks

    def begin(self, run: LoggedRun) -> Log:
        return WatchingLog(self.films)


class WatchingLog(Log):
    def __init__(self, films: list[tuple[Path, int]]) -> None:
        self.films = films

    def row(self, values: Mapping[str, float], step: int) -> None:
        pass

    def video(self, path: Path, step: int) -> None:
        self.films.append((path, step))


def train(settings: Settings, folder: Path, asks: bool = False) -> list[tuple[Path, int]]:
    """Trains, and gives the films that a logger was told of."""
    logger = Watching(asks)
    with_logger = replace(settings, logger={**settings.logger, "watching": logger})
    train_alone(Job(with_logger, folder, []))
    return logger.films


@pytest.fixture(scope="module")
def filmed(settings_of: Compose, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    folder = tmp_path_factory.mktemp("run")
    return folder, train(settings_of(*SMALL, "video=true"), folder)


@pytest.fixture(scope="module")
def unfilmed(settings_of: Compose, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    folder = tmp_path_factory.mktemp("run")
    return folder, train(settings_of(*SMALL), folder, asks=True)


def test_films_show_the_policy_before_its_first_step_and_at_evaluations(
    filmed: Filmed,
) -> None:
    folder, told = filmed
    steps = [0, 50, 100, 150, 200]
    names = {f"step_{step}{end}" for step in steps for end in (".mp4", ".gif")}
    assert {path.name for path in (folder / "films").iterdir()} == {*names, "progress.gif"}
    assert [step for _, step in told[:-1]] == steps
    best, _ = told[-1]
    assert best == folder / "checkpoints" / "greedy-episode-0.mp4"
    assert best.with_suffix(".gif").is_file()


def test_progress_shows_three_policies(filmed: Filmed) -> None:
    folder, _ = filmed
    with Image.open(folder / "films" / "step_0.gif") as one:
        width = one.width
    with Image.open(folder / "films" / "progress.gif") as picture:
        assert picture.width == 3 * width


def test_tensorboard_has_the_films(filmed: Filmed) -> None:
    folder, _ = filmed
    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    images = events.Images("film")
    assert [image.step for image in images][:5] == [0, 50, 100, 150, 200]
    assert images[0].encoded_image_string == (folder / "films" / "step_0.gif").read_bytes()


def test_a_logger_that_asks_by_itself_gets_the_best_policy_alone(unfilmed: Filmed) -> None:
    folder, told = unfilmed
    assert [path.name for path, _ in told] == ["greedy-episode-0.mp4"]
    assert not (folder / "films").exists()


def test_films_change_no_bit_of_the_policy(filmed: Filmed, unfilmed: Filmed) -> None:
    one, other = (load_checkpoint(run / "checkpoints" / "best") for run, _ in (filmed, unfilmed))
    assert one["parameters"].tolist() == other["parameters"].tolist()


def test_an_environment_without_images_costs_one_line(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = train(settings_of("env=LineWorld-v0", *SMALL, "video=true"), tmp_path)
    captured = capsys.readouterr()
    lines = [line for line in (captured.out + captured.err).splitlines() if "film" in line]
    assert len(lines) == 1
    assert lines[0].endswith("no films: env=LineWorld-v0 can't be recorded: it renders no images")
    assert told == []
    assert not (tmp_path / "films").exists()
    assert (tmp_path / "checkpoints" / "best").is_file()


def test_a_long_run_has_about_ten_films(settings_of: Compose, tmp_path: Path) -> None:
    settings = settings_of("steps=1000", "eval.every=10", "video=true")
    found = films.Films(tmp_path, settings, lambda path, step: None, pytest.fail)
    due = [step for step in range(10, 1001, 10) if found.is_due(step - 10, step)]
    assert due == list(range(100, 1001, 100))
    assert found.is_due(0, 0)
