from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run

from dqn_cli.config.run_metadata import load_env_id, load_overrides, overrides_by_key
from dqn_cli.reporting.run_rows import read_row
from dqn_cli.reporting.write_report import write_report

SECTIONS = ["answer", "curves", "scores", "profiles", "thresholds", "settings", "runs", "repeat"]
LARGEST_PAGE = 2_000_000  # bytes
LOADING = ("src", "srcset", "data", "poster", "action", "background")


class Page(HTMLParser):
    """Sections, links and whatever would load something, of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text()
        self.sections: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "section":
            self.sections.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        if tag in ("script", "link", "iframe", "img", "object", "embed", "image", "base"):
            self.loads.append(tag)
        self.loads += [value for name, value in values.items() if name in LOADING]
        if tag == "use":
            self.loads += [v for k, v in values.items() if "href" in k and not v.startswith("#")]


def sweep(folder: Path, choices: int, seeds: int, envs: list[str], points: int = 20) -> list[Path]:
    random = np.random.default_rng(0)
    return [
        write_run(folder, [f"env={env}", f"optimizer.lr={choice + 1}e-4", f"seed={seed}"],
                  list(map(float, random.normal(10 * choice, 3, points))), env=env)
        for env in envs for choice in range(choices) for seed in range(seeds)
    ]  # fmt: skip


def report(runs: list[Path], out: Path) -> Page:
    rows = []
    for run in runs:
        overrides = overrides_by_key(load_overrides(run))
        rows.append(read_row(run, load_env_id(run), f"optimizer.lr={overrides['optimizer.lr']}"))
    page = Page(write_report(rows, out))
    assert len(page.text.encode()) < LARGEST_PAGE
    assert page.loads == []
    assert not re.search(r"url\((?!#)|@import|javascript:", page.text)
    return page


def test_a_page_has_every_section_and_loads_nothing(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 3, 5, ["CartPole-v1", "LunarLander-v3"])
    page = report(runs, tmp_path / "out")
    assert page.sections == SECTIONS
    assert "optimizer.lr=3e-4 is better than each of the 2 other choices" in page.text
    assert page.text.count("<svg") == 6
    assert "dqn-train -m env=CartPole-v1 optimizer.lr=1e-4 seed=0,1,2,3,4" in page.text
    assert "torch 2.13.0" in page.text
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names >= {"report.html", "runs.csv", "choices.csv", "comparisons.csv", "curves.csv",
                     "curves.png", "curves_2.png", "scores.png", "profiles.png"}  # fmt: skip


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "a sweep", 2, 2, ["CartPole-v1"])
    (runs[0] / "checkpoints").mkdir()
    (runs[0] / "checkpoints" / "greedy-episode-0.mp4").touch()
    (runs[1] / "films").mkdir()
    (runs[1] / "films" / "progress.gif").touch()
    page = report(runs, tmp_path / "out")
    films = [link for link in page.links if link.endswith((".mp4", ".gif"))]
    assert len(films) == 2
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in SECTIONS
        else:
            assert (tmp_path / "out" / link.replace("%20", " ")).exists()


def test_a_sweep_that_still_trains_is_reported(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 2, 2, ["CartPole-v1"])
    (runs[3] / "result.json").unlink()
    words = ["env=CartPole-v1", "optimizer.lr=2e-4", "seed=9"]
    runs.append(write_run(tmp_path / "sweep", words, status="failed", error="out of <memory>"))
    page = report(runs, tmp_path / "out")
    assert page.sections == SECTIONS
    assert "Only finished runs count: 3 finished, 1 no result and 1 failed." in page.text
    assert "out of &lt;memory&gt;" in page.text


def test_before_any_run_has_finished_there_are_curves(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 2, 2, ["CartPole-v1"])
    for run in runs:
        (run / "result.json").unlink()
    page = report(runs, tmp_path / "out")
    assert "No run has finished yet" in page.text
    assert page.text.count("<svg") == 1


def test_runs_that_left_nothing_are_a_table(tmp_path: Path) -> None:
    words = ["env=CartPole-v1", "optimizer.lr=2e-4"]
    page = report([write_run(tmp_path, words, status=None)], tmp_path / "out")
    assert page.sections == SECTIONS
    assert "<svg" not in page.text
    assert "No run has evaluated its policy yet." in page.text


def test_what_was_typed_is_no_code(tmp_path: Path) -> None:
    words = ["env=CartPole-v1", "optimizer.lr=<script>alert(1)</script>", "seed=0"]
    run = write_run(tmp_path, words, [1.0, 2.0])
    page = report([run], tmp_path / "out")
    assert "<script" not in page.text


def test_a_report_is_written_over_an_older_one(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 2, 2, ["CartPole-v1"])
    report(runs[:1], tmp_path / "out")
    assert "of 2 seeds" not in report(runs, tmp_path / "out").text


def test_a_sweep_of_two_environments_is_reported_in_seconds(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 4, 10, ["CartPole-v1", "LunarLander-v3"])
    start = time.perf_counter()
    report(runs, tmp_path / "out")
    assert time.perf_counter() - start < 30  # under 10 where nothing else runs


@pytest.mark.slow
def test_a_thousand_runs_are_reported_within_a_minute(tmp_path: Path) -> None:
    runs = sweep(tmp_path / "sweep", 100, 10, ["CartPole-v1"], points=60)
    start = time.perf_counter()
    page = report(runs, tmp_path / "out")
    assert time.perf_counter() - start < 60
    assert "The 8 choices of the highest mean are drawn; the tables have all 100." in page.text
    assert json.dumps(page.links).count("_job") == 1000
