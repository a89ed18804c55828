from __future__ import annotations

import pytest
from strange_envs import Strange
from strange_inspections import config_of, new_progress

from dqn_cli.checking.repeats import copies_are_independent, repeats_seeds, runs_in_process
from dqn_cli.checking.seen import Answer, Record
from dqn_cli.checking.tasks import run_task
from dqn_cli.checking.trial import try_out


def records_of(kind: str) -> tuple[Record, ...]:
    return try_out(config_of(kind), "float32", 0.2, new_progress()).records


@pytest.mark.parametrize("kind", ["", "masked", "first", "nested"])
def test_a_seed_repeats_its_episodes(kind: str) -> None:
    records = records_of(kind)
    assert repeats_seeds(config_of(kind), "float32", records, new_progress()) == Answer(True)


def test_a_seed_that_is_ignored_is_found() -> None:
    answer = repeats_seeds(config_of("unseeded"), "float32", records_of("unseeded"), new_progress())
    assert answer == Answer(False, "the same seed led to another first observation")


def test_another_result_of_a_step_is_found() -> None:
    first, *_ = records_of("")
    digests = (*first.digests[:5], b"another", *first.digests[6:])
    answer = repeats_seeds(
        config_of(), "float32", [first._replace(digests=digests)], new_progress()
    )
    assert answer.reason == "step 5 after the same seed and actions had another result"


def test_a_failure_while_repeating_is_an_answer() -> None:
    answer = repeats_seeds(config_of("raise"), "float32", records_of(""), new_progress())
    assert answer.is_yes is False


def test_two_copies_are_independent() -> None:
    answers = copies_are_independent(config_of(), "float32", records_of(""), new_progress())
    assert answers == (Answer(True), Answer(True))


def test_a_shared_global_state_is_found() -> None:
    records = records_of("shared")
    assert repeats_seeds(config_of("shared"), "float32", records, new_progress()).is_yes
    copies, independent = copies_are_independent(
        config_of("shared"), "float32", records, new_progress()
    )
    assert copies == Answer(True)
    assert independent.is_yes is False


def test_an_environment_of_which_one_alone_can_exist_is_found() -> None:
    records = records_of("single")
    Strange.alive = 0
    copies, independent = copies_are_independent(
        config_of("single"), "float32", records, new_progress()
    )
    assert copies == Answer(False, "port 5005 is taken")
    assert independent.is_yes is None


def test_two_copies_run_in_processes_of_their_own() -> None:
    assert runs_in_process(config_of(), "float32", new_progress()) == Answer(True)


def test_a_crash_in_another_process_is_a_failure() -> None:
    def task(progress: object) -> object:
        config = config_of("exit", kwargs={"at": 5})
        return runs_in_process(config, "float32", progress)  # type: ignore[arg-type]

    result = run_task(task, 5, 10)
    assert result.value is None
    assert result.failure
