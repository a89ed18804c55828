"""The page of a report as a person sees it: on a desk and on a phone, light and dark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, browser
from fake_runs import write_run
from made_up_searches import write_search

from dqn_cli.config.run_metadata import load_env_id
from dqn_cli.reporting.run_rows import read_row
from dqn_cli.reporting.write_report import write_report
from dqn_cli.searching.stored_search import read_search

DESK, PHONE = 1280, 390  # pixels
LONG = "optimizer.lr=0.000123 network.widths=[256,256,256] exploration.duration=0.25"


def page(folder: Path) -> Path:
    """A report with all that a page can have, and with labels that are too long for a phone."""
    random, rows = np.random.default_rng(0), []
    for env in ("CartPole-v1", "LunarLander-v3"):
        for choice in (LONG, "update=double", "update=munchausen"):
            for seed in range(5):
                returns = list(map(float, random.normal(len(choice), 3, 20)))
                words = [*choice.split(), f"env={env}", f"seed={seed}"]
                run = write_run(folder / "sweep", words, returns, env=env)
                rows.append(read_row(run, load_env_id(run), choice))
    write_search(folder / "search.db", complete=12, pruned=8, failed=1)
    search = {"search": read_search(folder / "search.db")}
    return write_report(rows, folder / "report", ["A note."], search)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_page_loads_nothing_fails_nowhere_and_fits_a_phone(tmp_path: Path) -> None:
    report = page(tmp_path)
    backgrounds = set()
    with browser(tmp_path) as chromium:
        for width in (DESK, PHONE):
            for scheme in ("light", "dark"):
                view = chromium.show(report, width, scheme)
                assert view.requests == [report.as_uri()]
                assert view.errors == []
                assert view.width == width  # nothing to scroll to the right
                backgrounds.add(view.background)
        assert len(backgrounds) == 2
        assert chromium.value("document.querySelectorAll('#search svg').length") == 2
        shown = "[...document.querySelectorAll('svg')].every((x) => x.clientHeight > 100)"
        assert chromium.value(shown)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_page_that_loads_fails_or_is_too_wide_is_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(
        "<meta name=viewport content='width=device-width'><div style='width:900px'>wide</div>"
        "<img src='missing.png'><script>throw Error('broken')</script>"
    )
    with browser(tmp_path) as chromium:
        view = chromium.show(broken, PHONE, "light")
    assert len(view.requests) == 2
    assert any("broken" in error for error in view.errors)
    assert view.width > PHONE
