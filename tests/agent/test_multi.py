from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import sizes
from test_atari_cnns import (
    ACTIONS,
    BATCH,
    EXACT,
    HEADS,
    SCALAR,
    drawn,
    flat_of,
    module,
    names_of,
    random_parameters,
)
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.heads import Head
from dqn_cli.agent.model import Model
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm
from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Part, Spaces
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.training.population import Population

PLAIN = (False, False, False, False, 0.5)  # no norm, no dueling, no noise
MULTI = Multi([7, 6], *PLAIN, [3, 4, 2], 5)
BOTH_KINDS = pytest.mark.parametrize("kind", [Gru, Lstm])


def picture(*shape: int, high: float = 255.0, name: str = "picture") -> Part:
    return Part(name, PICTURE, shape, (0.0,), (high,), high == 255)


def vector(*shape: int, name: str = "vector") -> Part:
    return Part(name, VECTOR, shape, (-math.inf,), (math.inf,), False)


CHOICE = Part("choice", ONE_HOT, (3,), (0.0,), (1.0,), True)
FLAGS = Part("flags", BINARY, (2, 2), (0.0,), (1.0,), True)


def spaces_of(*parts: Part, frames: int = 0) -> Spaces:
    return Spaces(parts, ACTIONS, frames)


SPACES = {
    "picture and vector": spaces_of(picture(12, 9, 3), vector(4)),
    "vector between pictures": spaces_of(picture(7, 7, 1), FLAGS, picture(12, 12, 2)),
    "two pictures": spaces_of(picture(9, 8, 2, name="a"), picture(20, 12, 3, name="b")),
    "gray picture": spaces_of(picture(10, 12), CHOICE, vector(2, 2)),
    "lone picture": spaces_of(picture(12, 10, 3)),
    "lone gray picture": spaces_of(picture(12, 10)),
    "floats": spaces_of(picture(8, 8, 2, high=1.0), vector(3)),
    "stack": spaces_of(picture(7, 9, 3), CHOICE, vector(2), frames=3),
    "stacked picture": spaces_of(picture(7, 9, 3), frames=2),
    "stacked gray picture": spaces_of(picture(7, 9), frames=4),
    "one frame": spaces_of(picture(7, 9), vector(2), frames=1),
}
KIND = pytest.mark.parametrize("spaces", SPACES.values(), ids=SPACES)


def observations(spaces: Spaces, *batch: int, seed: int = 2) -> Tensor:
    """Observations [*batch, *shape], of bytes where parts are bytes."""
    random, frames = np.random.default_rng(seed), max(spaces.frames, 1)
    pieces = []
    for part in spaces.parts:
        shape = (*batch, frames, part.size)
        most = int(part.high[0]) if part.is_bytes else 0
        values = random.integers(most + 1, size=shape) if most else random.normal(size=shape)
        pieces.append(values.astype(float))
    flat = np.concatenate(pieces, -1)
    return torch.from_numpy(flat.reshape(*batch, *spaces.observation_shape))


def in_parts(obs: Tensor, spaces: Spaces) -> Iterator[tuple[Part, list[Tensor]]]:
    """Yield each part and its frames [batch, *shape], cut out by slices of the flat array."""
    batch, frames = obs.shape[0], max(spaces.frames, 1)
    rows, start = obs.reshape(batch, frames, -1), 0
    for part in spaces.parts:
        end = start + part.size
        yield part, [rows[:, k, start:end].reshape(batch, *part.shape) for k in range(frames)]
        start = end


def convolutions(p: dict[str, Tensor], index: int, side: int, count: int) -> nn.Sequential:
    """The convolutions of a picture whose smaller side is `side`, and its dense layer."""
    modules: list[nn.Module] = []
    for number in range(count):
        kernel, stride = (8, 4) if side >= 40 else (4, 2) if side >= 12 else (3, 1)
        if side < 3:
            break
        name = f"part.{index}.convolution.{number}"
        assert p[f"{name}.weight"].shape[2:] == (kernel, kernel)
        modules += [module(p, name, stride), nn.ReLU()]
        side = (side - kernel) // stride + 1
    assert f"part.{index}.convolution.{len(modules) // 2}.weight" not in p
    return nn.Sequential(*modules, nn.Flatten(), module(p, f"part.{index}"), nn.ReLU())


