from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import sizes, stored, torch_state
from torch import Tensor, nn

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.convolutional import NormAxes
from dqn_cli.agent.hadamax import Hadamax
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.initialization import Initialization
from dqn_cli.agent.model import Model
from dqn_cli.agent.parameters import Layout, initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.spaces import Spaces

SCALAR = Scalar(Loss.huber)
DOUBLE = torch.float64


def image(*shape: int, frames: int = 0, high: float = 255.0, actions: int = 3) -> Spaces:
    return array_spaces(shape, (0.0,), (high,), actions, frames=frames)


def hadamax(
    channels: list[int],
    kernels: list[int],
    pools: list[int],
    strides: list[int],
    widths: list[int],
    layer_norm: bool = True,
    dueling: bool = False,
    noisy: bool = False,
    norm_axes: NormAxes = NormAxes.pixel,
) -> Hadamax:
    return Hadamax(
        widths, layer_norm, False, dueling, noisy, 0.5, channels, False, kernels, pools, strides,
        norm_axes=norm_axes,
    )  # fmt: skip


PAPER = hadamax([32, 64, 64], [8, 4, 3], [4, 2, 3], [4, 2, 1], [512])
TINY = hadamax([3, 2, 4], [8, 4, 3], [4, 2, 3], [4, 2, 1], [6, 5])
SPACES = image(2, 11, 14, frames=2)


def random_parameters(network: Hadamax, spaces: Spaces, head: Head) -> dict[str, Tensor]:
    layout = network.layout(spaces, head)
    flat = torch.from_numpy(np.random.default_rng(1).normal(0, 0.4, size(layout)))
    return views(flat, layout)


def observations(spaces: Spaces, batch: int = 4) -> Tensor:
    shape = (batch, *spaces.observation_shape)
    return torch.from_numpy(np.random.default_rng(2).integers(256, size=shape)).double()


def same(side: int, window: int, stride: int) -> tuple[int, int]:
    """Padding before and behind an axis, as XLA's SAME: an output for each stride begun."""
    outputs = math.ceil(side / stride)
    total = max(0, (outputs - 1) * stride + window - side)
    return total // 2, total - total // 2


class Block(nn.Module):
    """A block of torch's own modules, on images whose sides are known."""

    def __init__(
        self, p: dict[str, Tensor], index: int, kernel: int, pool: int, stride: int
    ) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for path in ("first", "second"):
            name = f"block.{index}.{path}"
            weight = p[f"{name}.weight"]
            layer = nn.Conv2d(weight.shape[1], len(weight), kernel, dtype=DOUBLE)
            layer.load_state_dict(torch_state(p, name))
            self.paths.append(nn.ModuleList([layer, self.norm(p, name, len(weight))]))
        self.kernel, self.pool, self.stride = kernel, pool, stride

    def norm(self, p: dict[str, Tensor], name: str, channels: int) -> nn.Module:
        if f"{name}.pixel_scale" in p:
            norm: nn.Module = nn.LayerNorm(channels, dtype=DOUBLE)
            state = {"weight": p[f"{name}.pixel_scale"], "bias": p[f"{name}.pixel_shift"]}
            norm.load_state_dict(state)
            return norm
        if f"{name}.scale" not in p:
            return nn.Identity()
        norm = nn.GroupNorm(1, channels, dtype=DOUBLE)
        norm.load_state_dict({"weight": p[f"{name}.scale"], "bias": p[f"{name}.shift"]})
        return norm

    def forward(self, x: Tensor) -> Tensor:
        product = torch.ones((), dtype=DOUBLE)
        x = nn.functional.pad(x, same(x.shape[3], self.kernel, 1) * 2)
        for layer, norm in self.paths:
            y = layer(x)
            if isinstance(norm, nn.LayerNorm):
                y = norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            else:
                y = norm(y)
            product = product * nn.functional.gelu(y, approximate="tanh")
        height, width = product.shape[2:]
        top, bottom = same(height, self.pool, self.stride)
        left, right = same(width, self.pool, self.stride)
        padded = torch.full(
            (*product.shape[:2], top + height + bottom, left + width + right), -1e30, dtype=DOUBLE
        )
        padded[:, :, top : top + height, left : left + width] = product
        windows = padded.unfold(2, self.pool, self.stride).unfold(3, self.pool, self.stride)
        return windows.amax((4, 5))


