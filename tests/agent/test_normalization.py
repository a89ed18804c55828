from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Impala, Nature
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.model import Model
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.normalization import (
    FACTOR,
    LIMIT,
    OFFSET,
    Normalization,
    normalization_layout,
    normalize,
    normalized_parts,
    normalized_shape,
    picture_scale,
)
from dqn_cli.agent.optimizers import (
    Adam,
    AdamW,
    Optimizer,
    OptimizerState,
    RAdam,
    RmsProp,
    Schedule,
    Sgd,
)
from dqn_cli.agent.parameters import Parameter, initial, size, views
from dqn_cli.agent.recurrent import Gru
from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Part, Spaces
from dqn_cli.agent.update_rules import Dqn

NONE, RUNNING, BOUNDS = Normalization.none, Normalization.running, Normalization.bounds
DOUBLE = torch.float64
EXACT = {"rtol": 1e-12, "atol": 1e-12}
CAMERA = Part("camera", PICTURE, (6, 5, 2), (0.0,), (255.0,), True)
CHOICE = Part("choice", ONE_HOT, (3,), (0.0,), (1.0,), True)
FLAGS = Part("flags", BINARY, (2,), (0.0,), (1.0,), True)
MEMORY = Part("memory", VECTOR, (2,), (0.0, 0.0), (255.0, 255.0), True)
ARM = Part("arm", VECTOR, (2,), (-1.0, 10.0), (3.0, 30.0), False)
DEPTH = Part("depth", PICTURE, (6, 5), (0.0,), (8.0,), False)
NESTED = Spaces((CAMERA, CHOICE, MEMORY, ARM), 3)
PLAIN = (False, False, False, False, 0.5)
SCALAR = Scalar(Loss.huber)


def alone(part: Part, frames: int = 0) -> Spaces:
    return Spaces((part._replace(name=""),), 3, frames)


def bounded(least: float, most: float, name: str = "") -> Spaces:
    part = Part(name, VECTOR, (2,), (0.0, least), (1.0, most), False)
    return Spaces((part,) if not name else (CHOICE, part), 3)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize(
    ("spaces", "shape"),
    [
        (alone(ARM), (2,)),
        (alone(ARM, frames=4), (2,)),
        (alone(DEPTH), (6, 5)),
        (alone(MEMORY), (2,)),
        (alone(CAMERA), ()),
        (alone(CHOICE), ()),
        (NESTED, (4,)),
        (NESTED._replace(frames=3), (4,)),
        (Spaces((CAMERA, ARM, DEPTH), 3), (32,)),
        (Spaces((CHOICE, FLAGS), 3), ()),
    ],
)
def test_numbers_of_a_frame_are_normalized_and_nothing_else(
    spaces: Spaces, shape: tuple[int, ...]
) -> None:
    assert normalized_shape(spaces) == shape
    if shape:
        layout = normalization_layout(spaces, RUNNING)
        assert layout == {OFFSET: Parameter(shape, 0, 0), FACTOR: Parameter(shape, 1, 1)}
    assert normalization_layout(spaces, NONE) == {}


@pytest.mark.parametrize("kind", [RUNNING, BOUNDS])
@pytest.mark.parametrize("parts", [(CAMERA,), (CHOICE,), (FLAGS,), (CAMERA, CHOICE, FLAGS)])
def test_nothing_to_normalize_is_an_error(parts: tuple[Part, ...], kind: Normalization) -> None:
    message = f"env.normalize={kind.name} finds nothing to normalize.*use env.normalize=none"
    with pytest.raises(ValueError, match=message):
        normalization_layout(Spaces(parts, 3), kind)


def test_planes_are_normalized_if_they_are_the_whole_observation() -> None:
    planes = CAMERA._replace(name="planes", high=(1.0,))
    assert normalized_parts(alone(planes)) == [planes._replace(name="")]
    assert normalized_shape(alone(planes, frames=4)) == (6, 5, 2)
    assert normalized_parts(alone(CAMERA)) == []
    # Of several parts those that are normalized come last, whatever the bounds of pictures.
    assert normalized_parts(Spaces((planes, CHOICE, ARM), 3)) == [ARM]


def test_offset_and_factor_are_the_last_parameters() -> None:
    network = Mlp([4], *PLAIN)
    plain, model = Model(NESTED, network, SCALAR), Model(NESTED, network, SCALAR, RUNNING)
    assert list(model.layout) == [*plain.layout, OFFSET, FACTOR]
    assert list(model.constant_layout) == [OFFSET, FACTOR]
    flat = initial(model.layout, np.random.default_rng(0))
    before = initial(plain.layout, np.random.default_rng(0))
    assert torch.equal(flat[:-8], before)  # a network begins with the same weights
    assert flat[-8:].tolist() == [0] * 4 + [1] * 4


