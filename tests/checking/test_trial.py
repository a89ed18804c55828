from __future__ import annotations

import numpy as np
import pytest
from strange_inspections import config_of, new_progress

from dqn_cli.checking.seen import Trial
from dqn_cli.checking.trial import make_envs, random_actions, try_out

SECONDS = 0.2


def tried(kind: str = "", **keys: object) -> Trial:
    return try_out(config_of(kind, **keys), "float32", SECONDS, new_progress())


def test_steps_rewards_and_ends_are_counted() -> None:
    trial = tried()
    assert trial.failure == ""
    assert trial.steps >= 100
    assert set(trial.lengths) == {10}
    assert trial.terminated == len(trial.lengths) == trial.steps // 10
    assert trial.truncated == 0
    low, high, mean = trial.rewards
    assert 0 <= low < 0.4 < mean < 0.6 < high <= 1
    assert 0 < trial.longest <= trial.seconds < 10 * SECONDS


def test_truncated_episodes_are_counted_apart() -> None:
    trial = tried("endless", max_episode_steps=25)
    assert set(trial.lengths) == {25}
    assert trial.terminated == 0
    assert trial.truncated == len(trial.lengths)


def test_ranges_and_changes_are_those_of_each_part() -> None:
    trial = tried("texts", drop=["text"])
    assert trial.spaces is not None
    assert [part.name for part in trial.spaces.parts] == ["number", "still"]
    (low, high), still = trial.ranges
    assert 0 <= low < 0.1 < 0.9 < high <= 1
    assert still == (0, 0)
    assert trial.changing == (True, False)


def test_only_legal_actions_are_taken() -> None:
    envs = make_envs(config_of("masked"), "float32")
    rng = np.random.default_rng(0)
    assert {int(random_actions(envs, rng)[0, 0]) for _ in range(50)} == {0, 2}
    trial = tried("masked")
    assert trial.masked
    assert trial.legal == 2
    free = tried()
    assert (free.masked, free.legal) == (False, 3)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("bytes", "which uint8 can't hold"),
        ("short", "has shape [1]; declared is [2]"),
        ("nan", "gave a observation that is not a finite number"),
        ("late", "action_mask is in a step's info"),
        ("raise", "step raised RuntimeError: no licence"),
        ("sys_exit", "step raised SystemExit: 5"),
        ("continuous", "actions that can be counted"),
    ],
)
def test_a_failure_is_told(kind: str, failure: str) -> None:
    assert failure in tried(kind).failure


def test_what_was_seen_before_a_failure_is_kept() -> None:
    trial = tried("raise")
    assert trial.steps == 29
    assert trial.lengths == (10, 10)


def test_memory_is_that_of_a_transition_in_a_long_stream() -> None:
    # An observation of two floats, a reward, an action, three flags, and a place in the queue.
    assert tried().transition_bytes == 2 * 4 + 4 + 1 + 3 + 8
    assert tried("first").transition_bytes == 12 * 12 * 3 + 16
    assert tried("masked").transition_bytes == 24 + 3


def test_records_are_of_the_first_seed_and_of_a_later_one() -> None:
    first, later = tried().records
    assert first.seed_number == 0 < later.seed_number
    assert len(first.actions) == 200
    assert len(first.digests) == 201


def test_a_slow_environment_takes_fewer_steps() -> None:
    trial = tried("slow")
    assert 1 <= trial.steps <= 5
    assert trial.longest > 0.05