def reference(network: Multi, p: dict[str, Tensor], obs: Tensor, spaces: Spaces) -> Tensor:
    """The features [batch, features] of all parts, by torch's own modules."""
    features, others = [], []
    for index, (part, frames) in enumerate(in_parts(obs, spaces)):
        if part.kind != PICTURE:
            others += [(part, frames)]
            continue
        colored = [frame if frame.dim() == 4 else frame[..., None] for frame in frames]
        planes = torch.cat([frame.permute(0, 3, 1, 2) for frame in colored], 1)
        planes = planes / 255 if part.is_bytes else planes
        layer = convolutions(p, index, min(part.shape[:2]), len(network.channels))
        features.append(layer(planes))
    if not features:
        return obs.reshape(obs.shape[0], -1)
    if others:  # each part with all of its frames
        x = torch.cat([frame.flatten(1) for _, frames in others for frame in frames], 1)
        features.append(module(p, "others")(x).relu())
    return torch.cat(features, 1)


def z_of(network: Multi, p: dict[str, Tensor], features: Tensor, head: Head) -> Tensor:
    """The z [batch, actions, atoms] of features, by torch's own modules."""
    for index in range(len(network.widths) - 1):
        features = module(p, f"torso.{index}")(features).relu()
    outputs = head.outputs
    if isinstance(head, Iqn):
        steps = torch.arange(head.cosines, dtype=torch.float64)
        waves = torch.cos(math.pi * steps * p["taus"][..., None])
        features = features[:, None] * module(p, "cosines")(waves).relu()

    def stream(name: str) -> Tensor:
        hidden = module(p, f"{name}.hidden")(features).relu() if network.widths else features
        out: Tensor = module(p, f"{name}.out")(hidden)
        return out.unflatten(-1, (-1, outputs))

    z = stream("advantage")
    if network.dueling:
        z = z - z.mean(-2, keepdim=True) + stream("value")
    return z.squeeze(-1).transpose(1, 2) if isinstance(head, Iqn) else z


def check(network: Multi, spaces: Spaces, head: Head = SCALAR) -> None:
    p = random_parameters(network, spaces, head)  # type: ignore[arg-type]
    obs = observations(spaces, BATCH)
    z = network.forward(p, obs, spaces, head)
    expected = z_of(network, p, reference(network, p, obs, spaces), head)
    assert z.shape == (BATCH, ACTIONS, head.samples or head.outputs)
    assert expected.std() > 1e-4
    torch.testing.assert_close(z, expected, **EXACT)


@KIND
@pytest.mark.parametrize("head", HEADS, ids=["scalar", "c51", "qr", "iqn"])
def test_every_head_reads_what_the_same_layers_of_torch_compute(spaces: Spaces, head: Head) -> None:
    check(MULTI, spaces, head)
    check(replace(MULTI, dueling=True, noisy=True), spaces, head)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_norms_noise_and_dueling_are_those_of_torchs_layers(
    layer_norm: bool, spectral_norm: bool, dueling: bool, noisy: bool
) -> None:
    network = replace(
        MULTI, layer_norm=layer_norm, spectral_norm=spectral_norm, dueling=dueling, noisy=noisy
    )
    check(network, SPACES["picture and vector"])
    check(network, SPACES["stack"], Qr(2))


@pytest.mark.parametrize("widths", [[], [5], [8, 7, 6]])
def test_any_number_of_dense_layers_follows(widths: list[int]) -> None:
    check(replace(MULTI, widths=widths), SPACES["picture and vector"])
    check(replace(MULTI, widths=widths, dueling=True), SPACES["stack"], Iqn(6, 4))