def test_bounds_become_minus_one_and_one() -> None:
    layout = normalization_layout(NESTED, BOUNDS)
    assert layout[OFFSET].low == layout[OFFSET].high == (127.5, 127.5, 1.0, 20.0)
    assert layout[FACTOR].low == layout[FACTOR].high == (2 / 255, 2 / 255, 0.5, 0.1)
    p = views(initial(layout, np.random.default_rng(0)), layout)
    low, high = (torch.tensor(bound, dtype=DOUBLE) for bound in NESTED.bounds)
    first = NESTED.observation_size - 4
    for obs, expected in ((low, -1.0), (high, 1.0), ((low + high) / 2, 0.0)):
        normalized = normalize(p, obs, NESTED)
        assert torch.equal(normalized[:first], obs[:first])
        assert normalized[first:].tolist() == pytest.approx([expected] * 4)


def test_one_bound_for_all_is_that_of_each_element() -> None:
    layout = normalization_layout(alone(DEPTH), BOUNDS)
    assert layout[OFFSET] == Parameter((6, 5), (4.0,) * 30, (4.0,) * 30)
    assert layout[FACTOR] == Parameter((6, 5), (0.25,) * 30, (0.25,) * 30)
    p = views(initial(layout, np.random.default_rng(0)), layout)
    obs = torch.full((2, 6, 5), 8.0, dtype=DOUBLE)
    assert torch.equal(normalize(p, obs, alone(DEPTH)), torch.ones(2, 6, 5, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("least", "most"),
    [
        (-math.inf, math.inf),
        (0.0, math.inf),
        (-math.inf, 0.0),
        (-3.4028235e38, 3.4028235e38),  # the largest float32
        (-1.7976931348623157e308, 1.7976931348623157e308),
        (2.0, 2.0),
        (3.0, 2.0),
    ],
)
@pytest.mark.parametrize("name", ["", "arm.angles"])
def test_elements_without_finite_bounds_are_named(least: float, most: float, name: str) -> None:
    where = f" of part {name}" if name else ""
    text = (
        f"an element{where} of the observation runs from {least:g} to {most:g}:"
        " use env.normalize=running"
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        normalization_layout(bounded(least, most, name), BOUNDS)
    normalization_layout(bounded(least, most, name), RUNNING)


def test_normalized_numbers_by_hand() -> None:
    p = {
        OFFSET: torch.tensor([1.0, 2.0, 0.0, 0.0], dtype=DOUBLE),
        FACTOR: torch.tensor([0.5, 10.0, 1.0, 3.0], dtype=DOUBLE),
    }
    before = torch.arange(63.0, dtype=DOUBLE)
    obs = torch.cat([before, torch.tensor([5.0, 9.0, -11.0, -2.0], dtype=DOUBLE)])
    normalized = normalize(p, obs, NESTED)
    assert torch.equal(normalized[:63], before)
    # 0.5 * (5 - 1); 10 * (9 - 2) and -11 are clipped; 3 * -2
    assert normalized[63:].tolist() == [2.0, LIMIT, -LIMIT, -6.0]


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize(
    "spaces", [NESTED, NESTED._replace(frames=2), alone(DEPTH, frames=3), alone(ARM)]
)
def test_every_row_and_frame_is_normalized_alike(spaces: Spaces, batch: tuple[int, ...]) -> None:
    layout = normalization_layout(spaces, RUNNING)
    p = views(drawn(size(layout)).abs() + 0.1, layout)
    obs = 3 * drawn(*batch, *spaces.observation_shape, seed=1)
    normalized, shape = normalize(p, obs, spaces), spaces.frame_shape
    assert normalized.shape == obs.shape
    one_frame = spaces._replace(frames=0)
    rows = [normalize(p, row, one_frame) for row in obs.reshape(-1, *shape)]
    assert torch.equal(normalized.reshape(-1, *shape), torch.stack(rows))
    assert normalized[..., -1].abs().max() <= LIMIT


def test_without_offset_observations_stay_the_same_tensor() -> None:
    obs = drawn(3, 4)
    assert normalize({}, obs, alone(ARM)) is obs


def test_offset_and_factor_have_no_gradient() -> None:
    model = Model(NESTED, Mlp([4], *PLAIN), SCALAR, RUNNING)
    flat = initial(model.layout, np.random.default_rng(0)).requires_grad_()
    obs = drawn(5, NESTED.observation_size)
    (gradient,) = torch.autograd.grad(model.q(flat, obs, torch.zeros(0)).sum(), flat)
    assert not gradient[-8:].any()
    assert gradient[:-8].any()


ADAM = (1e-2, Schedule.constant, None, 0.9, 0.999, 1e-8)
OPTIMIZERS: list[Optimizer] = [
    Adam(*ADAM),
    AdamW(*ADAM, 0.5),
    RAdam(*ADAM),
    RmsProp(1e-2, Schedule.constant, None, 0.9, 0.01, 0.9, True),
    RmsProp(1e-2, Schedule.constant, None, 0.9, 1e-8, 0.0, False),
    Sgd(1e-2, Schedule.constant, 1.0, 0.9),
]


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
def test_an_optimizers_step_leaves_offset_and_factor_as_they_are(
    optimizer: Optimizer, spectral_norm: bool
) -> None:
    network = Mlp([4, 4], False, spectral_norm, False, False, 0.5)
    agent = Agent(NESTED, network, SCALAR, Dqn(), optimizer, RUNNING)
    plain = Agent(NESTED, network, SCALAR, Dqn(), optimizer)
    constants = drawn(8, seed=1)
    start = initial(plain.layout, np.random.default_rng(0))
    states = []
    for own, flat in ((agent, torch.cat([start, constants])), (plain, start.clone())):
        moments = tuple(torch.zeros_like(flat) for _ in range(optimizer.moments))
        state = OptimizerState(flat, moments, torch.zeros(optimizer.moments, dtype=DOUBLE))
        for seed in range(5):
            gradient = torch.zeros_like(flat)
            gradient[: len(start)] = drawn(len(start), seed=seed + 2)
            state, _ = own.step(state, gradient, torch.ones((), dtype=DOUBLE))
        states.append(state)
    assert torch.equal(states[0].parameters[-8:], constants)
    torch.testing.assert_close(states[0].parameters[:-8], states[1].parameters, **EXACT)
    assert (states[1].parameters - start).abs().max() > 1e-4


BYTES = Part("", PICTURE, (40, 40, 1), (0.0,), (255.0,), True)
CNNS: list[Network] = [
    Nature([4], *PLAIN, [2, 2], False),
    Impala([4], *PLAIN, [2], False, 1, 2),
    Multi([4], *PLAIN, [2, 2], 3),
    MinAtarCnn([4], *PLAIN, [2]),
    Gru([4], *PLAIN, [2, 2], 3, 4, 0, 1),
]


@pytest.mark.parametrize("network", CNNS, ids=lambda network: type(network).__name__)
def test_pictures_of_floats_up_to_255_are_not_divided_twice(network: Network) -> None:
    spaces = Spaces((BYTES._replace(is_bytes=False),), 3)
    ones = Spaces((spaces.parts[0]._replace(high=(1.0,)),), 3)
    normalized = Model(spaces, network, SCALAR, RUNNING)
    flat = initial(normalized.layout, np.random.default_rng(0))
    named = views(flat, normalized.layout)
    named[OFFSET].fill_(100.0)
    named[FACTOR].fill_(0.02)
    obs = 255 * drawn(2, 40, 40, 1).abs().clamp(max=1)
    q = normalized.q(flat, obs, torch.zeros(0))
    plain = Model(ones, network, SCALAR)
    before = flat[: size(plain.layout)]
    expected = plain.q(before, (obs - 100) * 0.02, torch.zeros(0))
    torch.testing.assert_close(q, expected, **EXACT)


@pytest.mark.parametrize(
    ("part", "normalized", "scale"),
    [
        (BYTES, False, 1 / 255),
        (BYTES, True, 1 / 255),  # because another part is
        (BYTES._replace(is_bytes=False), False, 1 / 255),
        (BYTES._replace(is_bytes=False), True, 1.0),
        (DEPTH, False, 1.0),
        (DEPTH, True, 1.0),
    ],
)
def test_the_scale_of_a_picture(part: Part, normalized: bool, scale: float) -> None:
    p = {OFFSET: torch.zeros(2), FACTOR: torch.ones(2)} if normalized else {}
    assert picture_scale(p, part) == scale


def test_bytes_beside_normalized_numbers_are_divided_as_ever() -> None:
    network = Multi([4], *PLAIN, [2, 2], 3)
    spaces = Spaces((CAMERA, ARM), 3)
    model = Model(spaces, network, SCALAR, RUNNING)
    flat = initial(model.layout, np.random.default_rng(0))
    named = views(flat, model.layout)
    named[OFFSET].copy_(torch.tensor([3.0, -2.0]))
    named[FACTOR].copy_(torch.tensor([0.5, 0.25]))
    obs = torch.cat([torch.arange(60.0).repeat(2, 1) * 4, 3 * drawn(2, 2)], 1).to(DOUBLE)
    by_hand = obs.clone()
    by_hand[:, 60] = (obs[:, 60] - 3) * 0.5
    by_hand[:, 61] = (obs[:, 61] + 2) * 0.25
    plain = Model(spaces, network, SCALAR)
    expected = plain.q(flat[:-4], by_hand, torch.zeros(0))
    assert torch.equal(model.q(flat, obs, torch.zeros(0)), expected)


def test_acting_and_learning_from_sequences_normalize_too() -> None:
    spaces = array_spaces((2,), (-1, -1), (1, 1), 3)
    network = Gru([], *PLAIN, [], 3, 4, 0, 2)
    model, plain = Model(spaces, network, SCALAR, RUNNING), Model(spaces, network, SCALAR)
    flat = initial(model.layout, np.random.default_rng(0))
    named = views(flat, model.layout)
    named[OFFSET].fill_(2.0)
    named[FACTOR].fill_(0.1)
    obs, state = 20 * drawn(4, 2), drawn(4, 4, seed=1)
    nothing = torch.zeros(0)
    got = model.act(flat, obs, state, nothing)
    expected = plain.act(flat[:-4], (obs - 2) * 0.1, state, nothing)
    assert all(map(torch.equal, got, expected))
    dormant = model.dormant(flat, obs), plain.dormant(flat[:-4], (obs - 2) * 0.1)
    assert torch.equal(*dormant)
