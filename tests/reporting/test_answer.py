from __future__ import annotations

from pathlib import Path

from dqn_cli.reporting.answer import answer, difference_note
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import tabulate

CALM = (-2.0, -1.0, 0.0, 1.0, 2.0)


def rows(choice: str, *scores: float, env: str = "CartPole-v1") -> list[RunRow]:
    return [RunRow(Path("run"), env, choice, [], "finished", final=score) for score in scores]


def around(choice: str, middle: float) -> list[RunRow]:
    return rows(choice, *(middle + offset for offset in CALM))


def told(*found: list[RunRow]) -> list[str]:
    together = [row for group in found for row in group]
    return answer(tabulate(together), together)


def test_a_better_choice_is_named_with_its_uncertainty() -> None:
    (sentence,) = told(around("dqn", 10), around("double", 30), around("soft", 20))
    assert sentence == (
        "double is better than each of the 2 other choices: it leads soft, the next, by 10.0"
        " (95 %: 7.69 to 12.3; p 1.7e-05) in the mean."
    )


def test_two_choices_need_no_count() -> None:
    (sentence,) = told(around("dqn", 10), around("double", 30))
    assert sentence.startswith("double is better than the other choice: it leads dqn")


def test_what_is_not_shown_is_said_with_the_seeds_that_would_show_it() -> None:
    first, second = told(around("dqn", 10), around("double", 11))
    assert first.startswith("No choice is shown to be better than another. double has the highest")
    assert "it leads dqn, the next, by 1.00 (95 %: -1.31 to 3.31; p 0.35) in the mean" in first
    assert "about 41 seeds of each would show it in four experiments of five" in second


def test_a_lead_that_is_next_to_nothing_needs_more_seeds_than_anybody_trains() -> None:
    _, second = told(around("dqn", 10), around("double", 10.01))
    assert second == "Its lead over dqn is so small that 1,000 seeds would not show it."
    assert len(told(around("dqn", 10), around("double", 10))) == 1  # no lead at all


def test_some_may_be_shown_and_others_not() -> None:
    first, second = told(around("dqn", 10), around("double", 30), around("soft", 29.5))
    assert first.startswith(
        "double is better than dqn, but not shown to be better than soft: it leads soft, the next,"
    )
    assert "lead over soft" in second


def test_few_seeds_can_not_tell() -> None:
    (sentence,) = told(rows("dqn", 1, 2, 3), rows("double", 100, 101, 102))
    assert sentence == (
        "There are too few seeds to tell which is better: it takes 5 of each. double has the"
        " highest mean, which may be chance."
    )


def test_one_choice_is_described() -> None:
    (sentence,) = told(around("", 10))
    assert sentence == (
        "This setting scores 10.0 on CartPole-v1 (95 %: 8.00 to 12.0, 5 seeds),"
        " by the interquartile mean."
    )
    (few,) = told(rows("dqn", 4) + rows("dqn", 7, 8, env="Acrobot-v1"))
    assert few == (
        "dqn scores 7.50 on Acrobot-v1 (2 seeds, too few for an interval) and 4.00 on CartPole-v1"
        " (1 seed, too few for an interval), by the interquartile mean."
    )


def test_a_sweep_that_still_trains_has_no_answer_yet() -> None:
    running = [RunRow(Path("run"), "A", "dqn", [], "running")] * 2
    failed = [RunRow(Path("run"), "A", "dqn", [], "failed")]
    assert told(running, failed) == [
        "No run has finished yet, so there is no answer: 2 running and 1 failed."
    ]
    sentences = told(around("dqn", 10), around("double", 30), running)
    assert sentences[0].startswith("double is better than the other choice")
    assert sentences[-1] == "Only finished runs count: 10 finished and 2 running."


def test_choices_without_some_environment_are_not_compared() -> None:
    far = around("far", 10) + rows("far", 3.0, env="Acrobot-v1")
    near = around("near", 1) + rows("near", 3.0, env="Acrobot-v1")
    sentences = told(around("dqn", 10), far, near)
    assert "Not compared: 1 choice without a finished run in some environment." in sentences


def test_choices_without_an_environment_in_common_are_not_compared() -> None:
    first = told(around("dqn", 10), rows("double", *CALM, env="Acrobot-v1"))[0]
    assert first == (
        "No two choices have finished runs in all environments, so none can be compared."
    )


def test_a_best_choice_whose_runs_failed_in_part_is_judged_without_them() -> None:
    failed = RunRow(Path("run"), "CartPole-v1", "double", [], "failed")
    assert told(around("dqn", 10), around("double", 30), [failed])[-1] == (
        "double is evaluated without 1 run of its own that failed."
    )
    failed = RunRow(Path("run"), "CartPole-v1", "dqn", [], "failed")
    assert "judged" not in told(around("dqn", 10), around("double", 30), [failed])[-1]


def test_equal_choices_have_the_same_mean() -> None:
    (sentence,) = told(around("dqn", 10), around("double", 10))
    assert sentence == (
        "No choice is shown to be better than another. dqn and double have the same mean, the"
        " highest."
    )


def test_finished_runs_without_evaluations_have_no_answer() -> None:
    (sentence,) = told([RunRow(Path("run"), "CartPole-v1", "dqn", [], "finished")])
    assert sentence == "No finished run has evaluated its policy, so there is no answer."


def test_what_is_pooled_is_told() -> None:
    mixed = [
        RunRow(Path("run"), "A", "dqn", [f"gamma={gamma}", f"seed={gamma}"], "finished", final=1.0)
        for gamma in ("0.9", "0.8")
    ]
    assert told(mixed)[-1] == "Runs of one choice also differ in gamma."
    assert len(told(mixed[:1])) == 1


def test_the_note_says_what_a_score_is() -> None:
    one = tabulate(around("dqn", 10))
    assert difference_note(one) == (
        "Score: mean return of the last greedy evaluation. Fewest seeds of a choice: 5."
    )
    two = tabulate(around("dqn", 10) + rows("dqn", 1, env="Acrobot-v1"))
    assert "averaged over 2 environments. Fewest seeds of a choice: 1." in difference_note(two)
