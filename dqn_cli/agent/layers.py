"""Layers as pure functions of named parameters.

A layer does what its parameters say: it is noisy if it has noise scales, normalised if it has a
scale and a shift, spectral if it has a singular vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.parameters import Layout, Parameter, views

Parameters = Mapping[str, Tensor]


class RecordingParameters(dict[str, Tensor]):
    """Named parameters that also record the activations of each hidden layer, by its name."""

    def __init__(self, named: Parameters) -> None:
        super().__init__(named)
        self.activations: dict[str, Tensor] = {}


def linear_layout(name: str, inputs: int, outputs: int) -> Layout:
    """Return weight and bias [outputs], initialised as PyTorch's Linear.

    The longer axis of the weight is its last, which makes matrix products faster: it is
    [inputs, outputs], or [outputs, inputs] in a layer that narrows.
    """
    bound = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": Parameter(_weight_shape(inputs, outputs), -bound, bound),
        f"{name}.bias": Parameter((outputs,), -bound, bound),
    }


def noisy_linear_layout(name: str, inputs: int, outputs: int, sigma: float) -> Layout:
    """Return a linear layer with a noise scale for each parameter (Fortunato et al. 2018)."""
    scale = sigma / math.sqrt(inputs)
    return linear_layout(name, inputs, outputs) | {
        f"{name}.weight_sigma": Parameter(_weight_shape(inputs, outputs), scale, scale),
        f"{name}.bias_sigma": Parameter((outputs,), scale, scale),
    }


def convolution_layout(name: str, inputs: int, outputs: int, kernel: int) -> Layout:
    """Return weight [outputs, inputs, kernel, kernel] and bias, initialised as PyTorch's Conv2d."""
    bound = 1 / math.sqrt(inputs * kernel**2)
    return {
        f"{name}.weight": Parameter((outputs, inputs, kernel, kernel), -bound, bound),
        f"{name}.bias": Parameter((outputs,), -bound, bound),
    }


def layer_norm_layout(name: str, units: int, learns: bool = True) -> Layout:
    """Return scale and shift of a LayerNorm (Ba et al. 2016); without learning, 1 and 0."""
    return {
        f"{name}.scale": Parameter((units,), 1, 1, learns),
        f"{name}.shift": Parameter((units,), 0, 0, learns),
    }


def pixel_norm_layout(name: str, channels: int, learns: bool = True) -> Layout:
    """Return scale and shift of a convolution's LayerNorm over the channels of each pixel."""
    return {
        f"{name}.pixel_scale": Parameter((channels,), 1, 1, learns),
        f"{name}.pixel_shift": Parameter((channels,), 0, 0, learns),
    }


def spectral_norm_layout(name: str, outputs: int) -> Layout:
    """Return the vector of a layer whose weight is divided by its largest singular value.

    The vector estimates a singular vector. It has no gradient; `power_iteration` improves it
    (Miyato et al. 2018, algorithm 1).
    """
    return {f"{name}.singular_vector": Parameter((outputs,), -1, 1)}


def plain_layout(layout: Layout) -> Layout:
    """Return a layout without noise and spectral norm."""
    endings = (".weight_sigma", ".bias_sigma", ".singular_vector")
    return {name: entry for name, entry in layout.items() if not name.endswith(endings)}


def noise_layout(layout: Layout) -> Layout:
    """Return names and shapes of the standard normal numbers that noisy layers take."""
    noise: dict[str, Parameter] = {}
    for name, parameter in layout.items():
        if name.endswith(".weight_sigma"):
            layer = name.removesuffix(".weight_sigma")
            (outputs,) = layout[f"{layer}.bias"].shape
            inputs = math.prod(parameter.shape) // outputs
            noise[f"{layer}.noise_in"] = Parameter((inputs,), 0, 0)
            noise[f"{layer}.noise_out"] = Parameter((outputs,), 0, 0)
    return noise


