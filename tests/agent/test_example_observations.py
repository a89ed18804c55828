from __future__ import annotations

import math

from dqn_cli.agent.example_observations import example_observations
from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Part, Spaces

PARTS = (
    Part("view", PICTURE, (6, 5, 3), (0.0,), (255.0,), True),
    Part("choice", ONE_HOT, (4,), (0.0,), (1.0,), False),
    Part("flags", BINARY, (2, 3), (0.0,), (1.0,), False),
    Part("speed", VECTOR, (2,), (-math.inf, 2.0), (math.inf, 3.0), False),
)


def test_each_part_has_values_that_it_may_have() -> None:
    obs = example_observations(Spaces(PARTS, 2), rows=50)
    assert obs.shape == (50, 90 + 4 + 6 + 2)
    view, choice, flags, speed = obs.split([90, 4, 6, 2], 1)
    assert (view == view.round()).all()
    assert (view.min(), view.max()) == (0, 255)
    assert (choice.sum(1) == 1).all()
    assert set(choice.unique().tolist()) == {0, 1}
    assert set(flags.unique().tolist()) == {0, 1}
    assert -10 <= speed[:, 0].min() < -5
    assert 5 < speed[:, 0].max() <= 10
    assert 2 <= speed[:, 1].min() < speed[:, 1].max() <= 3


def test_frames_come_first() -> None:
    assert example_observations(Spaces(PARTS[:1], 2, frames=4), 3).shape == (3, 4, 6, 5, 3)
    assert example_observations(Spaces(PARTS, 2, frames=4), 3).shape == (3, 4, 102)
