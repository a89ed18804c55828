from __future__ import annotations

import math

import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Part, Spaces

CAMERA = Part("camera", PICTURE, (4, 6, 3), (0.0,), (255.0,), True)
FLAGS = Part("flags", BINARY, (2,), (0.0,), (1.0,), True)
DEPTH = Part("depth", PICTURE, (4, 6), (0.0,), (9.0,), False)
ARM = Part("arm.angles", VECTOR, (3,), (-1.0, -2.0, -math.inf), (1.0, 2.0, math.inf), False)
NESTED = Spaces((CAMERA, FLAGS, ARM), 5)


def vector(size: int = 2, actions: int = 3) -> Spaces:
    return array_spaces((size,), (-1,) * size, (1,) * size, actions)


@pytest.mark.parametrize(("shape", "size"), [((), 1), ((4,), 4), ((2, 3), 6), ((4, 4, 2), 32)])
def test_an_observations_size_is_its_number_of_elements(shape: tuple[int, ...], size: int) -> None:
    spaces = array_spaces(shape, (0,), (1,), 2)
    assert spaces.observation_shape == shape
    assert spaces.observation_size == size


def test_several_parts_are_one_flat_array() -> None:
    assert NESTED.observation_shape == (72 + 2 + 3,)
    assert NESTED.byte_size == 74
    stacked = NESTED._replace(frames=4)
    assert stacked.observation_shape == (4, 77)
    assert stacked.frame_shape == (77,)


def test_one_bound_for_all_is_that_of_each_element() -> None:
    low, high = NESTED.bounds
    assert low == [0.0] * 74 + [-1.0, -2.0, -math.inf]
    assert high == [255.0] * 72 + [1.0] * 2 + [1.0, 2.0, math.inf]
    assert NESTED._replace(frames=2).bounds == (low * 2, high * 2)


def test_only_numbers_without_a_natural_scale_are_normalized() -> None:
    planes = CAMERA._replace(high=(1.0,))
    parts = (CAMERA, FLAGS, planes, DEPTH, ARM)
    assert [part.can_be_normalized for part in parts] == [False, False, False, True, True]
    assert [part.has_planes for part in parts] == [False, False, True, False, False]


def test_bytes_become_numbers_up_to_one() -> None:
    assert CAMERA.scale == 1 / 255
    assert CAMERA._replace(high=(255.0,) * CAMERA.size).scale == 1 / 255
    assert CAMERA._replace(high=(10.0,)).scale == 1
    assert DEPTH.scale == 1


def test_one_choice_is_one_hot_unless_it_is_stacked() -> None:
    choice = Spaces((Part("", ONE_HOT, (4,), (0.0,), (1.0,), True),), 2)
    assert choice.is_one_hot
    assert not choice._replace(frames=2).is_one_hot
    assert not Spaces((*choice.parts, FLAGS), 2).is_one_hot
    assert not vector().is_one_hot


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (vector(), True),
        (Spaces((vector().parts[0]._replace(low=(-9.0,)),), 3), True),
        (Spaces((vector().parts[0]._replace(name="x"),), 3), False),  # it may hold something else
        (vector(size=3), False),
        (vector(actions=4), False),
        (vector()._replace(frames=1), False),
        (Spaces((vector().parts[0]._replace(kind=BINARY),), 3), False),
    ],
)
def test_spaces_fit_if_a_network_has_the_same_inputs_and_outputs(other: Spaces, fits: bool) -> None:
    assert vector().fits(other) is fits
    assert other.fits(vector()) is fits


def test_spaces_of_other_parts_do_not_fit_though_their_size_is_the_same() -> None:
    turned = CAMERA._replace(shape=(6, 4, 3))
    assert not NESTED.fits(NESTED._replace(parts=(turned, FLAGS, ARM)))


def test_spaces_are_named_in_messages() -> None:
    assert str(vector()) == "observations [2] and 3 actions"
    described = "camera [4, 6, 3], flags [2], arm.angles [3] and 5 actions"
    assert str(NESTED) == f"observations {described}"
    assert str(NESTED._replace(frames=4)) == f"observations 4 frames of {described}"


def test_a_checkpoint_restores_spaces(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.save(NESTED.plain(), tmp_path / "spaces")
    assert Spaces.restore(torch.load(tmp_path / "spaces", weights_only=True)) == NESTED
