from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import matrix, sizes, torch_state
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.atari_cnns import AtariCnn, Impala, Nature
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.parameters import Layout, initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.spaces import Spaces

ACTIONS, BATCH = 3, 4
DOUBLE = torch.float64
EXACT = {"rtol": 1e-11, "atol": 1e-11}
SCALAR = Scalar(Loss.huber)
STRIDES = (4, 2, 1)  # of Nature's convolutions
HEADS = [SCALAR, C51(5, -1.0, 1.0), Qr(3), Iqn(6, 4)]


def image(*shape: int, frames: int = 0, high: float = 1.0, actions: int = ACTIONS) -> Spaces:
    return array_spaces(shape, (0.0,), (high,), actions, frames=frames)


def images(height: int, width: int) -> dict[str, Spaces]:
    return {
        "frames": image(2, height, width, frames=2),
        "color frames": image(2, height, width, 3, frames=2),
        "one frame": image(1, height, width, frames=1),
        "colors": image(height, width, 3),
        "bytes": image(2, height, width, frames=2, high=255.0),
        "colors of bytes": image(height, width, 3, high=255.0),
    }


LARGE = images(36, 44)  # of which Nature leaves [1, 2] pixels
SMALL = images(9, 12)  # Impala takes any
NATURE = Nature([7, 6], False, False, False, False, 0.5, [3, 4, 2], False)
IMPALA = Impala([7, 6], False, False, False, False, 0.5, [2, 3], False, 1, 2)
BOTH = pytest.mark.parametrize(
    ("network", "spaces"), [(NATURE, LARGE), (IMPALA, SMALL)], ids=["nature", "impala"]
)


def drawn(*shape: int, seed: int = 2) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def with_highest(spaces: Spaces, high: tuple[float, ...]) -> Spaces:
    return spaces._replace(parts=(spaces.parts[0]._replace(high=high),))


def observations(spaces: Spaces, batch: int = BATCH) -> Tensor:
    """Numbers up to the highest; whole ones where these are bytes."""
    random, (high, *_) = np.random.default_rng(2), spaces.parts[0].high
    shape = (batch, *spaces.observation_shape)
    return torch.from_numpy(random.integers(256, size=shape) * high / 255)


def flat_of(layout: Layout) -> Tensor:
    """No parameter has its initial value; each vector is that of the largest singular value."""
    flat = initial(layout, np.random.default_rng(0))
    flat += 0.1 * drawn(len(flat), seed=1)
    named = views(flat, layout)
    for name in [name for name in named if name.endswith(".singular_vector")]:
        weight = matrix(named, name.removesuffix(".singular_vector"))
        named[name].copy_(torch.linalg.svd(weight)[2][0])
    return flat


def random_parameters(network: AtariCnn, spaces: Spaces, head: Head) -> dict[str, Tensor]:
    """With noise where the layers are noisy, and levels for implicit quantiles."""
    layout = network.layout(spaces, head)
    noise = layers.noise_layout(layout)
    taus = torch.from_numpy(np.random.default_rng(3).random((BATCH, 6)))
    return views(flat_of(layout), layout) | views(drawn(size(noise)), noise) | {"taus": taus}


