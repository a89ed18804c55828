"""Charts as SVG for the page and as PNG, in colours that the colour-blind can tell apart."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dqn_cli.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.2  # inches: as wide as a phone, so that letters stay readable there
LETTER = 9  # points
INK = "#010203"  # of text and axes; the page's own colour in its place
PAPER = "#fdfefe"  # behind text that lies on lines; the page's own colour in its place
# Okabe and Ito's palette, without black and with yellow last, which is pale on white.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#f0e442")
MOST_COLOURS = len(PALETTE)
RASTER_DPI = 160


class Chart(NamedTuple):
    """A chart of the page; its PNG is NAME.png."""

    name: str
    caption: str
    svg: str


def colour(place: int) -> str:
    """Return the colour of a choice; those beyond the palette share the ink's."""
    return PALETTE[place] if place < MOST_COLOURS else INK


@contextmanager
def chart_axes(height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure with one pair of axes, in the report's style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": LETTER,
        "svg.fonttype": "none",  # text stays text: small, and in the page's own letters
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": INK,
        "grid.alpha": 0.15,
        "legend.frameon": False,
        "path.simplify_threshold": 0.5,
        "text.parse_math": False,  # labels are what people typed
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.add_subplot()


def draw(
    name: str, caption: str, folder: Path, height: float, paint: Callable[[Figure, Axes], None]
) -> Chart:
    """Paint a chart, write its PNG and return it for the page."""
    import matplotlib as mpl

    with chart_axes(height) as (figure, axes):
        paint(figure, axes)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=RASTER_DPI)
        # The salt keeps names inside the picture the same in every report, and its own on the page.
        with mpl.rc_context({"svg.hashsalt": name}):
            figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    write_atomically(folder / f"{name}.png", lambda file: file.write(png.getvalue()))
    return Chart(name, caption, _for_page(svg.getvalue(), name, caption))


def _for_page(svg: str, name: str, caption: str) -> str:
    """Return an SVG that takes width and colours from the page around it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'font: ([\d.]+)px [^;"]*', r"font-size: \1px", svg)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{_attribute(caption)}"', 1)
    svg = _own_ids(svg, name).replace(INK, "currentColor")
    svg = svg.replace(PAPER, "var(--paper)")
    for place, colour_ in enumerate(PALETTE):
        svg = svg.replace(colour_, f"var(--c{place})")
    return svg


def _own_ids(svg: str, name: str) -> str:
    """Return an SVG whose ids are not those of another on the page."""
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
