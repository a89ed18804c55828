from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.runs.launched_jobs import STOP_FILE, launched_job, waiting_for_jobs
from dqn_cli.runs.signals import GracefulShutdown


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 85)])
def test_a_signal_to_the_launcher_asks_the_jobs_to_stop(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / STOP_FILE).touch()  # of a sweep that was killed
    with waiting_for_jobs(tmp_path) as shutdown:
        assert not (tmp_path / STOP_FILE).exists()
        send(number)
        wait_until((tmp_path / STOP_FILE).exists)
        assert shutdown.exit_code == code
    assert not (tmp_path / STOP_FILE).exists()


def test_new_processes_do_not_hear_ctrl_c(tmp_path: Path) -> None:
    with waiting_for_jobs(tmp_path):
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_job_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    with launched_job(tmp_path) as job, GracefulShutdown() as session:
        assert not session.requested
        (tmp_path / STOP_FILE).touch()
        wait_until(lambda: session.requested)
        assert session.exit_code == 143
    assert job.requested


def test_a_job_that_is_asked_before_it_begins_stops_too(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).touch()
    with launched_job(tmp_path) as job, GracefulShutdown() as session:
        assert job.requested
        assert session.requested


def test_a_job_leaves_preemption_to_its_launcher(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with launched_job(tmp_path):
        assert signal.getsignal(signal.SIGUSR2) is before


def test_a_launched_job_takes_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    with launched_job(tmp_path):
        assert os.environ["OMP_NUM_THREADS"] == "1"