SIZES = {
    # Kernels of each convolution, and the pixels that are left.
    5: ([3, 3], 1),
    6: ([3, 3], 2),
    7: ([3, 3, 3], 1),
    11: ([3, 3, 3], 5),
    12: ([4, 3, 3], 1),
    28: ([4, 4, 3], 3),
    36: ([4, 4, 3], 5),
    39: ([4, 4, 3], 6),
    40: ([8, 3, 3], 5),
    84: ([8, 4, 3], 7),
    96: ([8, 4, 3], 8),
}


@pytest.mark.parametrize(("side", "kernels", "left"), [(k, *v) for k, v in SIZES.items()])
def test_convolutions_fit_the_size_of_their_picture(
    side: int, kernels: list[int], left: int
) -> None:
    spaces = spaces_of(picture(side, side, 2), vector(3))
    layout = MULTI.layout(spaces, SCALAR)
    names = [f"part.0.convolution.{index}.weight" for index in range(len(kernels))]
    assert [layout[name].shape[2] for name in names] == kernels
    assert len([name for name in layout if len(layout[name].shape) == 4]) == len(kernels)
    channels = MULTI.channels[len(kernels) - 1]
    assert sizes(layout, "part.0") == (channels * left * left, 5)
    assert sizes(layout, "others") == (3, 5)
    assert sizes(layout, "torso.0") == (10, 7)
    check(MULTI, spaces)


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (12, 84), (84, 40), (210, 160)])
def test_the_smaller_side_decides(shape: tuple[int, int]) -> None:
    check(MULTI, spaces_of(picture(*shape, 1)))


@pytest.mark.parametrize("channels", [[], [3], [2, 2, 2, 2]])
def test_there_may_be_any_number_of_convolutions(channels: list[int]) -> None:
    check(replace(MULTI, channels=channels), SPACES["picture and vector"])


@pytest.mark.parametrize("frames", [0, 4])
def test_of_84_pixels_the_convolutions_are_natures(frames: int) -> None:
    spaces = spaces_of(picture(84, 84, 1), frames=frames)
    multi = Multi([16], *PLAIN, [4, 5, 6], 8)
    nature = Nature([16], *PLAIN, [4, 5, 6], False)
    layout, theirs = multi.layout(spaces, SCALAR), nature.layout(spaces, SCALAR)
    for index in range(3):
        for kind in ("weight", "bias"):
            name = f"convolution.{index}.{kind}"
            assert layout[f"part.0.{name}"] == theirs[name]
    p, obs = views(flat_of(layout), layout), observations(spaces, 2)
    renamed = {name.removeprefix("part.0."): value for name, value in p.items()}
    x = obs.movedim(-1, -3).reshape(2, -1, 84, 84)
    pixels = nature.features(renamed, x, 1 / 255).flatten(1)
    expected = layers.hidden(p, "part.0", pixels)
    torch.testing.assert_close(multi.join_parts(p, obs, spaces), expected, **EXACT)


def test_the_layout_of_two_pictures_a_choice_and_a_stacked_vector_by_hand() -> None:
    spaces = spaces_of(picture(5, 5, 3), CHOICE, picture(7, 7), vector(2), frames=2)
    layout = Multi([4, 6], *PLAIN, [2, 3, 4], 9).layout(spaces, SCALAR)
    assert {name: parameter.shape for name, parameter in layout.items() if "weight" in name} == {
        "part.0.convolution.0.weight": (2, 6, 3, 3),  # two frames of three colors
        "part.0.convolution.1.weight": (3, 2, 3, 3),
        "part.0.weight": (3, 9),
        "part.2.convolution.0.weight": (2, 2, 3, 3),
        "part.2.convolution.1.weight": (3, 2, 3, 3),
        "part.2.convolution.2.weight": (4, 3, 3, 3),
        "part.2.weight": (4, 9),
        "others.weight": (9, 10),  # two frames of three and two numbers
        "torso.0.weight": (4, 27),
        "advantage.hidden.weight": (4, 6),
        "advantage.out.weight": (3, 6),
    }


WITHOUT_PICTURES = {
    "vector": array_spaces((4,), (-1,) * 4, (1,) * 4, ACTIONS),
    "matrix": array_spaces((3, 2), (-1,) * 6, (1,) * 6, ACTIONS),
    "choice": array_spaces((4,), (0,) * 4, (1,) * 4, ACTIONS, one_hot=True),
    "several": spaces_of(CHOICE, FLAGS, vector(2)),
    "frames": spaces_of(vector(3), frames=2),
    "frames of several": spaces_of(CHOICE, vector(2), frames=3),
}


