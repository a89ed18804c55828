"""Small GIFs of films: one alone, or several side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqn_cli.storage import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 240  # pixels of a film
FRAMES_PER_SECOND = 10.0
MOST_FRAMES = 120  # longer films get fewer frames per second
COLOURS = 64
STRIP = 16  # pixels above a film, for its label


def write_gif(films: Mapping[str, Path], path: Path) -> Path:
    """Write films as one GIF, side by side, and return its path.

    A film that ends earlier stands still then.

    Args:
        films: MP4 files by their labels; an empty label has no strip.
        path: The file to write.
    """
    with _opened(films.values()) as clips:
        longest = max(clip.duration for clip in clips)
        rate = min(FRAMES_PER_SECOND, MOST_FRAMES / longest)
        columns = [_frames(clip, rate) for clip in clips]
    count = max(map(len, columns))
    pictures = [
        _beside([column[min(place, len(column) - 1)] for column in columns], list(films))
        for place in range(count)
    ]
    content = io.BytesIO()
    first, *rest = pictures
    first.save(content, "GIF", save_all=True, append_images=rest, duration=1000 / rate, loop=0)
    write_atomically(path, lambda file: file.write(content.getvalue()))
    return path


@contextmanager
def _opened(films: Sequence[Path] | Any) -> Iterator[list[Any]]:
    from moviepy import VideoFileClip

    clips = [VideoFileClip(str(film), audio=False) for film in films]
    try:
        yield clips
    finally:
        for clip in clips:
            clip.close()


def _frames(clip: Any, rate: float) -> list[Image]:
    """Return the frames of a film, small."""
    from PIL import Image

    width = min(WIDTH, clip.w)
    size = width, max(1, round(clip.h * width / clip.w))
    return [Image.fromarray(frame).resize(size) for frame in clip.iter_frames(fps=rate)]


def _beside(frames: Sequence[Image], labels: Sequence[str]) -> Image:
    """Return a picture of frames side by side, with their labels above."""
    from PIL import Image, ImageDraw

    top = STRIP if any(labels) else 0
    width, height = sum(frame.width for frame in frames), max(frame.height for frame in frames)
    picture = Image.new("RGB", (width, top + height), "white")
    drawing, left = ImageDraw.Draw(picture), 0
    for frame, label in zip(frames, labels, strict=True):
        picture.paste(frame, (left, top))
        drawing.text((left + 4, 2), label, fill="black")
        left += frame.width
    return picture.quantize(COLOURS, Image.Quantize.FASTOCTREE)
