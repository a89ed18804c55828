from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.observation_encoder import Channels, ObservationEncoder
from dqn_cli.envs.vector_spaces import RowDecoder, encode_rows, take_rows

COPIES = 5
BOX = spaces.Box(-2, 3, (2, 3), np.float64)
PICTURE = spaces.Box(0, 255, (6, 7, 3), np.uint8)
CHANNELS_FIRST = spaces.Box(0, 255, (3, 6, 7), np.uint8)
CHOICES = spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [-3, 5]])
OBSERVATIONS = [
    BOX,
    spaces.Box(-2, 3, (), np.float64),
    PICTURE,
    CHANNELS_FIRST,
    spaces.Discrete(4, start=-2),
    CHOICES,
    spaces.MultiBinary((2, 3)),
    spaces.Tuple((BOX, spaces.Discrete(3))),
    spaces.Dict(a=spaces.Dict(b=BOX, c=CHANNELS_FIRST), d=CHOICES, e=spaces.Tuple((BOX,))),
]
ACTIONS = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    CHOICES,
    spaces.MultiBinary(3),
    spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2))),
    spaces.Dict(a=spaces.Discrete(2, start=5), b=spaces.MultiDiscrete([2, 2])),
]


def batch_of(space: gymnasium.Space[Any]) -> tuple[list[Any], Any]:
    """Random elements of a space, and a batch of them."""
    space.seed(3)
    each = [space.sample() for _ in range(COPIES)]
    batch: Any = create_empty_array(space, COPIES)
    return each, concatenate(space, each, batch)


@pytest.mark.parametrize("space", OBSERVATIONS, ids=str)
def test_a_batch_is_encoded_as_each_of_its_observations(space: gymnasium.Space[Any]) -> None:
    encoder = ObservationEncoder(space, (), Channels.auto)
    each, batch = batch_of(space)
    expected = np.stack([encoder(observation) for observation in each])
    np.testing.assert_array_equal(encode_rows(encoder, batch), expected)


@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_a_batch_of_actions_has_the_action_of_each_copy(space: gymnasium.Space[Any]) -> None:
    decoder, single = RowDecoder(space), ActionDecoder(space)
    assert decoder.count == single.count
    numbers = np.random.default_rng(0).integers(decoder.count, size=COPIES)
    batch = decoder(numbers)
    assert batch_space(space, COPIES).contains(batch)
    pairs = zip(iterate(batch_space(space, COPIES), batch), numbers.tolist(), strict=True)
    for action, number in pairs:
        expected = single(number)
        assert str(action) == str(expected) or np.array_equal(action, expected)


def test_rows_are_taken_from_every_part() -> None:
    each, batch = batch_of(OBSERVATIONS[-1])
    rows = np.array([False, True, False, False, True])
    taken = take_rows(batch, rows)
    np.testing.assert_array_equal(taken["a"]["b"], [each[1]["a"]["b"], each[4]["a"]["b"]])
    np.testing.assert_array_equal(taken["e"][0], [each[1]["e"][0], each[4]["e"][0]])


@pytest.mark.parametrize("outside", [[[4, 1], [1, 5]], [[0, 0], [-3, 5]], [[1, 0], [-3, 7]]])
def test_choices_that_were_not_declared_are_refused(outside: list[list[int]]) -> None:
    encoder = ObservationEncoder(CHOICES, (), Channels.auto)
    with pytest.raises(ValueError, match=r"the batch of observations is .*; declared is Multi"):
        encode_rows(encoder, np.array([CHOICES.start, outside]))


def test_masks_of_parts_are_joined_for_each_copy() -> None:
    decoder = RowDecoder(spaces.MultiDiscrete([2, 3]))
    parts = np.array([[1, 0, 1, 1, 0], [1, 1, 0, 0, 1]])
    joint = decoder.joint_masks(parts)
    assert joint.astype(int).tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 1]]
    np.testing.assert_array_equal(decoder.joint_masks(joint), joint)