def dense(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    state = torch_state(p, name)
    x = nn.functional.linear(x, state["weight"], state["bias"])
    if f"{name}.scale" in p:
        x = nn.functional.layer_norm(x, x.shape[1:], p[f"{name}.scale"], p[f"{name}.shift"])
    return nn.functional.gelu(x, approximate="tanh")


@pytest.mark.parametrize("norm", ["none", "image", "pixel"])
def test_hadamax_computes_what_the_same_layers_of_torch_compute(norm: str) -> None:
    network = replace(TINY, layer_norm=norm != "none")
    if norm != "none":
        network = replace(network, norm_axes=NormAxes[norm])
    p, obs = random_parameters(network, SPACES, SCALAR), observations(SPACES)
    sides = zip(network.kernels, network.pools, network.strides, strict=True)
    blocks = [Block(p, index, *side) for index, side in enumerate(sides)]
    with torch.no_grad():
        features = nn.Sequential(*blocks)(obs / 255).flatten(1)
        hidden = dense(p, "advantage.hidden", dense(p, "torso.0", features))
    out = torch_state(p, "advantage.out")
    expected = nn.functional.linear(hidden, out["weight"], out["bias"])
    assert expected.std() > 1e-3
    z = network.forward(p, obs, SPACES, SCALAR)
    torch.testing.assert_close(z.squeeze(2), expected, rtol=1e-11, atol=1e-11)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def test_a_block_multiplies_two_activations_and_keeps_the_largest_of_each_window() -> None:
    # One pixel of a kernel: the paths see x and 2 - x, whose activations are multiplied. Windows of
    # two side by side are the columns 0 and 1, and column 2 alone.
    network = hadamax([1], [1], [2], [2], [], layer_norm=False)
    spaces = image(1, 3, 1, high=1.0)
    layout = network.layout(spaces, SCALAR)
    p = views(torch.zeros(size(layout), dtype=DOUBLE), layout)
    p["block.0.first.weight"].fill_(1)
    p["block.0.second.weight"].fill_(-1)
    p["block.0.second.bias"].fill_(2)
    outputs = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # [inputs, outputs]
    p["advantage.out.weight"].copy_(stored(outputs))
    obs = torch.tensor([0.0, 1.0, 3.0], dtype=DOUBLE).view(1, 1, 3, 1)
    first = max(gelu(0.0) * gelu(2.0), gelu(1.0) * gelu(1.0))
    second = gelu(3.0) * gelu(-1.0)  # below zero: padding of zeros would win
    assert second < 0 < first
    expected = torch.tensor([[first, second, first + second]], dtype=DOUBLE)
    torch.testing.assert_close(network.forward(p, obs, spaces, SCALAR).squeeze(2), expected)


def test_the_papers_network_has_7744_features() -> None:
    layout = PAPER.layout(image(4, 84, 84, frames=4, actions=6), SCALAR)
    weights = {name: entry.shape for name, entry in layout.items() if name.endswith(".weight")}
    blocks = {0: (32, 4, 8, 8), 1: (64, 32, 4, 4), 2: (64, 64, 3, 3)}
    expected = {
        f"block.{block}.{path}.weight": shape
        for block, shape in blocks.items()
        for path in ("first", "second")
    }
    assert {name: weights[name] for name in expected} == expected
    assert len(weights) == len(expected) + 2
    assert sizes(layout, "advantage.hidden") == (7744, 512)  # 64 channels of 11 by 11 pixels
    assert sizes(layout, "advantage.out") == (512, 6)


@pytest.mark.parametrize(
    ("strides", "sides"), [([1], 10), ([2], 5), ([3], 4), ([2, 2], 3), ([4, 2, 1], 2)]
)
def test_only_strides_shrink_the_image_rounded_up(strides: list[int], sides: int) -> None:
    blocks = len(strides)
    network = hadamax([2] * blocks, [4] * blocks, [3] * blocks, strides, [])
    spaces = image(10, 10, 4)
    layout = network.layout(spaces, SCALAR)
    assert sizes(layout, "advantage.out") == (2 * sides**2, 3)
    p = random_parameters(network, spaces, SCALAR)
    assert network.forward(p, observations(spaces), spaces, SCALAR).shape == (4, 3, 1)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_it_takes_the_smallest_images(side: int) -> None:
    spaces = image(side, side, 3)
    p = random_parameters(TINY, spaces, SCALAR)
    assert torch.isfinite(TINY.forward(p, observations(spaces), spaces, SCALAR)).all()


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize(
    ("head", "atoms"), [(SCALAR, 1), (C51(5, -1.0, 1.0), 5), (Qr(3), 3), (Iqn(6, 4), 6)]
)
def test_z_has_the_atoms_of_each_action(head: Head, atoms: int, dueling: bool) -> None:
    network = replace(TINY, dueling=dueling)
    p = random_parameters(network, SPACES, head) | {"taus": torch.rand(4, 6, dtype=DOUBLE)}
    assert network.forward(p, observations(SPACES), SPACES, head).shape == (4, 3, atoms)


def test_lists_of_different_lengths_are_refused() -> None:
    message = "channels, kernels, pools and strides .* have 3, 2, 3, 3"
    with pytest.raises(ValueError, match=message):
        replace(TINY, kernels=[8, 4]).layout(SPACES, SCALAR)


def test_observations_that_are_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="network=hadamax needs images"):
        TINY.layout(image(4), SCALAR)
    with pytest.raises(ValueError, match="network=hadamax needs a convolution"):
        replace(TINY, channels=[]).layout(SPACES, SCALAR)


