from __future__ import annotations

import signal

from dqn_cli.runs.outcomes import Interrupted, TrainingFailure


def test_an_interruption_carries_the_exit_code_of_its_signal() -> None:
    interruption = Interrupted(128 + signal.SIGTERM)
    assert (str(interruption), interruption.exit_code) == ("interrupted", 143)


def test_a_failure_is_no_interruption() -> None:
    assert not issubclass(TrainingFailure, Interrupted)
    assert not issubclass(Interrupted, TrainingFailure)
