from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from dqn_cli.interrupts import (
    TimeIsUp,
    UserInterrupt,
    interrupts_marked,
    is_ours,
    time_limit,
)

pytestmark = pytest.mark.timeout(20, method="thread")


def test_a_block_that_takes_too_long_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(TimeIsUp), time_limit(0.1):
        time.sleep(10)
    assert time.monotonic() - start < 2


def test_a_block_that_swallows_its_end_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.interrupts.ALARM_PERIOD", 0.1)

    def swallow() -> None:
        with suppress(BaseException):
            time.sleep(10)
        time.sleep(10)

    with pytest.raises(TimeIsUp), time_limit(0.1):
        swallow()


def test_a_block_that_swallows_everything_ends_the_process_after_the_last_resort() -> None:
    code = (
        "import time, dqn_cli.interrupts as interrupts\n"
        "from contextlib import suppress\n"
        "interrupts.ALARM_PERIOD = 0.05\n"
        "save = lambda reason: print('saved because', reason, flush=True)\n"
        "with interrupts.last_resort(save), interrupts.time_limit(0.05, 'it hangs'):\n"
        "    while True:\n"
        "        with suppress(BaseException):\n"
        "            time.sleep(10)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15)
    assert (done.stdout, done.stderr) == ("saved because it hangs\n", "error: it hangs\n")
    assert done.returncode == 1


def test_timer_and_handler_are_as_before_afterwards() -> None:
    handler = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 100, 7)
    try:
        with time_limit(5):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 5
        seconds, period = signal.getitimer(signal.ITIMER_REAL)
        assert 90 < seconds <= 100
        assert period == 7
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_there_is_no_limit_without_a_number_or_in_another_thread() -> None:
    with time_limit(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    seen: list[tuple[float, float]] = []

    def work() -> None:
        with time_limit(5):
            seen.append(signal.getitimer(signal.ITIMER_REAL))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(0, 0)]


def test_ctrl_c_is_told_from_what_code_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert before is signal.default_int_handler
    assert is_ours(KeyboardInterrupt())  # nobody can tell
    with interrupts_marked():
        with pytest.raises(UserInterrupt) as caught:
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.value.exit_code == 130
        assert is_ours(caught.value)
        assert not is_ours(KeyboardInterrupt())
    assert signal.getsignal(signal.SIGINT) is before
    assert is_ours(TimeIsUp())
    assert not is_ours(SystemExit())


BUSY = """
import itertools
from dqn_cli.interrupts import interrupts_marked
with interrupts_marked():
    print("busy", flush=True)
    sum(itertools.repeat(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_a_second_ctrl_c_ends_code_that_never_returns_to_python() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    time.sleep(0.1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.wait(2) == -signal.SIGINT
