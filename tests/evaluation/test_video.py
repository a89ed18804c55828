from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PLAIN
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.envs.masks import MaskSource
from dqn_cli.evaluation import video
from dqn_cli.evaluation.play import play_episodes
from dqn_cli.evaluation.video import record_episode

Array = NDArray[Any]

SEED_FUNCTION = episode_seeds(3, "final_evaluation", 0)


class InputRecorder:
    """A policy that follows the pole and records its inputs."""

    def __init__(self) -> None:
        self.inputs: list[tuple[Array, Array, Array]] = []

    def __call__(self, obs: Array, mask: Array, episode_start: Array) -> Array:
        self.inputs.append((obs[0].copy(), mask[0].copy(), episode_start[0]))
        return (obs[:, 2] > 0).astype(np.int64)


def config(env_id: str) -> EnvConfig:
    return EnvConfig(env_id, {}, 1, Vectorization["sync"], PLAIN, MaskSource.auto)


def test_a_missing_extra_is_an_error_that_says_what_to_install(
    type_train: Callable[..., int],
    type_eval: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_train("steps=100", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    assert type_eval("checkpoint=run", "episodes=1", "video=true") == 1
    assert "pip install 'dqn-train[video]'" in capsys.readouterr().err.splitlines()[-1]


def test_an_environment_without_images_is_an_error_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    with pytest.raises(EnvironmentFailure, match=r"^env=LineWorld-v0[^\n]*$"):
        record_episode(InputRecorder(), config("LineWorld-v0"), SEED_FUNCTION, 10, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("max_steps", [7, 10_000])
def test_the_video_shows_the_first_episode(tmp_path: Path, max_steps: int) -> None:
    pytest.importorskip("moviepy")
    recorded, played = InputRecorder(), InputRecorder()
    path = record_episode(recorded, config("CartPole-v1"), SEED_FUNCTION, max_steps, tmp_path)
    assert path.is_file()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size > 0
    assert (
        play_episodes(played, config("CartPole-v1"), SEED_FUNCTION, 1, max_steps, "float32")
        is not None
    )
    assert len(recorded.inputs) == len(played.inputs) <= max_steps
    for (obs, mask, episode_start), expected in zip(recorded.inputs, played.inputs, strict=True):
        assert obs.tolist() == expected[0].tolist()
        assert mask.tolist() == expected[1].tolist()
        assert episode_start == expected[2]
    assert [episode_start for *_, episode_start in recorded.inputs] == [True] + [False] * (
        len(recorded.inputs) - 1
    )


def push_left(obs: Array, mask: Array, episode_start: Array) -> Array:
    return np.zeros(1, np.int64)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "PositionCartPole-v1", "MinAtar/Breakout-v1"])
def test_a_video_shows_an_image(tmp_path: Path, env_id: str) -> None:
    moviepy = pytest.importorskip("moviepy")
    if env_id.startswith("MinAtar"):
        pytest.importorskip("minatar")
    path = record_episode(push_left, config(env_id), SEED_FUNCTION, 5, tmp_path)
    with moviepy.VideoFileClip(str(path)) as clip:
        image = clip.get_frame(0)
    assert image.ndim == 3
    assert image.max() > 100
    assert image.std() > 1


def test_a_film_with_fewer_frames_takes_as_long(tmp_path: Path) -> None:
    moviepy = pytest.importorskip("moviepy")
    found = []
    for rate in (50, 10):
        path = record_episode(
            InputRecorder(), config("CartPole-v1"), SEED_FUNCTION, 30, tmp_path, most_rate=rate
        )
        with moviepy.VideoFileClip(str(path)) as clip:
            found.append((clip.fps, clip.duration))
    assert [fps for fps, _ in found] == [50, 10]
    assert found[0][1] == pytest.approx(found[1][1], abs=0.2)
