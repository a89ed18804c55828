"""Activation functions of hidden layers, by name."""

from __future__ import annotations

from enum import Enum

import torch.nn.functional as F
from torch import Tensor


class Activation(Enum):
    """Nonlinearity after each hidden layer; a member can be called."""

    relu = "relu"
    leaky_relu = "leaky_relu"  # with a slope of 0.01 below 0 (Maas et al. 2013)
    gelu = "gelu"  # in the form with tanh (Hendrycks & Gimpel 2016), as in JAX

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to each element of [...]."""
        if self is Activation.relu:
            return x.relu()
        if self is Activation.leaky_relu:
            return F.leaky_relu(x)
        return F.gelu(x, approximate="tanh")