def test_a_gpu_is_for_frames_and_members_of_small_images_are_mapped() -> None:
    small = hadamax([16], [3], [3], [1], [128])
    assert PAPER.is_large
    assert not small.is_large
    assert PAPER.is_busy(image(4, 84, 84, frames=4))
    assert not small.is_busy(image(10, 10, 4))


def drawn(layout: Layout, network: Hadamax, spaces: Spaces) -> dict[str, Tensor]:
    return views(network.initial(layout, spaces, np.random.default_rng(0)), layout)


def test_both_paths_of_a_block_are_drawn_by_themselves() -> None:
    network = replace(PAPER, initialization=Initialization.xavier_normal)
    spaces = image(4, 12, 12, frames=4)
    p = drawn(network.layout(spaces, SCALAR), network, spaces)
    for path in ("first", "second"):
        # 64 pixels of a kernel times 4 inputs and 32 outputs
        deviation = math.sqrt(2 / (64 * (4 + 32)))
        assert p[f"block.0.{path}.weight"].std() == pytest.approx(deviation, rel=0.03)
    assert not torch.equal(p["block.0.first.weight"], p["block.0.second.weight"])


def test_dormant_units_are_products_that_are_zero() -> None:
    network = hadamax([2], [1], [1], [1], [4], layer_norm=False)
    model = Model(image(3, 3, 1), network, SCALAR)
    flat = torch.zeros(size(model.layout), dtype=DOUBLE)
    p = views(flat, model.layout)
    p["block.0.first.bias"].copy_(torch.tensor([1.0, 1.0]))
    p["block.0.second.bias"].copy_(torch.tensor([0.0, 1.0]))  # gelu(0) is 0
    p["advantage.hidden.bias"].copy_(torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert model.dormant(flat, observations(model.spaces)).item() == pytest.approx(2 / 6)


def test_gradients_are_those_of_finite_differences() -> None:
    network = hadamax([2, 1], [4, 3], [2, 3], [2, 1], [3], dueling=True)
    model = Model(image(5, 4, 2), network, SCALAR)
    start = initial(model.layout, np.random.default_rng(0))
    obs = observations(model.spaces, 2)

    def q(parameters: Tensor) -> Tensor:
        return model.q(parameters, obs, parameters.new_empty(0))

    assert torch.autograd.gradcheck(q, start.requires_grad_(), eps=1e-6, atol=1e-7, rtol=1e-5)
