from __future__ import annotations

import io
import sys
import threading
import time
from contextlib import suppress

import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.runs import display
from dqn_cli.runs.display import SECONDS_BETWEEN_LINES, Display

ROW = {
    "rollout/ep_rew_mean": 12.345,
    "eval/mean_reward": 99.96,
    "rollout/exploration_rate": 0.5,
    "train/loss": 0.000123456,
    "time/fps": 12345.6,
    "train/n_updates": 7.0,
}


class Watch:
    """A clock that goes on only when a test advances it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    watch = Watch()
    monkeypatch.setattr(display, "time", watch)
    return watch


def test_a_pipe_gets_plain_lines(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(200_000, None, 0.0) as shown:
        watch.now += 20
        shown.show(Clock(50_000, 7, 3), 0.25, ROW)
    assert capsys.readouterr().out == (
        "step 50,000/200,000  return 12.3  greedy 100.0  epsilon 0.500  loss 0.000123"
        "  steps/s 12,346  eta 0:01:00\n"
    )


def test_a_pipe_gets_one_line_every_ten_seconds(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(100, None, 0.0) as shown:
        for second in range(1, 36):
            watch.now += 1
            shown.show(Clock(second), second / 100, {})
    lines = capsys.readouterr().out.splitlines()
    assert SECONDS_BETWEEN_LINES == 10
    assert [line.split()[1] for line in lines] == ["10/100", "20/100", "30/100"]


def test_metrics_stay_until_newer_ones_come(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(100, None, 0.0) as shown:
        shown.show(Clock(1), 0.01, {"eval/mean_reward": 5.0, "train/loss": 1.0})
        watch.now += 20
        shown.show(Clock(2), 0.02, {"train/loss": 2.0})
    assert "greedy 5.0  loss 2  eta" in capsys.readouterr().out


def test_only_the_main_metrics_are_shown(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(100, None, 0.0) as shown:
        watch.now += 20
        more = {"train/dormant_units": 0.5, "train/edge_mass": 0.1, "train/q_mean": 7.0}
        shown.show(Clock(50), 0.5, more | {"train/loss": 1.0})
    assert capsys.readouterr().out == "step 50/100  loss 1  eta 0:00:20\n"


def test_episodes_are_shown_if_they_are_limited(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(100, 2000, 0.0) as shown:
        watch.now += 20
        shown.show(Clock(10, 0, 1500), 0.75, {})
    assert capsys.readouterr().out.startswith("step 10/100  episode 1,500/2,000  eta")


@pytest.mark.parametrize(
    ("before", "seconds", "done", "eta"),
    [
        (0.0, 60, 0.5, "0:01:00"),
        (0.5, 60, 0.6, "0:04:00"),
        (0.0, 3600, 0.25, "3:00:00"),
        (0.0, 10, 1.0, "0:00:00"),
    ],
)
def test_the_remaining_time_follows_from_this_sessions_speed(
    watch: Watch,
    capsys: pytest.CaptureFixture[str],
    before: float,
    seconds: float,
    done: float,
    eta: str,
) -> None:
    with Display(100, None, before) as shown:
        watch.now += seconds
        shown.show(Clock(1), done, {})
    assert capsys.readouterr().out.endswith(f"eta {eta}\n")


def test_a_line_is_neither_wrapped_nor_formatted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "run [bold]in[/bold] outputs/" + "long" * 60
    with Display(100, None, 0.0) as shown:
        shown.print_line(line)
    assert capsys.readouterr().out == line + "\n"


def test_a_title_prefixes_every_line(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    with Display(100, None, 0.0, "jobs 0-3") as shown:
        shown.print_line("training [all]")
        watch.now += 20
        shown.show(Clock(50), 0.5, {"train/loss": 1.0})
    assert capsys.readouterr().out == (
        "jobs 0-3: training [all]\njobs 0-3: step 50/100  loss 1  eta 0:00:20\n"
    )


@pytest.mark.parametrize(("columns", "whole"), [(80, False), (109, False), (110, True)])
def test_a_narrow_bar_leaves_metrics_out(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, columns: int, whole: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    row = {**ROW, "rollout/ep_rew_mean": -123.4, "eval/mean_reward": -123.4}
    with Display(1_000_000, None, 0.0) as shown:
        watch.now += 1
        shown.show(Clock(990_000), 0.99, row)
    written = terminal.getvalue()
    assert "step 990,000/1,000,000  return -123.4  greedy -123.4" in written
    assert "steps/s 12,346" in written
    assert ("epsilon 0.500  loss 0.000123" in written) is whole


def test_a_terminal_gets_a_bar_that_goes_away(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    threads = threading.active_count()
    with Display(100, None, 0.0) as shown:
        watch.now += 1
        shown.show(Clock(42), 0.42, {"train/loss": 1.5})
        shown.show(Clock(43), 0.43, {})
        shown.print_line("a line")
        assert threading.active_count() == threads
    written = terminal.getvalue()
    assert "step 42/100  loss 1.5" in written
    assert "step 43" not in written
    assert "a line\n" in written
    assert "\x1b[" in written
    assert "eta" not in written


def test_an_activity_without_steps_shows_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dqn_cli.runs.display.SECONDS_BETWEEN_LINES", 0.05)
    threads = threading.active_count()
    with Display(100, None, 0.0) as shown:
        with shown.busy("compiling"):
            time.sleep(0.3)
        seen = capsys.readouterr().out
        assert 2 <= seen.count("compiling: 0 s so far\n") <= 6
        assert threading.active_count() == threads
        with shown.busy("compiling"):
            pass  # what takes no time shows nothing
    assert capsys.readouterr().out == ""


def test_an_activity_that_is_interrupted_ends_with_it() -> None:
    threads = threading.active_count()
    with Display(100, None, 0.0) as shown, suppress(KeyboardInterrupt), shown.busy("compiling"):
        raise KeyboardInterrupt
    assert threading.active_count() == threads


def test_updates_before_the_first_step_have_a_total_and_no_end(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(100, None, 0.0, pretrain=5000) as shown:
        watch.now += 100
        shown.show(Clock(0, 1000), 0.0, {})
        watch.now += 20
        shown.show(Clock(50, 5000), 0.5, {})
    assert capsys.readouterr().out == "update 1,000/5,000\nstep 50/100  eta 0:00:20\n"
