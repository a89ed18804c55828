from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dqn_cli.reporting.charts import MOST_COLOURS, PALETTE, Chart, colour, draw


def line(name: str, folder: Path, caption: str = "A line") -> Chart:
    def paint(figure: Any, axes: Any) -> None:
        axes.plot([0, 1], [0, 2], color=colour(0), label="cost of 5 $ and 6 $")
        figure.legend()

    return draw(name, caption, folder, 2.0, paint)


def test_a_chart_is_a_picture_and_part_of_a_page(tmp_path: Path) -> None:
    chart = line("first", tmp_path)
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")
    assert chart.svg.startswith("<svg")
    root = ElementTree.fromstring(chart.svg)
    assert root.get("aria-label") == "A line"
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "cost of 5 $ and 6 $" in chart.svg  # as text, and not read as a formula


def test_colours_are_those_of_the_page(tmp_path: Path) -> None:
    svg = line("first", tmp_path).svg
    assert "var(--c0)" in svg
    assert "currentColor" in svg
    assert not re.findall(r"#[0-9a-f]{6}\b", svg)


def test_two_charts_share_no_id_and_refer_to_their_own(tmp_path: Path) -> None:
    first, second = (line(name, tmp_path).svg for name in ("first", "second"))
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    referred = re.findall(r'(?:url\(#|href="#)([^)"]+)', first)
    assert referred
    assert set(referred) <= ids[0]


def test_the_same_chart_is_the_same_text(tmp_path: Path) -> None:
    assert line("first", tmp_path) == line("first", tmp_path)


def test_a_caption_can_not_leave_its_attribute(tmp_path: Path) -> None:
    svg = line("first", tmp_path, 'a"><script>&').svg
    assert ElementTree.fromstring(svg).get("aria-label") == 'a"><script>&'


def test_choices_beyond_the_palette_have_the_ink() -> None:
    assert len({colour(place) for place in range(MOST_COLOURS)}) == len(PALETTE)
    assert colour(MOST_COLOURS) == colour(MOST_COLOURS + 5)
    assert colour(MOST_COLOURS) not in PALETTE