@pytest.mark.parametrize("spaces", WITHOUT_PICTURES.values(), ids=WITHOUT_PICTURES)
@pytest.mark.parametrize(
    "options", [PLAIN, (True, False, True, True, 0.5), (False, True, False, False, 0.5)]
)
def test_without_a_picture_it_is_an_mlp_to_the_bit(
    spaces: Spaces, options: tuple[bool, bool, bool, bool, float]
) -> None:
    mlp, multi = Mlp([7, 6], *options), Multi([7, 6], *options, [3, 4, 2], 5)
    obs = observations(spaces, BATCH)
    for head in HEADS:
        layout = mlp.layout(spaces, head)
        assert list(multi.layout(spaces, head).items()) == list(layout.items())
        p = random_parameters(mlp, spaces, head)  # type: ignore[arg-type]
        z = multi.forward(p, obs, spaces, head)
        assert torch.equal(z, mlp.forward(p, obs, spaces, head))


def test_a_picture_of_floats_is_divided_only_if_it_goes_to_255() -> None:
    spaces = spaces_of(picture(8, 8, 2), vector(2))
    as_floats = spaces_of(spaces.parts[0]._replace(is_bytes=False), vector(2))
    small = spaces_of(picture(8, 8, 2, high=1.0), vector(2))
    p = random_parameters(MULTI, spaces, SCALAR)  # type: ignore[arg-type]
    obs = observations(spaces, BATCH)
    z = MULTI.forward(p, obs, spaces, SCALAR)
    assert torch.equal(MULTI.forward(p, obs, as_floats, SCALAR), z)
    divided = torch.cat([obs[:, :128] / 255, obs[:, 128:]], 1)
    torch.testing.assert_close(MULTI.forward(p, divided, small, SCALAR), z, **EXACT)
    assert (MULTI.forward(p, obs, small, SCALAR) - z).abs().max() > 1e-3


