from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from dqn_cli.evaluation.curves import Curve, aggregate_curves, plot_bands, read_curve
from dqn_cli.evaluation.statistics import mean_interval

GREEDY, TRAINED = "eval/mean_reward", "rollout/ep_rew_mean"

Row = tuple[str, int, float, float]


def write(folder: Path, rows: Sequence[Row], purge_step: int | None = None) -> None:
    start = time.time()
    writer = SummaryWriter(str(folder), purge_step=purge_step)
    for tag, step, value, seconds in rows:
        writer.add_scalar(tag, value, step, walltime=start + seconds)
    writer.close()


def curve(label: str, returns: Sequence[float], steps: Sequence[float] | None = None) -> Curve:
    x = np.arange(len(returns), dtype=float) * 100 if steps is None else np.array(steps, float)
    return Curve(label, x, x / 10, np.array(returns, float), greedy=True)


def test_a_curve_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, [(GREEDY, step, step / 4, step / 10) for step in (100, 200, 500)])
    read = read_curve(tmp_path, "mine")
    assert read.label == "mine"
    assert read.steps.tolist() == [100, 200, 500]
    assert read.returns.tolist() == [25, 50, 125]
    assert read.greedy
    assert np.diff(read.seconds).tolist() == pytest.approx([10, 30], abs=1e-3)
    assert read.seconds[0] == pytest.approx(10, abs=2)


def test_every_point_is_read(tmp_path: Path) -> None:
    write(tmp_path, [(GREEDY, step, 1, 0) for step in range(1, 12_000)])
    assert len(read_curve(tmp_path, "").steps) == 11_999


def test_greedy_returns_are_preferred_to_training_returns(tmp_path: Path) -> None:
    write(tmp_path, [(TRAINED, 10, 1.0, 0), (GREEDY, 20, 2.0, 1), (TRAINED, 30, 3.0, 2)])
    assert read_curve(tmp_path, "").returns.tolist() == [2]


def test_training_returns_are_read_if_there_is_no_evaluation(tmp_path: Path) -> None:
    write(tmp_path, [(TRAINED, 10, 1.0, 0), ("train/loss", 10, 9.0, 0), (TRAINED, 30, 3.0, 2)])
    read = read_curve(tmp_path, "")
    assert read.returns.tolist() == [1, 3]
    assert not read.greedy


def test_rows_of_a_resumed_run_replace_the_older_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, [(GREEDY, step, 1.0, 0) for step in (10, 20, 30)])
    write(tmp_path, [(GREEDY, step, 2.0, 5) for step in (20, 25, 40)], purge_step=20)
    read = read_curve(tmp_path, "")
    assert read.steps.tolist() == [10, 20, 25, 40]
    assert read.returns.tolist() == [1, 2, 2, 2]
    assert not caplog.records  # a resumed run is no cause for a warning


def test_the_pause_before_a_run_resumed_is_no_training_time(tmp_path: Path) -> None:
    write(tmp_path, [(GREEDY, 10 * n, 1.0, 60 * n) for n in (1, 2, 3)])
    time.sleep(1.1)  # files are named by the second
    write(tmp_path, [(GREEDY, 30, 1.0, 70), (GREEDY, 40, 1.0, 130)])
    read = read_curve(tmp_path, "")
    assert read.steps.tolist() == [10, 20, 30, 40]
    # The second session started after step 20 and continues from its time.
    assert read.seconds.tolist() == pytest.approx([60, 120, 190, 250], abs=1.5)