def as_loaded(p: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """What a module of torch loads in order to be this layer, divided and noisy as it is."""
    state = torch_state(p, name)
    weight, bias = state["weight"], state["bias"]
    if f"{name}.singular_vector" in p:
        weight = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    if f"{name}.noise_in" in p:
        first, second = (
            torch.sqrt(noise.abs()) * torch.sign(noise)
            for noise in (p[f"{name}.noise_out"], p[f"{name}.noise_in"])
        )
        weight = weight + matrix(p, name, "weight_sigma").T * first[:, None] * second
        bias = bias + p[f"{name}.bias_sigma"] * first
    return {"weight": weight, "bias": bias}


def module(p: dict[str, Tensor], name: str, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """A layer, and its norm if it has one."""
    state = as_loaded(p, name)
    weight, outputs = state["weight"], len(state["bias"])
    layer: nn.Module
    norm: nn.Module
    if weight.dim() == 4:
        _, inputs, kernel, _ = weight.shape
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, dtype=DOUBLE)
        norm = nn.GroupNorm(1, outputs, dtype=DOUBLE)
    else:
        layer = nn.Linear(weight.shape[1], outputs, dtype=DOUBLE)
        norm = nn.LayerNorm(outputs, dtype=DOUBLE)
    layer.load_state_dict(state)
    if f"{name}.scale" not in p:
        return nn.Sequential(layer)
    norm.load_state_dict({"weight": p[f"{name}.scale"], "bias": p[f"{name}.shift"]})
    return nn.Sequential(layer, norm)


class Residual(nn.Module):
    def __init__(self, p: dict[str, Tensor], name: str) -> None:
        super().__init__()
        first, second = (module(p, f"{name}.{part}", 1, 1) for part in ("first", "second"))
        self.inner = nn.Sequential(nn.ReLU(), first, nn.ReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.inner(x)
        return result


def convolutions(network: AtariCnn, p: dict[str, Tensor]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for index in range(len(network.channels)):
        if isinstance(network, Nature):
            modules += [module(p, f"convolution.{index}", STRIDES[index]), nn.ReLU()]
        else:
            name = f"section.{index}"
            modules += [module(p, name, 1, 1), nn.MaxPool2d(3, 2, 1)]
            modules += [Residual(p, f"{name}.residual.{block}") for block in (0, 1)]
    if isinstance(network, Impala):
        modules.append(nn.ReLU())
        if network.pool:
            modules.append(nn.AdaptiveMaxPool2d(network.pool))
    return nn.Sequential(*modules, nn.Flatten())


def planes(obs: Tensor, spaces: Spaces) -> Tensor:
    """Observations [batch, planes, height, width]: colors of the oldest frame, of the next."""
    if spaces.frames and obs.dim() == 4:
        return obs
    frames = [obs[:, k] for k in range(spaces.frames)] or [obs]
    return torch.stack([frame[..., color] for frame in frames for color in range(3)], 1)


def reference(
    network: AtariCnn, p: dict[str, Tensor], obs: Tensor, spaces: Spaces, head: Head
) -> Tensor:
    """The z [batch, actions, atoms], by torch's own modules."""
    x = planes(obs / 255 if spaces.parts[0].high == (255.0,) else obs, spaces)
    features = convolutions(network, p)(x)
    for index in range(len(network.widths) - 1):
        features = module(p, f"torso.{index}")(features).relu()
    outputs = head.outputs
    if isinstance(head, Iqn):
        waves = torch.cos(math.pi * torch.arange(head.cosines, dtype=DOUBLE) * p["taus"][..., None])
        features = features[:, None] * module(p, "cosines")(waves).relu()  # [batch, levels, ...]

    def stream(name: str) -> Tensor:
        hidden = module(p, f"{name}.hidden")(features).relu() if network.widths else features
        out: Tensor = module(p, f"{name}.out")(hidden)
        return out.unflatten(-1, (-1, outputs))

    z = stream("advantage")  # [batch, (levels,) actions, outputs]
    if network.dueling:
        z = z - z.mean(-2, keepdim=True) + stream("value")
    return z.squeeze(-1).transpose(1, 2) if isinstance(head, Iqn) else z


def check(network: AtariCnn, spaces: Spaces, head: Head) -> None:
    p, obs = random_parameters(network, spaces, head), observations(spaces)
    z = network.forward(p, obs, spaces, head)
    expected = reference(network, p, obs, spaces, head)
    assert z.shape == (BATCH, ACTIONS, head.samples or head.outputs)
    assert expected.std() > 1e-3
    torch.testing.assert_close(z, expected, **EXACT)


@BOTH
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_network_of_pixels_computes_what_the_same_layers_of_torch_compute(
    network: AtariCnn,
    spaces: dict[str, Spaces],
    layer_norm: bool,
    spectral_norm: bool,
    dueling: bool,
    noisy: bool,
) -> None:
    chosen = {"layer_norm": layer_norm, "spectral_norm": spectral_norm}
    network = replace(network, **chosen, dueling=dueling, noisy=noisy)
    check(network, spaces["bytes"], SCALAR)
    check(network, spaces["colors"], Qr(2))


@BOTH
@pytest.mark.parametrize("head", HEADS, ids=["scalar", "c51", "qr", "iqn"])
@pytest.mark.parametrize("kind", LARGE)
def test_every_head_reads_every_kind_of_image(
    network: AtariCnn, spaces: dict[str, Spaces], kind: str, head: Head
) -> None:
    check(replace(network, dueling=True, noisy=True), spaces[kind], head)


@BOTH
@pytest.mark.parametrize("widths", [[], [5], [8, 7, 6]])
def test_any_number_of_dense_layers_follows_the_convolutions(
    network: AtariCnn, spaces: dict[str, Spaces], widths: list[int]
) -> None:
    check(replace(network, widths=widths), spaces["frames"], SCALAR)
    check(replace(network, widths=widths, dueling=True), spaces["bytes"], Iqn(6, 4))


@pytest.mark.parametrize("channels", [[3], [3, 2]])
def test_nature_may_have_fewer_convolutions(channels: list[int]) -> None:
    check(replace(NATURE, channels=channels), LARGE["bytes"], SCALAR)


@pytest.mark.parametrize("pool", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("channels", [[3], [2, 3, 2]])
def test_impala_may_have_any_number_of_sections_and_any_last_pooling(
    channels: list[int], pool: int
) -> None:
    check(replace(IMPALA, channels=channels, pool=pool), SMALL["bytes"], SCALAR)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_scale_multiplies_the_channels_of_all_of_impalas_convolutions(scale: int) -> None:
    network = replace(IMPALA, scale=scale)
    layout = network.layout(SMALL["frames"], SCALAR)
    wide = replace(IMPALA, channels=[channels * scale for channels in IMPALA.channels])
    assert layout == wide.layout(SMALL["frames"], SCALAR)
    check(network, SMALL["frames"], SCALAR)


@BOTH
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_bytes_are_divided_by_255_and_nothing_else_is(
    network: AtariCnn, spaces: dict[str, Spaces], layer_norm: bool, spectral_norm: bool
) -> None:
    network = replace(network, layer_norm=layer_norm, spectral_norm=spectral_norm)
    of_bytes = spaces["bytes"]
    p, obs = random_parameters(network, of_bytes, SCALAR), observations(of_bytes)
    numbers = math.prod(of_bytes.observation_shape)
    every = with_highest(of_bytes, (255.0,) * numbers)
    mixed = with_highest(of_bytes, (255.0,) * (numbers - 1) + (254.0,))
    divided = network.forward(p, obs, of_bytes, SCALAR)
    assert torch.equal(network.forward(p, obs, every, SCALAR), divided)
    for others in (with_highest(of_bytes, (256.0,)), mixed, spaces["frames"]):
        z = network.forward(p, obs, others, SCALAR)
        torch.testing.assert_close(network.forward(p, obs / 255, others, SCALAR), divided, **EXACT)
        assert (z - divided).abs().max() > 1e-3


def test_natures_own_network_has_3136_features_and_1687206_parameters() -> None:
    network = Nature([512], False, False, False, False, 0.5, [32, 64, 64], False)
    layout = network.layout(image(4, 84, 84, frames=4, actions=6), SCALAR)
    assert {name: parameter.shape for name, parameter in layout.items()} == {
        "convolution.0.weight": (32, 4, 8, 8),
        "convolution.0.bias": (32,),
        "convolution.1.weight": (64, 32, 4, 4),
        "convolution.1.bias": (64,),
        "convolution.2.weight": (64, 64, 3, 3),
        "convolution.2.bias": (64,),
        "advantage.hidden.weight": (3136, 512)[::-1],  # 64 channels of 7 by 7 pixels
        "advantage.hidden.bias": (512,),
        "advantage.out.weight": (6, 512),
        "advantage.out.bias": (6,),
    }
    assert sizes(layout, "advantage.hidden") == (3136, 512)
    assert size(layout) == 1_687_206


def test_the_network_of_the_first_paper_has_2592_features() -> None:
    # Mnih et al. 2013: 32 channels of 9 by 9 pixels
    network = Nature([256], False, False, False, False, 0.5, [16, 32], False)
    layout = network.layout(image(4, 84, 84, frames=4), SCALAR)
    assert sizes(layout, "advantage.hidden") == (2592, 256)


@pytest.mark.parametrize(
    ("scale", "pool", "features"),
    [
        (2, 6, 2304),  # 64 channels of 6 by 6 pixels
        (1, 6, 1152),
        (1, 0, 3872),  # 32 channels of 11 by 11 pixels
        (2, 0, 7744),
    ],
)
def test_the_features_of_impala(scale: int, pool: int, features: int) -> None:
    network = Impala([256], False, False, False, False, 0.5, [16, 32, 32], False, scale, pool)
    layout = network.layout(image(4, 84, 84, frames=4), SCALAR)
    assert sizes(layout, "advantage.hidden") == (features, 256)
    # Espeholt et al. 2018, figure 3: fifteen convolutions
    assert len([name for name in layout if len(layout[name].shape) == 4]) == 15


def test_impala_without_scale_or_pool_is_that_of_the_paper() -> None:
    network = Impala([256], False, False, False, False, 0.5, [16, 32, 32], False, 1, 0)
    layout = network.layout(image(4, 84, 84, frames=4, actions=6), SCALAR)
    # 3 * 3 * inputs * outputs + outputs of each convolution
    sections = [(4, 16), *[(16, 16)] * 4, (16, 32), *[(32, 32)] * 4, (32, 32), *[(32, 32)] * 4]
    convolutions = sum(9 * inputs * outputs + outputs for inputs, outputs in sections)
    assert size(layout) == convolutions + 3872 * 256 + 256 + 256 * 6 + 6


HELP = "use network=multi"


@pytest.mark.parametrize(
    ("spaces", "channels"),
    [
        (image(4, 35, 84, frames=4), [3, 3, 3]),
        (image(4, 84, 35, frames=4), [3, 3, 3]),
        (image(35, 84, 3), [3, 3, 3]),
        (image(10, 10, 4), [3, 3]),
        (image(4, 10, 10, 3, frames=4), [3, 3]),
        (image(3, 84, 84), [3]),  # colors are expected last
        (image(7, 8, 3), [3]),
        (image(2, 1, 1, frames=2), [3]),
    ],
)
def test_images_that_are_too_small_for_nature_are_refused(
    spaces: Spaces, channels: list[int]
) -> None:
    shape = re.escape(str(list(spaces.observation_shape)))
    with pytest.raises(ValueError, match=f"network=nature needs larger images.*{shape}: {HELP}"):
        replace(NATURE, channels=channels).layout(spaces, SCALAR)


@pytest.mark.parametrize(("side", "channels"), [(8, [3]), (20, [3, 3]), (36, [3, 3, 3])])
def test_the_smallest_image_for_nature_leaves_one_pixel(side: int, channels: list[int]) -> None:
    network = replace(NATURE, channels=channels, widths=[])
    layout = network.layout(image(2, side, side, frames=2), SCALAR)
    assert sizes(layout, "advantage.out") == (3, ACTIONS)
    for small in ((2, side - 1, side), (2, side, side - 1)):
        with pytest.raises(ValueError, match=HELP):
            network.layout(image(*small, frames=2), SCALAR)


@pytest.mark.parametrize(("side", "features"), [(1, 3), (2, 3), (3, 12), (4, 12), (5, 27)])
def test_impala_rounds_half_of_a_side_up_and_takes_the_smallest_image(
    side: int, features: int
) -> None:
    network = replace(IMPALA, channels=[3], pool=0, widths=[])
    spaces = image(2, side, side, frames=2)
    assert sizes(network.layout(spaces, SCALAR), "advantage.out") == (features, ACTIONS)
    check(network, spaces, SCALAR)


@pytest.mark.parametrize(
    "spaces",
    [
        image(4),
        image(84, 84),
        image(4, 84, frames=4),
        (image(2, 84, 84, 3)),
        (image(2, 84, 84, 3, 2, frames=2)),
        (image(2, 84, 84, 84, 84, 84)),
    ],
    ids=lambda spaces: f"{list(spaces.observation_shape)} with {spaces.frames} frames",
)
@pytest.mark.parametrize("network", [NATURE, IMPALA], ids=["nature", "impala"])
def test_observations_of_another_number_of_axes_are_refused(
    network: AtariCnn, spaces: Spaces
) -> None:
    name, shape = type(network).__name__.lower(), re.escape(str(list(spaces.observation_shape)))
    with pytest.raises(ValueError, match=rf"network={name}.*{shape}.*use network=multi"):
        network.layout(spaces, SCALAR)


def test_nature_has_at_most_three_convolutions() -> None:
    message = r"network\.channels has 4 numbers; nature has at most 3 convolutions"
    with pytest.raises(ValueError, match=message):
        replace(NATURE, channels=[3, 3, 3, 3]).layout(LARGE["frames"], SCALAR)


def names_of(layout: Layout, end: str) -> set[str]:
    return {name.removesuffix(end) for name in layout if name.endswith(end)}


RESIDUALS = {
    f"section.{section}.residual.{block}.{part}"
    for section in (0, 1)
    for block in (0, 1)
    for part in ("first", "second")
}


@pytest.mark.parametrize(
    ("widths", "noisy"),
    [
        ([], False),
        ([], True),
        ([5], True),
        ([5], False),
        ([7, 6], False),
        ([7, 6], True),
    ],
)
def test_spectral_norm_in_impala_is_for_the_residual_convolutions_alone(
    widths: list[int], noisy: bool
) -> None:
    network = replace(IMPALA, spectral_norm=True, widths=widths, noisy=noisy, dueling=True)
    layout = network.layout(SMALL["frames"], SCALAR)
    assert names_of(layout, ".singular_vector") == RESIDUALS
    for name in RESIDUALS:
        assert layout[f"{name}.singular_vector"].shape == layout[f"{name}.bias"].shape


@pytest.mark.parametrize("noisy", [False, True])
def test_spectral_norm_in_nature_is_for_all_hidden_layers_that_are_not_noisy(noisy: bool) -> None:
    network = replace(NATURE, spectral_norm=True, noisy=noisy)
    spectral = names_of(network.layout(LARGE["frames"], SCALAR), ".singular_vector")
    hidden = {"convolution.0", "convolution.1", "convolution.2", "torso.0"}
    assert spectral == hidden | (set() if noisy else {"advantage.hidden"})


@BOTH
def test_layer_norm_is_for_every_layer_but_the_last(
    network: AtariCnn, spaces: dict[str, Spaces]
) -> None:
    layout = replace(network, layer_norm=True, dueling=True).layout(spaces["frames"], SCALAR)
    last = {"advantage.out", "value.out"}
    assert names_of(layout, ".scale") == names_of(layout, ".shift")
    assert names_of(layout, ".scale") == names_of(layout, ".weight") - last


@BOTH
def test_noise_is_for_the_streams_alone(network: AtariCnn, spaces: dict[str, Spaces]) -> None:
    layout = replace(network, noisy=True, dueling=True).layout(spaces["frames"], SCALAR)
    streams = {"advantage.hidden", "advantage.out", "value.hidden", "value.out"}
    assert names_of(layout, ".weight_sigma") == streams


@BOTH
def test_the_streams_are_the_last_layers(network: AtariCnn, spaces: dict[str, Spaces]) -> None:
    layout = replace(network, dueling=True).layout(spaces["frames"], Iqn(6, 4))
    last = {name.split(".")[0] for name in layout if network.is_last(name)}
    others = {name.split(".")[0] for name in layout if not network.is_last(name)}
    assert last == {"advantage", "value"}
    kind = "convolution" if isinstance(network, Nature) else "section"
    assert others == {kind, "torso", "cosines"}


@BOTH
def test_a_network_of_pixels_has_features_and_is_large(
    network: AtariCnn, spaces: dict[str, Spaces]
) -> None:
    assert network.has_features
    assert network.is_large
    assert not network.is_noisy
    assert replace(network, noisy=True).is_noisy


@pytest.mark.parametrize(
    "network",
    [replace(NATURE, channels=[30, 40, 50]), replace(IMPALA, channels=[15, 20], scale=2)],
    ids=["nature", "impala"],
)
def test_initial_values_lie_within_torchs_bounds(network: AtariCnn) -> None:
    layout = replace(network, widths=[60, 50], layer_norm=True).layout(LARGE["bytes"], SCALAR)
    named = views(initial(layout, np.random.default_rng(0)), layout)
    for name in names_of(layout, ".weight"):
        bound = sizes(layout, name)[0] ** -0.5
        assert 0.95 * bound < named[f"{name}.weight"].abs().max() <= bound
        assert 0.3 * bound < named[f"{name}.bias"].abs().max() <= bound
    for name in names_of(layout, ".scale"):
        assert (named[f"{name}.scale"] == 1).all()
        assert (named[f"{name}.shift"] == 0).all()


def chosen(layout: Layout, values: dict[str, list[float]]) -> Tensor:
    """Flat parameters that are zero but for some."""
    flat = torch.zeros(size(layout), dtype=DOUBLE)
    named = views(flat, layout)
    for name, numbers in values.items():
        named[name].copy_(torch.tensor(numbers, dtype=DOUBLE).view(layout[name].shape))
    return flat


def test_dormant_units_of_nature_are_channels_and_dense_units() -> None:
    network = replace(NATURE, channels=[3, 2], widths=[2, 4])
    model = Model(image(2, 20, 24, frames=2), network, SCALAR)
    start = chosen(
        model.layout,
        {
            "convolution.0.bias": [0.0, -1.0, 2.0],
            "convolution.1.bias": [1.0, 1.0],
            "torso.0.bias": [-1.0, 1.0],
            "advantage.hidden.bias": [1.0, 0.0, 0.0, 0.0],
        },
    )
    # two of three, none of two, one of two and three of four
    assert model.dormant(start, observations(model.spaces)).item() == pytest.approx(6 / 11)


def test_dormant_units_of_impala_are_channels_after_each_relu_of_its_blocks() -> None:
    network = replace(IMPALA, channels=[2], widths=[])
    model = Model(image(2, 5, 6, frames=2), network, SCALAR)
    start = chosen(
        model.layout,
        {
            "section.0.bias": [1.0, -1.0],
            "section.0.residual.0.first.bias": [-1.0, -1.0],
            "section.0.residual.0.second.bias": [0.0, 3.0],
            "section.0.residual.1.first.bias": [5.0, 0.1],
        },
    )
    # Before and within the first block [1, 0] and [0, 0], in the second [1, 2] and [5, 0.1], whose
    # scores are above a fortieth.
    assert model.dormant(start, observations(model.spaces)).item() == 3 / 8


@BOTH
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("head", HEADS, ids=["scalar", "c51", "qr", "iqn"])
def test_the_dormant_share_is_a_share_and_few_units_of_fresh_networks_are_dormant(
    network: AtariCnn, spaces: dict[str, Spaces], head: Head, bfloat16: bool
) -> None:
    network = replace(network, bfloat16=bfloat16, widths=[], channels=[9, 8], layer_norm=True)
    model = Model(spaces["bytes"], network, head)
    start = initial(model.layout, np.random.default_rng(0)).float()
    share = model.dormant(start, observations(model.spaces).float())
    assert (share.shape, share.dtype) == ((), torch.float32)
    assert 0 <= share < 0.3


def single(
    network: AtariCnn, spaces: Spaces, head: Head
) -> tuple[Callable[[bool, torch.dtype], Tensor], Tensor]:
    """The z in either precision, as a function of flat parameters in float32, and these."""
    layout = network.layout(spaces, head)
    parameters = initial(layout, np.random.default_rng(0)).float().requires_grad_()
    noise, like = layers.noise_layout(layout), observations(spaces)
    extra = views(drawn(size(noise)), noise) | {"taus": torch.rand(BATCH, head.samples)}

    def z(bfloat16: bool, dtype: torch.dtype = torch.float32) -> Tensor:
        p = views(parameters, layout) | extra
        p = {name: value.to(dtype) for name, value in p.items()}
        return replace(network, bfloat16=bfloat16).forward(p, like.to(dtype), spaces, head)

    return z, parameters


@BOTH
@pytest.mark.parametrize("head", HEADS, ids=["scalar", "c51", "qr", "iqn"])
@pytest.mark.parametrize(
    "choice", ["widths", "layer_norm", "spectral_norm", "dueling", "noisy", "convolutions alone"]
)
def test_bfloat16_gives_z_in_the_parameters_type_close_to_float32(
    network: AtariCnn, spaces: dict[str, Spaces], choice: str, head: Head
) -> None:
    torch.manual_seed(0)
    network = replace(network, channels=[8, 8], widths=[16, 16])
    if choice == "convolutions alone":
        network = replace(network, widths=[])
    elif choice != "widths":
        network = replace(network, **{choice: True})
    z, parameters = single(network, spaces["bytes"], head)
    exact, rough = z(False, torch.float32), z(True, torch.float32)
    assert rough.dtype == exact.dtype == torch.float32
    error = (rough - exact).detach().norm() / exact.detach().norm()
    assert 1e-5 < error < 0.02  # half a unit of its last place is 0.002
    towards = torch.randn_like(exact)
    (plain,) = torch.autograd.grad((exact * towards).sum(), parameters)
    (gradient,) = torch.autograd.grad((rough * towards).sum(), parameters)
    assert gradient.dtype == torch.float32
    assert torch.isfinite(gradient).all()
    # Units at the edge of their ReLU differ.
    assert torch.cosine_similarity(gradient, plain, dim=0) > 0.97


@BOTH
def test_without_bfloat16_single_precision_is_kept(
    network: AtariCnn, spaces: dict[str, Spaces]
) -> None:
    z, _ = single(network, spaces["bytes"], SCALAR)
    exact = z(False, DOUBLE)
    assert exact.dtype == DOUBLE
    torch.testing.assert_close(z(False, torch.float32).double(), exact, rtol=1e-4, atol=1e-6)


@BOTH
@pytest.mark.parametrize("kind", ["bytes", "color frames"])
def test_gradients_are_those_of_finite_differences(
    network: AtariCnn, spaces: dict[str, Spaces], kind: str
) -> None:
    network = replace(network, channels=[2, 1], widths=[3], dueling=True)
    model = Model(spaces[kind], network, SCALAR)
    start, obs = flat_of(model.layout), observations(model.spaces, 2)

    def q(parameters: Tensor) -> Tensor:
        return model.q(parameters, obs, parameters.new_empty(0))

    assert q(start).std() > 1e-3
    assert torch.autograd.gradcheck(q, start.requires_grad_(), eps=1e-6, atol=1e-7, rtol=1e-5)


@BOTH
def test_an_observation_is_valued_the_same_in_any_batch(
    network: AtariCnn, spaces: dict[str, Spaces]
) -> None:
    model = Model(spaces["color frames"], replace(network, layer_norm=True), SCALAR)
    start, obs = flat_of(model.layout), observations(model.spaces)
    none = start.new_empty(0)
    together = model.q(start, obs, none)
    for index in range(BATCH):
        alone = model.q(start, obs[index : index + 1], none)
        torch.testing.assert_close(alone, together[index : index + 1], **EXACT)


@pytest.mark.parametrize("network", [NATURE, IMPALA], ids=["nature", "impala"])
def test_a_network_without_convolutions_is_refused(network: AtariCnn) -> None:
    with pytest.raises(ValueError, match="channels is empty"):
        replace(network, channels=[]).layout(image(84, 84, 3), SCALAR)
