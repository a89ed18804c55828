"""Initial weights of layers by name; biases of all but `uniform` begin at 0."""

from __future__ import annotations

import math
from enum import Enum

import numpy as np
import torch

from dqn_cli.agent.parameters import Layout
from dqn_cli.arrays import Array

WEIGHT, BIAS = ".weight", ".bias"
SPARSITY = 0.9  # share of an output's weights that sparse initialization makes 0


class Initialization(Enum):
    """Distribution of a layer's initial weights; n is the number of its inputs."""

    uniform = "uniform"  # from -1 / sqrt(n) to 1 / sqrt(n), biases too, as PyTorch's layers
    lecun_normal = "lecun_normal"  # of variance 1 / n (LeCun et al. 1998, section 4.6), as Flax's
    he_normal = "he_normal"  # of variance 2 / n (He et al. 2015, eq. 10)
    sparse = "sparse"  # as uniform, but 9 of 10 weights of each output are 0, and biases too
    xavier_normal = "xavier_normal"  # of 2 / (n + that of outputs) (Glorot & Bengio 2010, eq. 12)
    orthogonal = "orthogonal"  # rows or columns of length sqrt(2) (Saxe et al. 2014)


def draw_weights(
    flat: torch.Tensor, layout: Layout, how: Initialization, random: np.random.Generator
) -> None:
    """Reinitialize the weights of all layers in place; a layer is a weight with a bias.

    Args:
        flat: Parameters of the layout, [size].
        layout: The layout.
        how: Distribution of the weights.
        random: Source of random numbers.
    """
    pieces = torch.split(flat, [math.prod(parameter.shape) for parameter in layout.values()])
    values = dict(zip(layout, pieces, strict=True))
    for name, weight in values.items():
        layer = name.removesuffix(WEIGHT)
        if not name.endswith(WEIGHT) or f"{layer}{BIAS}" not in values:
            continue
        bias = values[f"{layer}{BIAS}"]
        outputs = len(bias)
        shape = layout[name].shape
        inputs, pixels = weight.numel() // outputs, math.prod(shape[2:])
        matrix = _matrix(how, inputs, outputs, pixels, random)  # [outputs, inputs]
        if shape[0] != outputs:  # our linear layers that widen are [inputs, outputs]
            matrix = matrix.T
        weight.copy_(torch.from_numpy(np.ascontiguousarray(matrix)).flatten())  # [weights]
        bias.zero_()


def _matrix(
    how: Initialization, inputs: int, outputs: int, pixels: int, random: np.random.Generator
) -> Array:
    """Return the weights of a layer [outputs, inputs], or of a convolution's kernel of `pixels`."""
    if how is Initialization.sparse:
        return _sparse(inputs, outputs, random)
    normal = random.normal(size=(outputs, inputs))
    if how is not Initialization.orthogonal:
        variance = {
            Initialization.lecun_normal: 1 / inputs,
            Initialization.he_normal: 2 / inputs,
            Initialization.xavier_normal: 2 / (inputs + outputs * pixels),
        }
        return normal * math.sqrt(variance[how])
    tall = normal if outputs >= inputs else normal.T
    q, r = np.linalg.qr(tall)
    # The signs make the distribution uniform over orthogonal matrices (Mezzadri 2007).
    q = q * np.sign(np.diag(r))
    return math.sqrt(2) * (q if outputs >= inputs else q.T)


def _sparse(inputs: int, outputs: int, random: np.random.Generator) -> Array:
    """Return weights [outputs, inputs], few of each output (Elsayed et al. 2024, algorithm 2).

    Each output keeps one weight at least; with fewer than ten inputs the authors' code leaves none.
    """
    bound = 1 / math.sqrt(inputs)
    weights = random.uniform(-bound, bound, (outputs, inputs))
    rank = random.random((outputs, inputs)).argsort(1)  # a random order of each output's inputs
    weights[rank < min(math.ceil(SPARSITY * inputs), inputs - 1)] = 0
    return weights
