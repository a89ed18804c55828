from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest
from made_up_jobs import groups_of, job

from dqn_cli.commands import population_processes
from dqn_cli.commands.population_groups import train_groups
from dqn_cli.commands.population_processes import Processes, available_processes
from dqn_cli.runs.job import Job
from dqn_cli.runs.result import read_result
from dqn_cli.runs.signals import GracefulShutdown
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Work = Callable[[Sequence[Job], Sequence[str]], None]
Lines = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("threads", "processes"), [("auto", 8), (1, 8), (2, 4), (3, 2), (8, 1), (99, 1)]
)
def test_every_core_has_a_thread(
    monkeypatch: pytest.MonkeyPatch, threads: int | str, processes: int
) -> None:
    monkeypatch.setattr(population_processes, "available_cores", lambda: 8)
    assert available_processes(threads) == processes


@pytest.fixture
def doing(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], None]:
    """Lets processes do something else than train, and start at once."""
    fork = multiprocessing.get_context("fork")

    def does(work: Work) -> None:
        monkeypatch.setattr(population_processes, "train_in_process", work)
        monkeypatch.setattr(
            population_processes.multiprocessing, "get_context", lambda method: fork
        )

    return does


Doing = Callable[[Work], None]


def note(name: str, group: Sequence[Job], what: Any = None) -> None:
    """Leaves a file with the time in the folder; others see it whole."""
    file = Path(f"{name}{group[0].number}")
    file.with_suffix(".new").write_text(json.dumps(time.monotonic() if what is None else what))
    file.with_suffix(".new").rename(file)


def noted(name: str) -> dict[int, Any]:
    files = [file for file in Path().glob(f"{name}*") if not file.suffix]
    return {int(file.name.removeprefix(name)): json.loads(file.read_text()) for file in files}


def brief(group: Sequence[Job], modules: Sequence[str]) -> None:
    note("began", group)
    time.sleep(0.15)
    note("ended", group)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_at_most_so_many_groups_train_at_once(doing: Doing, processes: int) -> None:
    doing(brief)
    assert train_groups(groups_of(1, 2, 1, 1, 1), Processes(processes)) == 0
    began, ended = noted("began"), noted("ended")
    assert began.keys() == ended.keys() == {0, 1, 3, 4, 5}
    for moment in began.values():
        assert sum(began[each] <= moment <= ended[each] for each in began) <= processes


def test_processes_work_at_the_same_time(doing: Doing) -> None:
    doing(brief)
    train_groups(groups_of(1, 1), Processes(2))
    assert max(noted("began").values()) < min(noted("ended").values())


def test_processes_get_the_jobs_and_the_users_modules(
    doing: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(group: Sequence[Job], modules: Sequence[str]) -> None:
        note("got", group, [[job.number for job in group], modules])

    monkeypatch.setattr(population_processes, "imported_modules", ["mine", "yours"])
    doing(work)
    train_groups(groups_of(2, 1), Processes(2))
    assert noted("got") == {0: [[0, 1], ["mine", "yours"]], 2: [[2], ["mine", "yours"]]}


def test_a_process_that_is_killed_leaves_the_others_to_finish(doing: Doing) -> None:
    def work(group: Sequence[Job], modules: Sequence[str]) -> None:
        if group[0].number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        brief(group, modules)

    doing(work)
    assert train_groups(groups_of(1, 1, 1), Processes(1)) == 0
    assert noted("ended").keys() == {1, 2}


def test_only_the_parent_hears_ctrl_c(doing: Doing) -> None:
    def work(group: Sequence[Job], modules: Sequence[str]) -> None:
        with GracefulShutdown() as shutdown:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        note("heard", group, shutdown.requested)

    doing(work)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train_groups(groups_of(1, 1), Processes(2))
    assert noted("heard") == {0: False, 1: False}
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def until_told(group: Sequence[Job], modules: Sequence[str]) -> None:
    """As a session does: goes on until a signal, and then writes."""
    with GracefulShutdown() as shutdown:
        note("began", group)
        while not shutdown.requested:
            time.sleep(0.01)
    time.sleep(0.1)
    note("told", group, shutdown.exit_code)


def once(true: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Acts as soon as something is so, while this thread waits for its processes."""

    def watch() -> None:
        while not true():
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def send(*numbers: signal.Signals) -> Callable[[], None]:
    def act() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    return act


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_passed_on_and_waited_for(
    doing: Doing, number: signal.Signals, code: int
) -> None:
    doing(until_told)
    sender = once(lambda: len(noted("began")) == 2, send(number))
    assert train_groups(groups_of(1, 1, 1, 1), Processes(2)) == code
    assert noted("told") == {0: 143, 1: 143}
    assert noted("began").keys() == {0, 1}  # the others never begin
    sender.join()


def test_jobs_that_waited_for_a_process_have_a_result_too(
    doing: Doing, settings_of: Compose, tmp_path: Path
) -> None:
    doing(until_told)
    jobs = [Job(settings_of(), tmp_path / str(number), [], number) for number in range(2)]
    for each in jobs:
        (each.folder / ".hydra").mkdir(parents=True)
    sender = once(lambda: len(noted("began")) == 1, send(signal.SIGINT))
    assert train_groups([[each] for each in jobs], Processes(1)) == 130
    sender.join()
    result = read_result(jobs[1].folder)
    assert result
    assert (result["status"], result["steps"]) == ("interrupted", 0)


def test_ctrl_c_while_a_process_starts_is_not_lost(
    doing: Doing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ForkProcess.start

    def start(process: ForkProcess) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real(process)

    monkeypatch.setattr(ForkProcess, "start", start)
    doing(brief)
    assert train_groups(groups_of(1, 1, 1), Processes(1)) == 130
    assert noted("ended").keys() <= {0}


def test_a_second_ctrl_c_ends_everything_at_once(doing: Doing) -> None:
    def stubborn(group: Sequence[Job], modules: Sequence[str]) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note("began", group, os.getpid())
        time.sleep(60)

    doing(stubborn)
    sender = once(lambda: len(noted("began")) == 2, send(signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train_groups(groups_of(1, 1), Processes(2))
    sender.join()
    for process in multiprocessing.active_children():
        process.join(5)
    assert not any(Path(f"/proc/{process}").exists() for process in noted("began").values())


def test_a_process_whose_parent_is_killed_writes_and_ends(in_folder: Path) -> None:
    fork = multiprocessing.get_context("fork")

    def child() -> None:
        threading.Thread(target=population_processes.end_with_parent, daemon=True).start()
        until_told([job(0)], [])

    def parent() -> None:
        fork.Process(target=child).start()
        time.sleep(60)

    process = fork.Process(target=parent)
    process.start()
    once(lambda: bool(noted("began")), process.kill).join()
    deadline = time.monotonic() + 10
    while not noted("told"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert noted("told") == {0: 143}
    process.join()


def tells_what_it_is_deaf_to(group: Sequence[Any], modules: Sequence[str]) -> None:
    """What a process does here in place of training."""
    deaf = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    Path(group[0]).write_text(" ".join(sorted(signal.Signals(each).name for each in deaf)))


def test_every_process_blocks_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population_processes, "train_in_process", tells_what_it_is_deaf_to)
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # the first one starts it
    for number in range(2):
        file = tmp_path / str(number)
        process = population_processes.start_process([file])  # type: ignore[list-item]
        process.join(60)
        assert file.read_text() == "SIGINT"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
