from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import sizes, torch_state
from torch import Tensor, nn

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.spaces import Spaces

ACTIONS = 3
SCALAR = Scalar(Loss.huber)


def image(*shape: int) -> Spaces:
    elements = int(np.prod(shape))
    return array_spaces(shape, (0,) * elements, (1,) * elements, ACTIONS)


SMALL = image(7, 6, 2)


def minatar(
    channels: list[int],
    widths: list[int],
    layer_norm: bool = False,
    spectral_norm: bool = False,
    dueling: bool = False,
    noisy: bool = False,
) -> MinAtarCnn:
    return MinAtarCnn(widths, layer_norm, spectral_norm, dueling, noisy, 0.5, channels)


def random_parameters(network: MinAtarCnn, head: Head) -> dict[str, Tensor]:
    layout = network.layout(SMALL, head)
    return views(torch.from_numpy(np.random.default_rng(1).normal(0, 0.4, size(layout))), layout)


def observations() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(8, 7, 6, 2)))


def reference(p: dict[str, Tensor], names: list[str], layer_norm: bool) -> nn.Sequential:
    """The layers of these names, built of torch's own modules; the last is linear."""
    modules: list[nn.Module] = []
    for name in names:
        weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        layer: nn.Module
        if weight.dim() == 4:
            layer = nn.Conv2d(weight.shape[1], len(weight), 3, dtype=torch.float64)
            norm: nn.Module = nn.GroupNorm(1, len(bias), dtype=torch.float64)
        else:
            modules.append(nn.Flatten())
            layer = nn.Linear(weight.numel() // len(bias), len(bias), dtype=torch.float64)
            norm = nn.LayerNorm(len(bias), dtype=torch.float64)
        layer.load_state_dict(torch_state(p, name))
        modules.append(layer)
        if name != names[-1]:
            if layer_norm:
                norm.load_state_dict({"weight": p[f"{name}.scale"], "bias": p[f"{name}.shift"]})
                modules.append(norm)
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("channels", [[4], [4, 3]])
@pytest.mark.parametrize("widths", [[], [5], [6, 5]])
def test_a_minatar_network_computes_what_the_same_layers_of_torch_compute(
    channels: list[int], widths: list[int], layer_norm: bool
) -> None:
    network = minatar(channels, widths, layer_norm)
    p, obs = random_parameters(network, SCALAR), observations()
    names = [f"convolution.{index}" for index in range(len(channels))]
    names += [f"torso.{index}" for index in range(len(widths) - 1)]
    names += ["advantage.hidden", "advantage.out"] if widths else ["advantage.out"]
    expected = reference(p, names, layer_norm)(obs.permute(0, 3, 1, 2))
    z = network.forward(p, obs, SMALL, SCALAR)
    torch.testing.assert_close(z.squeeze(2), expected, rtol=1e-12, atol=1e-12)


def test_the_papers_network_has_1024_features_of_10_by_10_pixels() -> None:
    layout = minatar([16], [128]).layout(image(10, 10, 4), SCALAR)
    shapes = {name: parameter.shape for name, parameter in layout.items()}
    assert shapes == {
        "convolution.0.weight": (16, 4, 3, 3),
        "convolution.0.bias": (16,),
        "advantage.hidden.weight": (128, 1024),  # 16 channels of 8 by 8 pixels
        "advantage.hidden.bias": (128,),
        "advantage.out.weight": (3, 128),
        "advantage.out.bias": (3,),
    }
    assert sizes(layout, "advantage.hidden") == (1024, 128)
    assert sizes(layout, "advantage.out") == (128, 3)


def test_initial_values_of_convolutions_lie_within_torchs_bounds() -> None:
    layout = minatar([40, 50], []).layout(image(10, 10, 4), SCALAR)
    named = views(initial(layout, np.random.default_rng(0)), layout)
    for name, inputs in (("convolution.0", 36), ("convolution.1", 360)):
        for values in (named[f"{name}.weight"], named[f"{name}.bias"]):
            assert 0.8 * inputs**-0.5 < values.abs().max() <= inputs**-0.5


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((4,), [16]),
        ((10, 10), [16]),
        ((4, 10, 10, 4), [16]),
        ((2, 10, 4), [16]),
        ((10, 2, 4), [16]),
    ],
)
def test_observations_that_are_no_images_are_refused(
    shape: tuple[int, ...], channels: list[int]
) -> None:
    message = rf"at least 3 by 3; these are {re.escape(str(list(shape)))}: use network=multi"
    with pytest.raises(ValueError, match=message):
        minatar(channels, [5]).layout(image(*shape), SCALAR)


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_the_smallest_image_leaves_one_pixel(convolutions: int) -> None:
    side = 2 * convolutions + 1
    network = minatar([4] * convolutions, [])
    assert sizes(network.layout(image(side, side, 2), SCALAR), "advantage.out") == (4, 3)
    with pytest.raises(ValueError, match=f"at least {side} by {side}"):
        network.layout(image(side - 1, side, 2), SCALAR)


def test_an_image_may_be_higher_than_wide() -> None:
    # 8 by 3 pixels and 6 by 1 after a convolution of 4 channels
    layout = minatar([4], []).layout(image(8, 3, 2), SCALAR)
    assert sizes(layout, "advantage.out") == (24, 3)


@pytest.mark.parametrize("noisy", [False, True])
def test_convolutions_are_normalised_and_never_noisy(noisy: bool) -> None:
    layout = minatar([4, 3], [5], True, True, False, noisy).layout(SMALL, SCALAR)
    for name, channels in (("convolution.0", 4), ("convolution.1", 3)):
        assert layout[f"{name}.singular_vector"].shape == (channels,)
        assert layout[f"{name}.scale"].shape == layout[f"{name}.shift"].shape == (channels,)
        assert f"{name}.weight_sigma" not in layout
    assert ("advantage.hidden.weight_sigma" in layout) is noisy
    assert ("advantage.hidden.singular_vector" in layout) is not noisy


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize(
    ("head", "atoms"), [(SCALAR, 1), (C51(5, -1.0, 1.0), 5), (Qr(3), 3), (Iqn(6, 4), 6)]
)
def test_z_has_the_atoms_of_each_action(head: Head, atoms: int, dueling: bool) -> None:
    network = minatar([4], [6, 5], dueling=dueling)
    p = random_parameters(network, head) | {"taus": torch.rand(8, 6, dtype=torch.float64)}
    assert network.forward(p, observations(), SMALL, head).shape == (8, ACTIONS, atoms)


def test_only_the_streams_are_last_layers() -> None:
    network = minatar([4], [6, 5], dueling=True)
    layout = network.layout(SMALL, SCALAR)
    others = {name.split(".")[0] for name in layout if not network.is_last(name)}
    assert others == {"convolution", "torso"}
