from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PLAIN
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.env_config import EnvConfig, EnvironmentFailure, Vectorization
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation import video
from dqn_cli.evaluation.play import play
from dqn_cli.evaluation.video import film

Array = NDArray[Any]

SEED_OF = episode_seeds(3, "judgement", 0)


class Noting:
    """Leans as the pole does, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Array, Array, Array]] = []

    def __call__(self, obs: Array, mask: Array, fresh: Array) -> Array:
        self.asked.append((obs[0].copy(), mask[0].copy(), fresh[0]))
        return (obs[:, 2] > 0).astype(np.int64)


def config(env_id: str) -> EnvConfig:
    return EnvConfig(env_id, {}, 1, Vectorization["sync"], PLAIN)


def test_without_the_extra_it_says_what_to_install(
    type_train: Callable[..., int],
    type_eval: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_train("steps=100", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    assert type_eval("checkpoint=run", "episodes=1", "video=true") == 1
    assert "pip install 'dqn-train[video]'" in capsys.readouterr().err.splitlines()[-1]


def test_an_environment_without_pictures_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    with pytest.raises(EnvironmentFailure, match=r"^env=LineWorld-v0[^\n]*$"):
        film(Noting(), config("LineWorld-v0"), SEED_OF, 10, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("longest", [7, 10_000])
def test_the_film_is_of_the_first_episode_and_begins_once(tmp_path: Path, longest: int) -> None:
    pytest.importorskip("moviepy")
    filmed, judged = Noting(), Noting()
    path = film(filmed, config("CartPole-v1"), SEED_OF, longest, tmp_path)
    assert path.is_file()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size > 0
    assert play(judged, config("CartPole-v1"), SEED_OF, 1, longest, "float32") is not None
    assert len(filmed.asked) == len(judged.asked) <= longest
    for (obs, mask, fresh), expected in zip(filmed.asked, judged.asked, strict=True):
        assert obs.tolist() == expected[0].tolist()
        assert mask.tolist() == expected[1].tolist()
        assert fresh == expected[2]
    assert [fresh for *_, fresh in filmed.asked] == [True] + [False] * (len(filmed.asked) - 1)


def standing(obs: Array, mask: Array, fresh: Array) -> Array:
    return np.zeros(1, np.int64)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "PositionCartPole-v1", "MinAtar/Breakout-v1"])
def test_something_can_be_seen_in_a_film(tmp_path: Path, env_id: str) -> None:
    moviepy = pytest.importorskip("moviepy")
    if env_id.startswith("MinAtar"):
        pytest.importorskip("minatar")
    path = film(standing, config(env_id), SEED_OF, 5, tmp_path)
    with moviepy.VideoFileClip(str(path)) as clip:
        picture = clip.get_frame(0)
    assert picture.ndim == 3
    assert picture.max() > 100
    assert picture.std() > 1
