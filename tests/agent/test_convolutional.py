from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent import layers
from dqn_cli.agent.atari_cnns import Impala, Nature
from dqn_cli.agent.convolutional import Convolutional, NormAxes
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp

SCALAR = Scalar(Loss.huber)
SPACES = array_spaces((12, 12, 3), (0.0,), (255.0,), 2)
PLAIN = ([4, 4], True, False, False, False, 0.5)
NETWORKS = {
    "nature": Nature(*PLAIN, [2], False),
    "impala": Impala(*PLAIN, [2], False, 1, 2),
    "minatar": MinAtarCnn(*PLAIN, [2]),
    "multi": Multi(*PLAIN, [2], 4),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_only_convolutions_are_normalised_over_each_pixels_channels(network: Convolutional) -> None:
    layout = replace(network, norm_axes=NormAxes.pixel).layout(SPACES, SCALAR)
    shapes = {name.removesuffix(".weight"): entry.shape for name, entry in layout.items()}
    for name in (name.removesuffix(".weight") for name in layout if name.endswith(".weight")):
        is_convolution, is_last = len(shapes[name]) == 4, name == "advantage.out"
        assert (f"{name}.pixel_scale" in layout) is (f"{name}.pixel_shift" in layout)
        assert (f"{name}.pixel_scale" in layout) is is_convolution
        assert (f"{name}.scale" in layout) is (not is_convolution and not is_last)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_without_layer_norm_its_axes_do_nothing(network: Convolutional) -> None:
    without = replace(network, layer_norm=False)
    other = replace(without, norm_axes=NormAxes.pixel)
    assert other.layout(SPACES, SCALAR) == without.layout(SPACES, SCALAR)


def test_a_pixel_is_normalised_by_itself() -> None:
    # Two channels of 1 and 3 have mean 2 and deviation 1, whatever other pixels hold.
    p = {
        "name.weight": torch.eye(2)[..., None, None],
        "name.bias": torch.zeros(2),
        "name.pixel_scale": torch.tensor([10.0, 100.0]),
        "name.pixel_shift": torch.tensor([0.0, 1.0]),
    }
    x = torch.tensor([[[[1.0, 50.0]], [[3.0, 50.0]]]])  # [1, channels, 1, pixels]
    expected = torch.tensor([[[[-10.0, 0.0]], [[101.0, 1.0]]]])
    torch.testing.assert_close(layers.convolve(p, "name", x), expected, rtol=1e-4, atol=1e-4)


def test_a_convolutions_norm_over_pixels_is_that_of_torch_on_the_last_axis() -> None:
    network = replace(NETWORKS["nature"], norm_axes=NormAxes.pixel)
    layout = network.layout(SPACES, SCALAR)
    random = np.random.default_rng(0)
    p = {name: torch.from_numpy(random.normal(size=entry.shape)) for name, entry in layout.items()}
    x = torch.from_numpy(random.normal(size=(5, 3, 12, 12)))
    plain = torch.nn.functional.conv2d(
        x, p["convolution.0.weight"], p["convolution.0.bias"], stride=4
    ).permute(0, 2, 3, 1)
    norm = torch.nn.LayerNorm(2, dtype=torch.float64)
    scale, shift = p["convolution.0.pixel_scale"], p["convolution.0.pixel_shift"]
    norm.load_state_dict({"weight": scale, "bias": shift})
    expected = norm(plain).permute(0, 3, 1, 2).relu()
    torch.testing.assert_close(layers.hidden_convolution(p, "convolution.0", x, 4), expected)


def test_a_network_without_convolutions_has_no_axes_to_choose() -> None:
    assert not hasattr(Mlp(*PLAIN), "norm_axes")
