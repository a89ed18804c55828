from __future__ import annotations

import time

import pytest
from strange_inspections import config_of

from dqn_cli.checking.inspection import inspect_env
from dqn_cli.checking.seen import Answer, Inspection

SECONDS = 4.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.checking.inspection.LEAST_PATIENCE", 0.3)


def inspected(kind: str = "", seconds: float = SECONDS, **keys: object) -> Inspection:
    return inspect_env(config_of(kind, **keys), "float32", seconds)


@pytest.mark.parametrize("kind", ["", "masked"])
def test_every_question_is_answered(kind: str) -> None:
    inspection = inspected(kind)
    assert inspection.failure == ""
    assert inspection.gymnasium == ()
    yes = Answer(True)
    assert inspection[4:] == (yes, yes, yes, yes)


def test_an_environment_that_ignores_its_seed_is_not_taken_for_one_of_shared_state() -> None:
    inspection = inspected("unseeded")
    assert inspection.repeats.is_yes is False
    assert inspection.copies.is_yes
    assert inspection.independent.is_yes is None


def test_shared_state_and_single_copies_are_found() -> None:
    shared = inspected("shared")
    assert shared.repeats.is_yes
    assert shared.independent.is_yes is False
    single = inspected("single")
    assert single.copies == Answer(False, "port 5005 is taken")


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("exit", "its process ended with exit code 7 in step 30"),
        ("segfault", "its process was killed by SIGSEGV in step 30"),
        ("hang", "it did not answer within 0.8 s in step 30"),
    ],
)
def test_what_ends_or_hangs_is_described_all_the_same(kind: str, failure: str) -> None:
    start = time.monotonic()
    inspection = inspected(kind, seconds=2)
    assert inspection.failure == failure
    assert inspection.trial is None
    assert inspection.description is not None
    assert time.monotonic() - start < 5


def test_a_hang_while_it_is_made_is_told() -> None:
    inspection = inspected("in_init", seconds=1)
    assert inspection.failure == "it did not answer within 0.8 s while it was made"
    assert inspection.description is None


def test_a_broken_contract_keeps_what_was_seen() -> None:
    inspection = inspected("raise")
    assert inspection.trial is not None
    assert "no licence" in inspection.trial.failure
    assert inspection.repeats.is_yes is None


def test_actions_that_can_not_be_counted_are_not_tried() -> None:
    inspection = inspected("continuous")
    assert inspection.trial is None
    assert inspection.description is not None
    assert inspection.description.action_error


def test_parts_that_no_network_reads_are_left_out() -> None:
    inspection = inspected("texts")
    assert inspection.trial is not None
    assert inspection.trial.failure == ""
    assert inspection.repeats.is_yes


def test_a_slow_environment_is_checked_in_time() -> None:
    start = time.monotonic()
    inspection = inspected("slow", seconds=3)
    assert time.monotonic() - start < 4.5
    assert inspection.trial is not None
    assert inspection.trial.steps > 5
