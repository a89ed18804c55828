"""Layers as pure functions of named parameters: what a layer does follows from which it has."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.parameters import Layout, Parameter, views
from dqn_cli.agent.products import product

Parameters = Mapping[str, Tensor]


class Recording(dict[str, Tensor]):
    """Named parameters that also note the activations of each hidden layer, by its name."""

    def __init__(self, named: Parameters) -> None:
        super().__init__(named)
        self.activations: dict[str, Tensor] = {}


def linear(name: str, inputs: int, outputs: int) -> Layout:
    """Weight and bias [outputs], drawn as PyTorch's own Linear draws them.

    The weight's longer axis is its last, since matrix products are up to four times faster so: it
    is [inputs, outputs], or [outputs, inputs] in a layer that narrows.
    """
    bound = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": Parameter(_stored(inputs, outputs), -bound, bound),
        f"{name}.bias": Parameter((outputs,), -bound, bound),
    }


def noisy_linear(name: str, inputs: int, outputs: int, sigma: float) -> Layout:
    """A linear layer that also has a scale of noise for each weight (Fortunato et al. 2018)."""
    scale = sigma / math.sqrt(inputs)
    return linear(name, inputs, outputs) | {
        f"{name}.weight_sigma": Parameter(_stored(inputs, outputs), scale, scale),
        f"{name}.bias_sigma": Parameter((outputs,), scale, scale),
    }


def convolution(name: str, inputs: int, outputs: int, kernel: int) -> Layout:
    """Weight [outputs, inputs, kernel, kernel] and bias [outputs], drawn as PyTorch draws them."""
    bound = 1 / math.sqrt(inputs * kernel**2)
    return {
        f"{name}.weight": Parameter((outputs, inputs, kernel, kernel), -bound, bound),
        f"{name}.bias": Parameter((outputs,), -bound, bound),
    }


def normalized(name: str, units: int) -> Layout:
    """Scale and shift of a LayerNorm (Ba et al. 2016); a layer that has them is normalised."""
    return {
        f"{name}.scale": Parameter((units,), 1, 1),
        f"{name}.shift": Parameter((units,), 0, 0),
    }


def spectral(name: str, outputs: int) -> Layout:
    """A layer that has this vector is divided by its weight's largest singular value.

    It estimates the singular vector, is no result of gradients, and `renewed` improves it
    (Miyato et al. 2018, algorithm 1).
    """
    return {f"{name}.direction": Parameter((outputs,), -1, 1)}


def noise_of(layout: Layout) -> Layout:
    """The standard normal numbers that the noisy layers of `layout` take."""
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
    """Outputs [batch, outputs] of x [batch, inputs]; noisy where noise for this layer is given."""
    bias = p[f"{name}.bias"]
    weight = _matrix(_weight(p, name), len(bias))
    if f"{name}.noise_in" in p:
        # Factorised noise (eq. 10 and 11): the matrix of noise is an outer product of two vectors.
        noise_in, noise_out = _factor(p[f"{name}.noise_in"]), _factor(p[f"{name}.noise_out"])
        sigma = _matrix(p[f"{name}.weight_sigma"], len(bias))
        weight = weight + sigma * torch.outer(noise_in, noise_out)
        bias = bias + p[f"{name}.bias_sigma"] * noise_out
    return product(x, weight) + bias


def hidden(p: Parameters, name: str, x: Tensor) -> Tensor:
    """A dense layer, its LayerNorm if it has one, and ReLU; [batch, inputs] to [batch, units]."""
    x = dense(p, name, x)
    if f"{name}.scale" in p:
        x = F.layer_norm(x, x.shape[1:], p[f"{name}.scale"], p[f"{name}.shift"])
    return noted(p, name, x.relu())


def hidden_convolution(
    p: Parameters, name: str, x: Tensor, stride: int = 1, scale: float = 1
) -> Tensor:
    """A convolution, its LayerNorm over all channels and pixels if it has one, and ReLU.

    Maps [batch, inputs, height, width], all times `scale`, to [batch, outputs, smaller, smaller].
    """
    return noted(p, name, convolved(p, name, x, stride, scale=scale).relu())


def convolved(
    p: Parameters, name: str, x: Tensor, stride: int = 1, padding: int = 0, scale: float = 1
) -> Tensor:
    """A convolution without its ReLU."""
    weight = _weight(p, name)
    # Weights are fewer than pixels.
    weight = weight if scale == 1 else weight * scale
    x = F.conv2d(x, weight, p[f"{name}.bias"], stride, padding)
    if f"{name}.scale" in p:
        x = F.group_norm(x, 1, p[f"{name}.scale"], p[f"{name}.shift"])
    return x


def noted(p: Parameters, name: str, x: Tensor) -> Tensor:
    """The activations of a hidden layer, as they are."""
    if isinstance(p, Recording):
        p.activations[name] = x
    return x


def renewed(parameters: Tensor, layout: Layout) -> Tensor:
    """The flat parameters [size] with each spectral direction a power iteration further."""
    named = views(parameters, layout)
    for name in [name for name in named if name.endswith(".direction")]:
        weight = named[f"{name.removesuffix('.direction')}.weight"]
        matrix = _matrix(weight, len(named[name]))
        named[name] = _singular_vectors(matrix, named[name])[1]
    return torch.cat([piece.flatten() for piece in named.values()])  # [size]


def is_spectral(layout: Layout) -> bool:
    """Whether any layer has a spectral direction."""
    return any(name.endswith(".direction") for name in layout)


def _weight(p: Parameters, name: str) -> Tensor:
    weight = p[f"{name}.weight"]
    if f"{name}.direction" not in p:
        return weight
    direction = p[f"{name}.direction"].detach()
    matrix = _matrix(weight, len(direction))
    left, right = _singular_vectors(matrix.detach(), direction)
    return weight / (left @ matrix @ right)


def _stored(inputs: int, outputs: int) -> tuple[int, int]:
    return (inputs, outputs) if inputs <= outputs else (outputs, inputs)


def _matrix(weight: Tensor, outputs: int) -> Tensor:
    """A weight as [inputs, outputs], however it is stored."""
    if weight.dim() > 2:  # a convolution's
        return weight.flatten(1).T  # [inputs * kernel * kernel, outputs]
    return weight if weight.shape[1] == outputs else weight.T


def _singular_vectors(matrix: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    left = F.normalize(matrix @ direction, dim=0)
    return left, F.normalize(left @ matrix, dim=0)


def _factor(noise: Tensor) -> Tensor:
    """Fortunato et al. 2018, below eq. 11: sgn(x) sqrt(|x|)."""
    return noise.sign() * noise.abs().sqrt()
