from __future__ import annotations

import json

import numpy as np
import pytest

from dqn_cli.training.randomness import Purpose, Randomness

SEEDS = [3, 1, 2**40]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_the_same_seeds_and_purpose_give_the_same_numbers(purpose: Purpose) -> None:
    first, again = (Randomness(SEEDS, purpose).uniform(100) for _ in range(2))
    assert np.array_equal(first, again)


def test_every_purpose_and_seed_has_numbers_of_its_own() -> None:
    drawn = np.concatenate([Randomness(SEEDS, purpose).uniform(1000) for purpose in Purpose])
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    # the deviation of a correlation of 1000 pairs is 0.032
    assert np.abs(correlation).max() < 0.13


def test_drawing_for_one_purpose_never_shifts_another() -> None:
    alone = Randomness(SEEDS, Purpose.replay).uniform(5)
    exploration, replay = Randomness(SEEDS, Purpose.exploration), Randomness(SEEDS, Purpose.replay)
    exploration.uniform(17)
    assert np.array_equal(replay.uniform(5), alone)


def test_a_members_numbers_do_not_depend_on_the_other_members() -> None:
    together = Randomness(SEEDS, Purpose.weights)
    alone = [Randomness([seed], Purpose.weights) for seed in SEEDS]
    for shape in ((4,), (2, 3)):
        expected = np.concatenate([randomness.uniform(*shape) for randomness in alone])
        assert np.array_equal(together.uniform(*shape), expected)


def test_numbers_are_uniform_on_the_unit_interval_in_the_shape_asked_for() -> None:
    drawn = Randomness(SEEDS, Purpose.evaluation).uniform(50, 40)
    assert drawn.shape == (3, 50, 40)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    tenths = np.histogram(drawn, bins=10, range=(0, 1))[0]
    assert ((tenths - 600) ** 2 / 600).sum() < 27.9  # 9 degrees of freedom, 0.1 %


def test_normal_numbers_are_standard_normal_in_the_shape_asked_for() -> None:
    drawn = Randomness(SEEDS, Purpose.noise).normal(50, 400)
    assert drawn.shape == (3, 50, 400)
    # four deviations of the mean, the variance and the fourth moment of 60,000 numbers
    assert abs(drawn.mean()) < 4 / 60_000**0.5
    assert abs((drawn**2).mean() - 1) < 4 * (2 / 60_000) ** 0.5
    assert abs((drawn**4).mean() - 3) < 4 * (96 / 60_000) ** 0.5
    assert len(np.unique(drawn)) == drawn.size


def test_a_members_normal_numbers_do_not_depend_on_the_other_members() -> None:
    together = Randomness(SEEDS, Purpose.noise)
    alone = [Randomness([seed], Purpose.noise) for seed in SEEDS]
    for shape in ((4,), (2, 3)):
        expected = np.concatenate([randomness.normal(*shape) for randomness in alone])
        assert np.array_equal(together.normal(*shape), expected)


def test_both_kinds_of_numbers_come_from_one_stream() -> None:
    one, other = Randomness(SEEDS, Purpose.noise), Randomness(SEEDS, Purpose.noise)
    one.normal(3)
    assert not np.array_equal(one.uniform(5), other.uniform(5))


def test_a_state_resumes_the_streams_even_as_json() -> None:
    randomness = Randomness(SEEDS, Purpose.replay)
    randomness.uniform(7)
    state = json.loads(json.dumps(randomness.state()))
    expected = randomness.uniform(9)
    resumed = Randomness([0, 0, 0], Purpose.weights)
    resumed.load(state)
    assert np.array_equal(resumed.uniform(9), expected)
    assert np.array_equal(resumed.uniform(9), randomness.uniform(9))


def test_a_state_stays_as_it_was_while_the_streams_go_on() -> None:
    randomness = Randomness(SEEDS, Purpose.replay)
    state = randomness.state()
    first = randomness.uniform(3)
    randomness.load(state)
    assert np.array_equal(randomness.uniform(3), first)


def test_a_state_of_other_members_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Randomness(SEEDS, Purpose.replay).load(Randomness([1], Purpose.replay).state())


def test_iterating_gives_the_members_own_generators() -> None:
    generators = list(Randomness(SEEDS, Purpose.weights))
    drawn = [generator.random(4) for generator in generators]
    assert np.array_equal(drawn, Randomness(SEEDS, Purpose.weights).uniform(4))
