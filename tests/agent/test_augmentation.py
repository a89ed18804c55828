from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from test_multi import SPACES, observations, picture, spaces_of, vector
from torch import Tensor, nn

from dqn_cli.agent.augmentation import NoAugment, Shift
from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.spaces import PICTURE, Spaces

GRAY = array_spaces((3, 3, 1), (0.0,), (255.0,), 2)
PIXELS = torch.arange(1.0, 10.0).view(1, 3, 3, 1)
NUMBERS = torch.tensor([0.0, 0.4, 0.9])  # of three shifts: -1, 0 and 1


def shifted(row: float, column: float, pad: int = 1) -> list[list[float]]:
    moved = Shift(pad, 0.0).augmented(PIXELS, torch.tensor([[row, column, 0.5]]), GRAY)
    rows: list[list[float]] = moved[0, :, :, 0].tolist()
    return rows


def test_a_picture_moves_and_its_edge_is_repeated() -> None:
    assert shifted(0.4, 0.4) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert shifted(0.0, 0.4) == [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    assert shifted(0.9, 0.4) == [[4, 5, 6], [7, 8, 9], [7, 8, 9]]
    assert shifted(0.4, 0.0) == [[1, 1, 2], [4, 4, 5], [7, 7, 8]]
    assert shifted(0.9, 0.0) == [[4, 4, 5], [7, 7, 8], [7, 7, 8]]
    # A number that is rounded up to 1 is the farthest shift.
    assert shifted(1.0, 0.4) == shifted(0.9, 0.4)


@pytest.mark.parametrize("pad", [1, 2, 4])
def test_it_is_replication_padding_and_a_crop(pad: int) -> None:
    spaces = array_spaces((2, 7, 9, 3), (0.0,), (255.0,), 2, frames=2)
    obs = observations(spaces, 20)
    uniform = torch.from_numpy(np.random.default_rng(0).random((20, 3)))
    moved = Shift(pad, 0.0).augmented(obs, uniform, spaces)
    for before, after, (row, column, _) in zip(obs, moved, uniform, strict=True):
        planes = before.permute(0, 3, 1, 2)  # [frames, colors, height, width]
        padded = nn.functional.pad(planes, (pad,) * 4, mode="replicate")
        top, left = (int(x * (2 * pad + 1)) for x in (row, column))
        expected = padded[:, :, top : top + 7, left : left + 9].permute(0, 2, 3, 1)
        assert torch.equal(after, expected)


def test_every_shift_is_equally_likely() -> None:
    count = 9000
    uniform = torch.from_numpy(np.random.default_rng(0).random((count, 3)))
    moved = Shift(1, 0.0).augmented(PIXELS.expand(count, -1, -1, -1).double(), uniform, GRAY)
    seen = {tuple(map(tuple, shifted(a, b))) for a, b in product(NUMBERS.tolist(), repeat=2)}
    found, counts = moved.flatten(1).unique(dim=0, return_counts=True)
    assert len(found) == len(seen) == 9
    assert counts.double().std() < 60
    assert (counts - 1000).abs().max() < 120


@pytest.mark.parametrize(
    ("uniform", "z"), [(0.5, 0.0), (0.8413447, 1.0), (0.1586553, -1.0), (0.0, -2.0), (1.0, 2.0)]
)
def test_intensity_is_a_factor_around_one(uniform: float, z: float) -> None:
    numbers = torch.tensor([[0.4, 0.4, uniform]], dtype=torch.float64)
    lit = Shift(1, 0.05).augmented(PIXELS.double(), numbers, GRAY)
    torch.testing.assert_close(lit, PIXELS.double() * (1 + 0.05 * z), rtol=1e-6, atol=0)


@pytest.mark.parametrize("spaces", SPACES.values(), ids=SPACES)
def test_only_the_pictures_of_an_observation_change(spaces: Spaces) -> None:
    obs = observations(spaces, 5)
    still = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64).expand(5, 3)
    same = Shift(2, 0.1).augmented(obs, still, spaces)
    torch.testing.assert_close(same, obs, rtol=1e-12, atol=1e-12)
    moved = Shift(2, 0.1).augmented(obs, torch.zeros(5, 3, dtype=torch.float64), spaces)
    assert moved.shape == obs.shape
    frames = max(spaces.frames, 1)
    sizes = [part.size for part in spaces.parts]
    pairs = zip(*(x.reshape(5, frames, -1).split(sizes, 2) for x in (obs, moved)), strict=True)
    for part, (before, after) in zip(spaces.parts, pairs, strict=True):
        assert torch.equal(before, after) is (part.kind != PICTURE)


def test_observations_without_a_picture_are_refused() -> None:
    spaces = array_spaces((4,), (0,) * 4, (1,) * 4, 2)
    with pytest.raises(
        ValueError, match=r"augment=shift moves pictures, .* have none: use augment"
    ):
        Shift(4, 0.0).check(spaces)
    NoAugment().check(spaces)
    Shift(4, 0.0).check(spaces_of(picture(12, 9, 3), vector(4)))


def batch_of(obs: Tensor, next_obs: Tensor) -> Batch:
    one, flags = torch.ones(len(obs)), torch.ones(len(obs), 2, dtype=torch.bool)
    action = torch.zeros(len(obs), dtype=torch.int64)
    return Batch(obs, action, flags, one, one, next_obs, flags, one, one.bool(), one.bool())


def random_of(rows: int) -> RandomInputs:
    empty = torch.empty(2, rows, 0)
    return RandomInputs(empty, torch.empty(3, 0), torch.rand(2, rows, 3))


def test_both_observations_of_a_transition_move_by_their_own_numbers() -> None:
    obs, random = PIXELS.expand(6, -1, -1, -1), random_of(6)
    batch, shift = batch_of(obs, obs), Shift(1, 0.0)
    changed = shift.batch(batch, random, GRAY)
    assert isinstance(changed, Batch)
    assert torch.equal(changed.obs, shift.augmented(obs, random.augment[0], GRAY))
    assert torch.equal(changed.next_obs, shift.augmented(obs, random.augment[1], GRAY))
    assert changed[1:5] == batch[1:5]
    whole = shift.batch(batch._replace(next_obs=torch.empty(6, 0)), random, GRAY)
    assert isinstance(whole, Batch)
    assert whole.next_obs.shape == (6, 0)


def test_a_sequence_moves_as_one() -> None:
    obs = PIXELS.expand(2, 4, 3, 3, 1)
    flags = torch.ones(2, 3, 2, dtype=torch.bool)
    ones, steps = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.int64)
    sequences = Sequences(
        obs, torch.empty(2, 0), torch.zeros(2, 4, dtype=torch.bool), steps, flags, ones, ones,
        steps, flags, ones, ones.bool(),
    )  # fmt: skip
    random, shift = random_of(8), Shift(1, 0.0)
    changed = shift.batch(sequences, random, GRAY)
    for row in range(2):
        expected = shift.augmented(PIXELS, random.augment[0, row : row + 1], GRAY)
        for time in range(4):
            assert torch.equal(changed.obs[row, time], expected[0])


def test_nothing_is_done_without_numbers() -> None:
    batch = batch_of(PIXELS, PIXELS)
    assert NoAugment().batch(batch, random_of(1), GRAY) is batch
