from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dqn_cli.arrays import Array
from dqn_cli.replay.stored_rings import find_problem
from dqn_cli.replay.stream import EnvStep, Stream

STEPS = 9


@pytest.fixture
def stream() -> Stream:
    """Two rings that were written round and round, with an episode's end in each."""
    obs, mask = np.zeros((1, 2, 3), np.float32), np.ones((1, 2, 4), bool)
    stream = Stream(8, obs, mask, masked=False, state_size=0, window=2)
    for step in range(STEPS):
        ended = np.array([[step == 3, step == 5]])
        never = np.zeros((1, 2), bool)
        reward = np.ones((1, 2), np.float32)
        result = EnvStep(reward, ended, never, never, obs + step, mask, obs, mask)
        stream.append(np.full((1, 2), step % 4), result)
    return stream


def copied(stream: Stream) -> dict[str, Array]:
    return {name: values.copy() for name, values in stream.contents(0).items()}


def test_written_rings_are_taken_over(stream: Stream) -> None:
    assert find_problem(stream, copied(stream)) is None
    stream.check_valid()


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("head", lambda x: x - 100, "stream.head"),
        ("head", lambda x: x + 50, "stream.queue"),
        ("first", lambda x: x - 100, "stream.first"),
        ("first", lambda x: x + 1, "stream.queue"),
        ("count", lambda x: x + 1, "stream.count"),
        ("count", lambda x: x - 9, "stream.count"),
        ("queue", lambda x: x[:, ::-1].copy(), "stream.queue"),
        ("queue", lambda x: x + 2, "stream.queue"),
        ("begins", np.zeros_like, "stream.queue"),
        ("action", lambda x: x + 4, "stream.action"),
        ("appends", lambda x: x - 100, "stream.appends"),
    ],
)
def test_rings_that_would_give_wrong_samples_are_refused(
    stream: Stream, name: str, change: Callable[[Array], Array], told: str
) -> None:
    contents = copied(stream)
    contents[name] = np.asarray(change(contents[name]))
    problem = find_problem(stream, contents)
    assert problem is not None
    assert problem[0] == told
