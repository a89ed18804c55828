from __future__ import annotations

import json

import numpy as np
import pytest

from dqn_cli.training.randomness import BLOCK, Purpose, Randomness

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


def test_each_kind_of_numbers_has_a_stream_of_its_own() -> None:
    one, other = Randomness(SEEDS, Purpose.noise), Randomness(SEEDS, Purpose.noise)
    one.normal(3)
    next(iter(one)).random(7)
    assert np.array_equal(one.uniform(5), other.uniform(5))
    one.uniform(2)
    normal, skipped = one.normal(4), other.normal(3)
    assert np.array_equal(normal, other.normal(4))
    # the deviation of a correlation of 1000 pairs is 0.032
    uniform, normal = one.uniform(1000), one.normal(1000)
    own = np.stack([generator.random(1000) for generator in one])
    correlation = np.corrcoef(np.concatenate([uniform, normal, own])) - np.eye(9)
    assert np.abs(correlation).max() < 0.13
    assert skipped.shape == (3, 3)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]])
def test_numbers_are_the_same_however_many_are_asked_for_at_once(
    kind: str, seeds: list[int]
) -> None:
    streams = [getattr(Randomness(seeds, Purpose.replay), kind) for _ in range(2)]
    counts = (3, 1, BLOCK - 5, 2, 7, 2 * BLOCK + 1, BLOCK, 30)
    drawn = [streams[0](count) for count in counts]
    whole = streams[1](sum(counts))
    assert np.array_equal(np.concatenate(drawn, 1), whole)  # and later ones spoil no earlier ones
    assert np.array_equal(streams[0](4, 5), streams[1](20).reshape(-1, 4, 5))


def test_a_state_resumes_the_streams_even_as_json() -> None:
    randomness = Randomness(SEEDS, Purpose.replay)
    randomness.uniform(7)
    states = json.loads(json.dumps([randomness.state(member) for member in range(3)]))
    expected = randomness.uniform(9)
    resumed = Randomness([0, 0, 0], Purpose.weights)
    for member, state in enumerate(states):
        resumed.load(state, member)
    assert np.array_equal(resumed.uniform(9), expected)
    assert np.array_equal(resumed.uniform(9), randomness.uniform(9))


def test_a_state_stays_as_it_was_while_the_streams_go_on() -> None:
    randomness = Randomness(SEEDS, Purpose.replay)
    states = [randomness.state(member) for member in range(3)]
    first = randomness.uniform(3)
    for member, state in enumerate(states):
        randomness.load(state, member)
    assert np.array_equal(randomness.uniform(3), first)


@pytest.mark.parametrize("count", [7, BLOCK, BLOCK + 7])
def test_states_of_members_that_were_alone_go_on_side_by_side(count: int) -> None:
    alone = [Randomness([seed], Purpose.replay) for seed in SEEDS]
    resumed = Randomness([0, 0, 0], Purpose.replay)
    for member, each in enumerate(alone):
        each.uniform(count)
        each.normal(3)
        resumed.load(json.loads(json.dumps(each.state(0))), member)
    for _ in range(3):
        for kind in ("uniform", "normal"):
            expected = np.concatenate([getattr(each, kind)(400) for each in alone])
            assert np.array_equal(getattr(resumed, kind)(400), expected)


def test_iterating_gives_the_members_own_generators() -> None:
    together = Randomness(SEEDS, Purpose.weights)
    drawn = [generator.random(4) for generator in together]
    for seed, mine in zip(SEEDS, drawn, strict=True):
        (alone,) = Randomness([seed], Purpose.weights)
        assert np.array_equal(alone.random(4), mine)
    later = [generator.random(4) for generator in together]
    resumed = Randomness([0, 0, 0], Purpose.weights)
    for member in range(3):
        resumed.load(together.state(member), member)
    assert not np.array_equal(drawn, later)
    expected = [generator.random(4) for generator in together]
    assert np.array_equal([generator.random(4) for generator in resumed], expected)
