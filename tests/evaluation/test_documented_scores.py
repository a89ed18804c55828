from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from dqn_cli.config.paths import config_folder
from dqn_cli.evaluation.documented_scores import (
    FALSE_ALARMS,
    chance_as_low,
    documented_scores,
    fewest_seeds,
)


@pytest.mark.parametrize(
    ("fresh", "documented", "chance"),
    [
        ([1, 2], [3, 4, 5], 1 / 10),  # the lowest of C(5, 2) ways
        ([1, 3], [2, 4, 5], 2 / 10),  # ranks 1 + 2 or 1 + 3
        ([4, 5], [1, 2, 3], 1),
        ([7, 7, 7], [7] * 9, 1),  # all alike
        ([0], [1] * 99, 1 / 100),
    ],
)
def test_chances_counted_by_hand(
    fresh: list[float], documented: list[float], chance: float
) -> None:
    assert chance_as_low(fresh, documented) == pytest.approx(chance)


def test_the_chance_is_the_share_of_all_splits_that_rank_as_low() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        scores = random.integers(0, 6, 10).astype(float)  # with many ties
        order = sorted(scores)
        rank = {x: np.mean([i for i, y in enumerate(order) if y == x]) for x in scores}
        ranks = [rank[x] for x in scores]
        reached = sum(ranks[:3])
        as_low = sum(sum(split) <= reached + 1e-9 for split in combinations(ranks, 3))
        found = chance_as_low(scores[:3].tolist(), scores[3:].tolist())
        assert found == pytest.approx(as_low / comb(10, 3))


def test_equal_settings_are_rarely_called_worse_and_bad_ones_nearly_always() -> None:
    random = np.random.default_rng(0)
    documented = random.normal(0, 1, 30).tolist()
    equal, worse = (
        [chance_as_low(random.normal(shift, 1, 3).tolist(), documented) for _ in range(400)]
        for shift in (0.0, -4.0)
    )
    assert np.mean([chance < FALSE_ALARMS for chance in equal]) <= 0.03  # 99 % of 400 cases
    assert np.mean([chance < FALSE_ALARMS for chance in worse]) > 0.95


@pytest.mark.parametrize("documented", [5, 10, 30])
def test_fewest_seeds_is_the_first_number_that_can_tell(documented: int) -> None:
    least = fewest_seeds(documented)
    old = [1.0] * documented
    assert (
        chance_as_low([0.0] * least, old) <= FALSE_ALARMS < chance_as_low([0.0] * (least - 1), old)
    )


def test_documented_settings_are_shipped_ones() -> None:
    found = documented_scores()
    assert len(found["CartPole-v1/dqn"].scores) == 30
    for name, documented in found.items():
        env, _, agent = name.rpartition("/")
        assert documented.words == [f"env={env}", f"agent={agent}"]
        assert (config_folder() / "env" / f"{env}.yaml").is_file()
        assert len(documented.scores) >= 5
