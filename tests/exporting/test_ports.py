from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.observation_encoder import Channels, ObservationEncoder
from dqn_cli.envs.space_adapter import describe_space
from dqn_cli.exporting.ports import ActionPort, ObservationPorts, Port, example

Space = spaces.Space[Any]

OBSERVATIONS: dict[str, Space] = {
    "vector": spaces.Box(-1, 1, (4,), np.float32),
    "one number": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-9, 9, (3, 2), np.float64),
    "whole numbers": spaces.Box(-100, 100, (3,), np.int16),
    "flags in a box": spaces.Box(0, 1, (7, 6, 2), np.bool_),
    "picture": spaces.Box(0, 255, (7, 6, 3), np.uint8),
    "channels first": spaces.Box(0, 255, (3, 7, 6), np.uint8),
    "choice with a start": spaces.Discrete(5, start=-2),
    "choices": spaces.MultiDiscrete([2, 3], start=[1, 5]),
    "table of choices": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "flags": spaces.MultiBinary([2, 3]),
    "nested": spaces.Dict(
        unsorted=spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiBinary([2, 2])]),
        choices=spaces.MultiDiscrete([2, 3], start=[1, 5]),
        arm=spaces.Box(-1, 1, (2, 2), np.float32),
        camera=spaces.Box(0, 255, (3, 6, 5), np.uint8),
    ),
}
EACH = pytest.mark.parametrize("space", OBSERVATIONS.values(), ids=OBSERVATIONS)
ROWS, FRAMES = 6, 3


def ports_of(space: Space, frames: int = 0) -> tuple[ObservationPorts, ObservationEncoder]:
    encoder = ObservationEncoder(space)
    described = Spaces(encoder.parts, 2, frames, describe_space(space), None)
    return ObservationPorts(encoder, described, torch.float32), encoder


def sampled(space: Space, count: int) -> list[Any]:
    space.seed(3)
    return [space.sample() for _ in range(count)]


def leaves(space: Space, observation: Any, name: str = "observation") -> dict[str, Any]:
    """The parts of an observation of one or more rows, by the names of inputs."""
    if not isinstance(space, (spaces.Dict, spaces.Tuple)):
        return {name: np.asarray(observation)}
    pairs = space.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
    found: dict[str, Any] = {}
    for key, part in pairs:
        found |= leaves(part, observation[key], f"{name}.{key}")
    return found


def inputs_for(ports: ObservationPorts, space: Space, rows: Sequence[Any]) -> list[torch.Tensor]:
    batch = concatenate(space, rows, create_empty_array(space, len(rows)))
    named = leaves(space, batch)
    return [torch.from_numpy(named[port.name]).to(port.dtype) for port in ports.ports]


@EACH
def test_parts_are_encoded_as_in_training(space: Space) -> None:
    ports, encoder = ports_of(space)
    rows = sampled(space, ROWS)
    inputs = inputs_for(ports, space, rows)
    for value, port in zip(inputs, ports.ports, strict=True):
        assert value.shape == (ROWS, *port.shape)
    expected = np.stack([encoder(row) for row in rows]).astype(np.float32)
    assert np.array_equal(ports.encoded(inputs).numpy(), expected)
    for back, value in zip(ports.decoded(expected), inputs, strict=True):
        assert np.array_equal(back, value.numpy())
        assert back.dtype == value.numpy().dtype


@EACH
def test_frames_are_encoded_as_in_training(space: Space) -> None:
    ports, encoder = ports_of(space, FRAMES)
    rows = sampled(space, ROWS * FRAMES)
    frames = np.stack([encoder(row) for row in rows]).astype(np.float32)
    expected = frames.reshape(ROWS, FRAMES, *frames.shape[1:])
    expected[0, 0] = 0  # before the episode
    inputs = [torch.from_numpy(part) for part in ports.decoded(expected)]
    for value, port in zip(inputs, ports.ports, strict=True):
        assert value.shape == (ROWS, *port.shape)
    assert np.array_equal(ports.encoded(inputs).numpy(), expected)


def test_inputs_are_named_and_bounded() -> None:
    ports, _ = ports_of(OBSERVATIONS["nested"])
    found = {
        port.name: (port.dtype, port.shape, list(port.low), list(port.high)) for port in ports.ports
    }
    assert found == {
        "observation.unsorted.0": (torch.int64, (), [-1], [1]),
        "observation.unsorted.1": (torch.uint8, (2, 2), [0], [1]),
        "observation.choices": (torch.int64, (2,), [1, 5], [2, 7]),
        "observation.arm": (torch.float32, (2, 2), [-1.0], [1.0]),
        "observation.camera": (torch.uint8, (3, 6, 5), [0.0], [255.0]),
    }
    assert "colors first" in next(p.meaning for p in ports.ports if p.name.endswith("camera"))


def test_bounds_of_colors_first_are_in_the_order_of_the_input() -> None:
    low = np.arange(3 * 6 * 5).reshape(3, 6, 5).astype(np.uint8)
    space = spaces.Box(low, np.full_like(low, 255), dtype=np.uint8)
    encoder = ObservationEncoder(space, channels=Channels.first)
    described = Spaces(encoder.parts, 2, 0, describe_space(space), None)
    (port,) = ObservationPorts(encoder, described, torch.float32).ports
    assert list(port.low) == low.ravel().tolist()


def test_a_port_is_described_as_json_can_hold_it() -> None:
    port = Port("observation", torch.float32, (2,), "vector", (-np.inf, 0.0), (1.0, np.inf))
    assert port.described() == {
        "name": "observation",
        "dtype": "float32",
        "shape": ["batch", 2],
        "meaning": "vector",
        "low": ["-inf", 0.0],
        "high": [1.0, "inf"],
    }
    assert example(port, 3).tolist() == [[0.0, 0.0]] * 3


ACTIONS: dict[str, tuple[Space, tuple[int, ...]]] = {
    "discrete": (spaces.Discrete(4), ()),
    "start": (spaces.Discrete(4, start=-3), ()),
    "flags": (spaces.MultiBinary([2, 2]), (2, 2)),
    "choices": (spaces.MultiDiscrete([2, 3], start=[4, -1]), (2,)),
    "nested": (
        spaces.Dict(
            turn=spaces.Discrete(3, start=-1),
            arm=spaces.Tuple([spaces.MultiDiscrete([2, 2]), spaces.Discrete(2)]),
        ),
        (4,),
    ),
}


def flat(action: Any) -> list[int]:
    if isinstance(action, dict):
        return [number for part in action.values() for number in flat(part)]
    if isinstance(action, tuple):
        return [number for part in action for number in flat(part)]
    numbers: list[int] = np.ravel(action).tolist()
    return numbers


@pytest.mark.parametrize(("space", "shape"), ACTIONS.values(), ids=ACTIONS)
def test_actions_are_the_numbers_that_the_environment_takes(
    space: gymnasium.Space[Any], shape: tuple[int, ...]
) -> None:
    decoder = ActionDecoder(space)
    port = ActionPort(space, decoder.count)
    assert port.port.shape == shape
    found = port.decoded(torch.arange(decoder.count), port.table)
    assert found.shape == (decoder.count, *shape)
    assert [row.ravel().tolist() for row in found.numpy()] == [
        flat(decoder(index)) for index in range(decoder.count)
    ]