def test_every_element_of_every_frame_matters() -> None:
    spaces = SPACES["stack"]
    network = Multi([20], *PLAIN, [6, 6, 6], 30)
    p = random_parameters(network, spaces, SCALAR)  # type: ignore[arg-type]
    obs = observations(spaces, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(network.forward(p, obs, spaces, SCALAR).sum(), obs)
    assert gradient.abs().amax(0).min() > 0


@pytest.mark.parametrize("name", ["picture and vector", "stack", "lone gray picture"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    spaces = SPACES[name]
    network = Multi([3, 3], *PLAIN, [2, 2, 2], 3)
    layout, obs = network.layout(spaces, SCALAR), observations(spaces, 2)

    def output(flat: Tensor) -> Tensor:
        return network.forward(views(flat, layout), obs, spaces, SCALAR)

    assert torch.autograd.gradcheck(output, (flat_of(layout).requires_grad_(),))


def recurrent(kind: type[Gru | Lstm], dueling: bool = False) -> Gru | Lstm:
    return kind([7, 6], False, False, dueling, False, 0.5, [3, 4, 2], 5, 4, 2, 3)


@BOTH_KINDS
@pytest.mark.parametrize("name", ["picture and vector", "stack", "lone gray picture"])
def test_a_recurrent_network_unrolls_pictures_as_it_steps_through_them(
    kind: type[Gru | Lstm], name: str
) -> None:
    spaces, network, time = SPACES[name], recurrent(kind, dueling=True), 5
    layout = network.layout(spaces, SCALAR)
    p, obs = views(flat_of(layout), layout), observations(spaces, 2, time)
    starts = torch.tensor([[False, False, True, False, False], [True, False, False, True, True]])
    state = first = drawn(2, network.state_size)
    steps = []
    for step in range(time):
        state = torch.where(starts[:, step, None], 0, state)
        z, state = network.unroll(p, obs[:, [step]], state, None, spaces, SCALAR)
        steps.append(z)
    z, last = network.unroll(p, obs, first, starts, spaces, SCALAR)
    torch.testing.assert_close(z.view(2, time, ACTIONS, 1), torch.stack(steps, 1), **EXACT)
    torch.testing.assert_close(last, state, **EXACT)


@BOTH_KINDS
def test_a_recurrent_cell_takes_the_features_of_all_parts(kind: type[Gru | Lstm]) -> None:
    spaces, network = SPACES["picture and vector"], recurrent(kind)
    layout = network.layout(spaces, SCALAR)
    p, obs = views(flat_of(layout), layout), observations(spaces, BATCH)
    features = module(p, "torso.0")(reference(network, p, obs, spaces)).relu()
    zeros = torch.zeros(BATCH, network.state_size, dtype=torch.float64)
    output, _ = network.cell(p, layers.dense(p, "cell.input", features), zeros)
    expected = network.streams(p, output, spaces, SCALAR)
    torch.testing.assert_close(network.forward(p, obs, spaces, SCALAR), expected, **EXACT)


@BOTH_KINDS
def test_a_recurrent_network_without_pictures_has_no_layers_for_parts(
    kind: type[Gru | Lstm],
) -> None:
    layout = recurrent(kind).layout(WITHOUT_PICTURES["several"], SCALAR)
    assert {name.split(".")[0] for name in layout} == {"torso", "cell", "advantage"}


@KIND
@pytest.mark.parametrize("layer_norm", [False, True])
def test_members_with_weights_of_their_own_compute_what_each_computes_alone(
    spaces: Spaces, layer_norm: bool
) -> None:
    network = replace(MULTI, layer_norm=layer_norm, spectral_norm=layer_norm)
    adam = Adam(1e-3, Schedule.constant, 1.0, 0.9, 0.999, 1e-8)
    agent = Agent(spaces, network, SCALAR, Dqn(), adam)
    weights = [initial(agent.layout, np.random.default_rng(seed)) for seed in (1, 2)]
    obs, nothing = observations(spaces, 2, 3), torch.zeros(2, 3, 0, dtype=torch.float64)
    population = Population([agent, agent], torch.float64, torch.device("cpu"))
    noise = torch.zeros(2, 0, dtype=torch.float64)
    q, _ = population.act(torch.stack(weights), population.scalars, obs, nothing, noise)
    for member, parameters in enumerate(weights):
        alone = agent.model.q(parameters, obs[member], noise[member])
        torch.testing.assert_close(q[member], alone, **EXACT)
    assert (q[0] - q[1]).abs().max() > 1e-3


def test_norms_and_noise_are_in_the_layers_of_each_part_too() -> None:
    network = replace(MULTI, layer_norm=True, spectral_norm=True, noisy=True, dueling=True)
    layout = network.layout(SPACES["picture and vector"], SCALAR)
    parts = {f"part.0.convolution.{index}" for index in range(3)} | {"part.0", "others", "torso.0"}
    streams = {"advantage.hidden", "value.hidden"}
    assert names_of(layout, ".singular_vector") == parts
    assert names_of(layout, ".scale") == parts | streams
    assert names_of(layout, ".weight_sigma") == streams | {"advantage.out", "value.out"}
    last = {name.split(".")[0] for name in layout if network.is_last(name)}
    assert last == {"advantage", "value"}
    assert network.has_features
    assert network.is_noisy


def test_dormant_units_are_counted_in_the_layers_of_each_part() -> None:
    spaces = SPACES["picture and vector"]
    model = Model(spaces, MULTI, SCALAR)
    flat = initial(model.layout, np.random.default_rng(0))
    named = views(flat, model.layout)
    for name, value in named.items():
        value.fill_(1.0 if name.endswith("weight") else 0.0)
    named["others.weight"].zero_()
    obs = observations(spaces, BATCH).abs()
    # Of 3 + 4 + 2 channels, 5 + 5 features, 7 and 6 units, the 5 features of the vector.
    assert model.dormant(flat, obs).item() == pytest.approx(5 / 32)
    assert size(model.layout) == len(flat)
