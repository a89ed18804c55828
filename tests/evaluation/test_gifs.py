from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dqn_cli.evaluation.gifs import FRAMES_PER_SECOND, MOST_FRAMES, WIDTH, write_gif

moviepy = pytest.importorskip("moviepy")
Film = Callable[[str, int, int], Path]


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Makes a film at 20 frames a second, 480 pixels wide, of one grey that is given."""

    def make(name: str, frames: int, grey: int) -> Path:
        pictures = [np.full((320, 480, 3), grey, np.uint8)] * frames
        path = tmp_path / f"{name}.mp4"
        clip = moviepy.ImageSequenceClip(pictures, fps=20)
        clip.write_videofile(str(path), logger=None)
        return path

    return make


def greys(path: Path, column: int, columns: int) -> list[int]:
    """The middle of a column in each frame."""
    found = []
    with Image.open(path) as picture:
        for place in range(picture.n_frames):
            picture.seek(place)
            frame = np.asarray(picture.convert("L"))
            wide = frame.shape[1] // columns
            found.append(int(frame[frame.shape[0] // 2, column * wide + wide // 2]))
    return found


def test_a_film_becomes_small_and_keeps_its_time(film: Film, tmp_path: Path) -> None:
    path = write_gif({"": film("one", 40, 200)}, tmp_path / "one.gif")
    with Image.open(path) as picture:
        assert picture.size == (WIDTH, 160)
        assert picture.info["loop"] == 0  # for ever
        shown = sum(
            picture.seek(place) or picture.info["duration"] for place in range(picture.n_frames)
        )
    assert shown == pytest.approx(2000, abs=150)  # milliseconds


def test_films_stand_side_by_side_and_the_shorter_one_stands_still(
    film: Film, tmp_path: Path
) -> None:
    films = {"step 0": film("one", 10, 60), "step 9": film("other", 30, 200)}
    path = write_gif(films, tmp_path / "both.gif")
    assert np.allclose(greys(path, 0, 2), 60, atol=6)
    assert np.allclose(greys(path, 1, 2), 200, atol=6)
    with Image.open(path) as picture:
        assert picture.width == 2 * WIDTH
        strip = np.asarray(picture.convert("L"))[:14]
        assert strip.min() < 100 < strip.max()  # labels


def test_a_long_film_has_fewer_frames(film: Film, tmp_path: Path) -> None:
    seconds = 2 * MOST_FRAMES / FRAMES_PER_SECOND
    path = write_gif({"": film("long", int(20 * seconds), 90)}, tmp_path / "long.gif")
    assert len(greys(path, 0, 1)) <= MOST_FRAMES + 1