def test_long_labels_are_stacked_and_not_cut(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    labels = [f"agent={name}, optimizer.lr=0.0003, replay.n_step=3, head.atoms=51" for name in "ab"]
    figures = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", figures.append)
        bands = aggregate_curves([curve(label, [0, 1]) for label in labels], "steps")
        plot_bands(bands, "steps", "return", "LineWorld-v0", tmp_path / "plot.png")
    (figure,) = figures
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    plt.close(figure)


def test_a_single_point_is_drawn_as_a_dot(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    figures = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", figures.append)
        bands = aggregate_curves([curve("a", [1]), curve("b", [1, 2])], "steps")
        plot_bands(bands, "steps", "return", "LineWorld-v0", tmp_path / "plot.png")
    (figure,) = figures
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", "None"]
    plt.close(figure)


@pytest.mark.parametrize("rows", [[], [("train/loss", 10, 1.0, 0.0)]])
def test_a_run_without_returns_is_an_error(tmp_path: Path, rows: list[Row]) -> None:
    write(tmp_path, rows)
    with pytest.raises(ValueError, match="no returns to draw yet") as caught:
        read_curve(tmp_path, "")
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_event_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no returns to draw yet"):
        read_curve(tmp_path, "")


def test_runs_of_one_label_share_a_band() -> None:
    bands = aggregate_curves(
        [curve("a", [0, 10]), curve("b", [5, 5]), curve("a", [2, 30])], "steps"
    )
    assert [(band.label, band.runs) for band in bands] == [("a", 2), ("b", 1)]
    assert bands[0].x.tolist() == [0, 100]
    assert bands[0].mean.tolist() == [1, 20]
    assert (bands[0].low.tolist(), bands[0].high.tolist()) == ([0, 10], [2, 30])
    assert bands[1].low.tolist() == bands[1].mean.tolist() == bands[1].high.tolist() == [5, 5]


def test_a_band_is_the_interval_of_the_mean_at_each_point() -> None:
    values = np.random.default_rng(0).normal(size=(6, 4))
    (band,) = aggregate_curves([curve("a", row) for row in values.tolist()], "steps")
    for point in range(4):
        expected = mean_interval(values[:, point])
        assert (band.low[point], band.high[point]) == pytest.approx(expected)


def test_the_band_of_few_runs_is_their_range() -> None:
    (band,) = aggregate_curves([curve("a", [n, 7 - n]) for n in (1, 4, 2, 6)], "steps")
    assert (band.low.tolist(), band.high.tolist()) == ([1, 1], [6, 6])


def test_runs_of_other_steps_are_compared_where_all_have_values() -> None:
    straight = curve("a", [0, 10], [0, 100])
    later = curve("a", [5, 25, 65], [50, 250, 650])
    (band,) = aggregate_curves([straight, later], "steps")
    assert (band.x[0], band.x[-1]) == (50, 100)
    assert band.mean == pytest.approx(band.x / 10)


def test_seconds_are_another_axis() -> None:
    (band,) = aggregate_curves([curve("a", [1, 2, 3])], "seconds")
    assert band.x.tolist() == [0, 10, 20]


@pytest.mark.parametrize("x", ["steps", "seconds"])
def test_a_chart_is_a_png(tmp_path: Path, x: str) -> None:
    curves = [curve("a", [0, 1]), curve("a", [1, 2]), curve("b", [3], [50])]
    out = tmp_path / "plot.png"
    plot_bands(aggregate_curves(curves, x), x, "greedy return", "LineWorld-v0", out)
    data = out.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") == 1200
    assert len(data) > 10_000


def test_a_chart_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "plot.png"
    with pytest.raises(OSError, match=r"No space left on device: .*plot\.png"):
        plot_bands(aggregate_curves([curve("a", [0, 1])], "steps"), "steps", "y", "title", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["plot.pdf", "plot.SVG", "plot.jpg"])
def test_a_chart_has_the_format_of_its_name(tmp_path: Path, name: str) -> None:
    starts = {"plot.pdf": b"%PDF", "plot.SVG": b"<?xml", "plot.jpg": b"\xff\xd8\xff"}
    out = tmp_path / name
    plot_bands(aggregate_curves([curve("a", [0, 1])], "steps"), "steps", "y", "title", out)
    assert out.read_bytes().startswith(starts[name])
