from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dqn_cli.envs.processes import describe_end, isolate_process, kill_groups, process_context


@pytest.mark.parametrize(
    ("exit_code", "text"),
    [
        (0, "ended with exit code 0"),
        (7, "ended with exit code 7"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
        (None, "closed its connection"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(exit_code: int | None, text: str) -> None:
    assert describe_end(exit_code) == text


def sleep_with_a_child(parent: int, sender: object) -> None:
    isolate_process(parent)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    sender.send(child.pid)  # type: ignore[attr-defined]
    time.sleep(60)


def wait_until_ended(pid: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, f"process {pid} goes on"
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="the system has no groups of processes")
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_process_is_killed_with_all_that_it_started(is_stopped: bool) -> None:
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=sleep_with_a_child, args=(os.getpid(), sender))
    process.start()
    child = receiver.recv()
    if is_stopped:
        os.kill(process.pid, signal.SIGSTOP)
    kill_groups([process])
    assert process.exitcode == -signal.SIGKILL
    wait_until_ended(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_process_ends_with_its_parent() -> None:
    code = (
        "import os, time\n"
        "from dqn_cli.envs.processes import isolate_process, process_context\n"
        "def work(parent):\n"
        "    isolate_process(parent)\n"
        "    time.sleep(60)\n"
        "process = process_context().Process(target=work, args=(os.getpid(),))\n"
        "process.start()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(0.2)  # it has asked the system to be ended
    parent.kill()
    parent.wait()
    wait_until_ended(worker)
