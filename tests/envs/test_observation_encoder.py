from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR
from dqn_cli.envs.observation_encoder import (
    Channels,
    ObservationEncoder,
    find_unread_parts,
    is_picture,
)

CAMERA = spaces.Box(0, 255, (8, 6, 3), np.uint8)
ARM = spaces.Box(-1, 1, (2,), np.float64)
NESTED = spaces.Dict(
    arm=spaces.Tuple([ARM, spaces.Discrete(3, start=2)]),
    camera=CAMERA,
    switches=spaces.MultiDiscrete([2, 3], start=[1, 0]),
    text=spaces.Text(5),
)


def test_bytes_come_first_and_numbers_to_normalize_last() -> None:
    encoder = ObservationEncoder(NESTED, drop=["text"])
    assert [(part.name, part.kind, part.shape) for part in encoder.parts] == [
        ("arm.1", ONE_HOT, (3,)),
        ("camera", PICTURE, (8, 6, 3)),
        ("switches", BINARY, (5,)),
        ("arm.0", VECTOR, (2,)),
    ]
    assert [part.is_bytes for part in encoder.parts] == [True, True, True, False]
    encoded = encoder(
        {
            "arm": (np.array([0.25, -1.0]), np.int64(4)),
            "camera": np.full((8, 6, 3), 200, np.uint8),
            "switches": np.array([2, 1]),
            "text": "never read",
        }
    )
    assert encoded.shape == encoder.box.shape == (3 + 144 + 5 + 2,)
    assert encoded[:3].tolist() == [0, 0, 1]
    assert set(encoded[3:147]) == {200}
    assert encoded[147:152].tolist() == [0, 1, 0, 1, 0]
    assert encoded[152:].tolist() == [0.25, -1.0]


def test_observations_of_bytes_alone_stay_bytes() -> None:
    encoder = ObservationEncoder(spaces.Dict(camera=CAMERA, flag=spaces.Discrete(2)))
    encoded = encoder({"camera": CAMERA.sample(), "flag": 1})
    assert encoded.dtype == np.uint8


@pytest.mark.parametrize(
    ("space", "is_identity"),
    [
        (ARM, True),
        (CAMERA, True),
        (spaces.Box(0, 255, (3, 8, 6), np.uint8), False),
        (spaces.Discrete(2), False),
        (spaces.Dict(camera=CAMERA), False),
    ],
)
def test_arrays_are_taken_as_they_are(space: spaces.Space[Any], is_identity: bool) -> None:
    encoder = ObservationEncoder(space)
    assert encoder.is_identity is is_identity
    sample = space.sample()
    if is_identity:
        assert encoder(sample) is sample


@pytest.mark.parametrize(
    ("shape", "said", "expected"),
    [
        ((3, 8, 8), "auto", (8, 8, 3)),
        ((8, 8, 3), "auto", (8, 8, 3)),
        ((20, 8, 8), "auto", (8, 8, 20)),  # two sides are equal
        ((8, 8, 20), "auto", (8, 8, 20)),
        ((3, 8, 6), "auto", (8, 6, 3)),  # colors are the shortest axis
        ((8, 6, 3), "auto", (8, 6, 3)),
        ((8, 8, 8), "auto", (8, 8, 8)),
        ((8, 8, 8), "first", (8, 8, 8)),
        ((6, 5, 8), "first", (5, 8, 6)),
        ((6, 5, 8), "last", (6, 5, 8)),
    ],
)
def test_colors_become_the_last_axis(
    shape: tuple[int, ...], said: str, expected: tuple[int, ...]
) -> None:
    encoder = ObservationEncoder(spaces.Box(0, 255, shape, np.uint8), channels=Channels[said])
    (part,) = encoder.parts
    assert part.kind == PICTURE
    assert part.shape == encoder.box.shape == expected
    picture = np.arange(np.prod(shape)).reshape(shape)  # [*shape]
    encoded = encoder(picture)
    assert encoded.shape == expected
    is_first = said == "first" or (said == "auto" and shape != expected)
    assert (
        encoded[1, 2, 3 % expected[2]]
        == picture[(3 % expected[2], 1, 2) if is_first else (1, 2, 3 % expected[2])]
    )


@pytest.mark.parametrize(
    ("shape", "is_bytes", "expected"),
    [
        ((5, 5, 1), True, True),
        ((5, 5, 3), False, True),
        ((4, 5, 3), True, False),
        ((10, 4, 30), True, False),  # colors first: 4 by 30
        ((84, 84), True, True),
        ((84, 84), False, False),  # a table of numbers
        ((4, 84), True, False),
        ((9,), True, False),
        ((2, 9, 9, 3), True, False),
    ],
)
def test_neighbors_matter_in_pictures(
    shape: tuple[int, ...], is_bytes: bool, expected: bool
) -> None:
    assert is_picture(shape, is_bytes, Channels.auto) is expected


def test_each_element_keeps_its_bounds_unless_a_large_part_shares_one() -> None:
    box = spaces.Box(np.array([[-1, 0]], np.float32), np.array([[2, np.inf]], np.float32))
    large = spaces.Box(0, 255, (20, 20, 3), np.uint8)
    encoder = ObservationEncoder(spaces.Dict(box=box, large=large))
    first, second = encoder.parts
    assert (first.low, first.high) == ((0.0,), (255.0,))
    assert (second.low, second.high) == ((-1, 0), (2, np.inf))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(5),
        spaces.Sequence(ARM),
        spaces.Graph(ARM, None),
        spaces.Box(0, 1, (0, 3), np.float32),
    ],
)
def test_what_no_network_reads_is_named(space: spaces.Space[Any]) -> None:
    with pytest.raises(ValueError, match=r"observations are .* which no network reads") as alone:
        ObservationEncoder(space)
    assert "env.drop" not in str(alone.value)
    with pytest.raises(ValueError, match=r"part a.1 of observations .* env.drop=\[a.1\]"):
        ObservationEncoder(spaces.Dict(a=spaces.Tuple([ARM, space])))


@pytest.mark.parametrize("drop", [["arm.0"], ["arm"], ["text", "arm", "switches"]])
def test_parts_and_all_below_them_are_left_out(drop: list[str]) -> None:
    encoder = ObservationEncoder(NESTED, drop=[*drop, "text"])
    names = {part.name for part in encoder.parts}
    assert names == {
        name
        for name in ("arm.0", "arm.1", "camera", "switches")
        if not any(name == left or name.startswith(f"{left}.") for left in drop)
    }


@pytest.mark.parametrize(
    ("space", "drop", "reason"),
    [
        (NESTED, ["mission"], "env.drop names mission, .* the parts are arm.0, arm.1, camera"),
        (NESTED, ["ar"], "env.drop names ar"),
        (ARM, ["arm"], "env.drop names arm, .* they have no parts"),
        (spaces.Dict(arm=ARM), ["arm"], "no part left"),
    ],
)
def test_leaving_out_what_is_not_there_or_everything_is_an_error(
    space: spaces.Space[Any], drop: list[str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ObservationEncoder(space, drop)


@pytest.mark.parametrize(
    ("space", "unread"),
    [
        (CAMERA, []),
        (NESTED, ["text"]),
        (spaces.Text(5), [""]),
        (
            spaces.Tuple([ARM, spaces.Dict(a=spaces.Text(2), b=spaces.Sequence(ARM))]),
            ["1.a", "1.b"],
        ),
        (spaces.Dict(a=spaces.Graph(ARM, None)), ["a"]),
    ],
)
def test_parts_that_no_network_reads_are_found(space: Any, unread: list[str]) -> None:
    assert find_unread_parts(space) == unread
