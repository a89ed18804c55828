from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.initialization import Initialization, draw_weights
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout, initial, views

WIDE, NARROW = layers.linear_layout("wide", 40, 300), layers.linear_layout("narrow", 300, 40)
PICTURES = layers.convolution_layout("pictures", 8, 30, 5)


def drawn(layout: Layout, how: Initialization) -> dict[str, torch.Tensor]:
    flat = initial(layout, np.random.default_rng(0))
    draw_weights(flat, layout, how, np.random.default_rng(1))
    return views(flat, layout)


@pytest.mark.parametrize(
    ("layout", "inputs"), [(WIDE, 40), (NARROW, 300), (PICTURES, 200)], ids=lambda x: str(x)[2:8]
)
@pytest.mark.parametrize(
    ("how", "variance"), [(Initialization.lecun_normal, 1), (Initialization.he_normal, 2)]
)
def test_normal_weights_have_the_variance_of_their_paper(
    layout: Layout, inputs: int, how: Initialization, variance: float
) -> None:
    weight, bias = drawn(layout, how).values()
    assert weight.var() == pytest.approx(variance / inputs, rel=0.05)
    assert weight.mean().abs() < 3 * math.sqrt(variance / inputs / weight.numel())
    assert not bias.any()


@pytest.mark.parametrize(
    ("layout", "both"), [(WIDE, 340), (NARROW, 340), (PICTURES, 25 * 38)], ids=lambda x: str(x)[2:8]
)
def test_xaviers_variance_is_by_inputs_and_outputs_of_all_pixels(layout: Layout, both: int) -> None:
    weight, bias = drawn(layout, Initialization.xavier_normal).values()
    assert weight.var() == pytest.approx(2 / both, rel=0.05)
    assert not bias.any()


@pytest.mark.parametrize("layout", [WIDE, NARROW, PICTURES], ids=["wide", "narrow", "pictures"])
def test_orthogonal_weights_keep_lengths_but_for_the_gain(layout: Layout) -> None:
    weight, bias = drawn(layout, Initialization.orthogonal).values()
    matrix = weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, 2 * torch.eye(len(gram), dtype=torch.float64))
    assert not bias.any()


@pytest.mark.parametrize(
    ("layout", "outputs", "inputs"), [(WIDE, 300, 40), (NARROW, 40, 300), (PICTURES, 30, 200)]
)
def test_each_output_of_sparse_weights_has_a_tenth_of_its_inputs(
    layout: Layout, outputs: int, inputs: int
) -> None:
    weight, bias = drawn(layout, Initialization.sparse).values()
    matrix = weight.flatten(1)
    matrix = matrix if matrix.shape == (outputs, inputs) else matrix.T
    assert ((matrix != 0).sum(1) == inputs // 10).all()
    assert (matrix != 0).any(0).sum() > inputs / 2  # not the same inputs for all outputs
    drawn_ones = matrix[matrix != 0] * math.sqrt(inputs)
    assert drawn_ones.abs().max() < 1
    assert drawn_ones.var() == pytest.approx(1 / 3, rel=0.1)
    assert not bias.any()


def test_an_output_of_few_inputs_keeps_one() -> None:
    weight, _ = drawn(layers.linear_layout("small", 4, 30), Initialization.sparse).values()
    assert ((weight != 0).sum(0) == 1).all()


def test_a_layer_that_widens_is_drawn_as_its_transpose() -> None:
    # A ReLU layer of He's initialization keeps the mean square of its inputs.
    p, x = drawn(WIDE, Initialization.he_normal), torch.randn(4000, 40, dtype=torch.float64)
    assert layers.hidden(p, "wide", x).square().mean() == pytest.approx(1, rel=0.1)


def test_only_weights_of_layers_are_drawn_anew() -> None:
    network = Mlp([8, 8], True, False, True, True, 0.5, initialization=Initialization.orthogonal)
    spaces = array_spaces((3,), (-1,) * 3, (1,) * 3, 2)
    layout = network.layout(spaces, Scalar(Loss.huber))
    same = views(Mlp.initial(network, layout, spaces, np.random.default_rng(0)), layout)
    plain = views(initial(layout, np.random.default_rng(0)), layout)
    changed = {name for name in layout if not same[name].equal(plain[name])}
    assert changed == {name for name in layout if name.endswith((".weight", ".bias"))}