def dense(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Apply a linear layer, [batch, inputs] to [batch, outputs]; noisy if `p` has its noise."""
    bias = p[f"{name}.bias"]
    weight = _matrix(_weight(p, name), len(bias))
    if f"{name}.noise_in" in p:
        # Factorised noise (eq. 10 and 11): the noise matrix is an outer product of two vectors.
        noise_in, noise_out = _scaled(p[f"{name}.noise_in"]), _scaled(p[f"{name}.noise_out"])
        sigma = _matrix(p[f"{name}.weight_sigma"], len(bias))
        weight = weight + sigma * torch.outer(noise_in, noise_out)
        bias = bias + p[f"{name}.bias_sigma"] * noise_out
    return x @ weight + bias


def hidden(
    p: Parameters, name: str, x: Tensor, activation: Callable[[Tensor], Tensor] = torch.relu
) -> Tensor:
    """Apply a linear layer, its LayerNorm if it has one, and an activation; to [batch, units]."""
    x = dense(p, name, x)
    if f"{name}.scale" in p:
        x = F.layer_norm(x, x.shape[1:], p[f"{name}.scale"], p[f"{name}.shift"])
    return record(p, name, activation(x))


def hidden_convolution(
    p: Parameters,
    name: str,
    x: Tensor,
    stride: int = 1,
    scale: float = 1,
    activation: Callable[[Tensor], Tensor] = torch.relu,
) -> Tensor:
    """Apply a convolution, its LayerNorm if it has one, and an activation.

    Args:
        p: Parameters by name.
        name: Name of the layer.
        x: Inputs [batch, inputs, height, width].
        stride: Stride along both sides.
        scale: Factor of the inputs.
        activation: Function of each output.
    """
    return record(p, name, activation(convolve(p, name, x, stride, scale=scale)))


def convolve(
    p: Parameters, name: str, x: Tensor, stride: int = 1, padding: int = 0, scale: float = 1
) -> Tensor:
    """Apply a convolution as `hidden_convolution` does, without an activation."""
    weight = _weight(p, name)
    # Scaling the weight is cheaper than scaling the inputs: there are fewer weights than pixels.
    weight = weight if scale == 1 else weight * scale
    x = F.conv2d(x, weight, p[f"{name}.bias"], stride, padding)
    if f"{name}.scale" in p:
        x = F.group_norm(x, 1, p[f"{name}.scale"], p[f"{name}.shift"])
    if f"{name}.pixel_scale" in p:
        weight, bias = p[f"{name}.pixel_scale"], p[f"{name}.pixel_shift"]
        x = F.layer_norm(x.movedim(1, -1), weight.shape, weight, bias).movedim(-1, 1)
    return x


def record(p: Parameters, name: str, x: Tensor) -> Tensor:
    """Return a hidden layer's activations unchanged; record them if `p` asks for it."""
    if isinstance(p, RecordingParameters):
        p.activations[name] = x
    return x


def power_iteration(parameters: Tensor, layout: Layout) -> Tensor:
    """Improve every spectral layer's singular vector by one step; parameters are flat, [size]."""
    named = views(parameters, layout)
    for name in [name for name in named if name.endswith(".singular_vector")]:
        weight = named[f"{name.removesuffix('.singular_vector')}.weight"]
        matrix = _matrix(weight, len(named[name]))
        named[name] = _singular_vectors(matrix, named[name])[1]
    return torch.cat([view.flatten() for view in named.values()])  # [size]


def has_spectral_norm(layout: Layout) -> bool:
    """Return whether any layer has spectral norm."""
    return any(name.endswith(".singular_vector") for name in layout)


def _weight(p: Parameters, name: str) -> Tensor:
    weight = p[f"{name}.weight"]
    if f"{name}.singular_vector" not in p:
        return weight
    vector = p[f"{name}.singular_vector"].detach()
    matrix = _matrix(weight, len(vector))
    left, right = _singular_vectors(matrix.detach(), vector)
    return weight / (left @ matrix @ right)


def _weight_shape(inputs: int, outputs: int) -> tuple[int, int]:
    return (inputs, outputs) if inputs <= outputs else (outputs, inputs)


def _matrix(weight: Tensor, outputs: int) -> Tensor:
    """Return a weight as [inputs, outputs]."""
    if weight.dim() > 2:  # of a convolution
        return weight.flatten(1).T  # [inputs * kernel * kernel, outputs]
    return weight if weight.shape[1] == outputs else weight.T


def _singular_vectors(matrix: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    left = F.normalize(matrix @ vector, dim=0)
    return left, F.normalize(left @ matrix, dim=0)


def _scaled(noise: Tensor) -> Tensor:
    """Return sgn(x) sqrt(|x|) (Fortunato et al. 2018, below eq. 11)."""
    return noise.sign() * noise.abs().sqrt()
