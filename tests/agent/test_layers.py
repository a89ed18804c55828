from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.layers import Recording
from dqn_cli.agent.parameters import Layout, Parameter, size, views

NOISY = layers.noisy_linear("layer", 4, 9, 0.5)
SPECTRAL_DENSE = layers.linear("layer", 5, 4) | layers.spectral("layer", 4)
SPECTRAL_CONVOLUTION = layers.convolution("layer", 2, 4, 3) | layers.spectral("layer", 4)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def flat_of(layout: Layout) -> Tensor:
    return drawn(size(layout), seed=1)


def converged(layout: Layout) -> Tensor:
    flat = flat_of(layout)
    for _ in range(300):
        flat = layers.renewed(flat, layout)
    return flat


def as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.dim() == 4 else weight


def test_linear_is_drawn_within_one_over_the_root_of_its_inputs() -> None:
    # 1 / sqrt(16) = 0.25, for weight and bias alike
    assert layers.linear("layer", 16, 3) == {
        "layer.weight": Parameter((16, 3), -0.25, 0.25),
        "layer.bias": Parameter((3,), -0.25, 0.25),
    }


def test_a_convolution_is_drawn_within_one_over_the_root_of_its_inputs() -> None:
    # 4 planes of 3 by 3 pixels are 36 inputs: 1 / sqrt(36)
    assert layers.convolution("layer", 4, 5, 3) == {
        "layer.weight": Parameter((5, 4, 3, 3), -1 / 6, 1 / 6),
        "layer.bias": Parameter((5,), -1 / 6, 1 / 6),
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda: nn.Linear(9, 3000), layers.linear("layer", 9, 3000)),
        (lambda: nn.Conv2d(3, 2000, 3), layers.convolution("layer", 3, 2000, 3)),
    ],
)
def test_initial_bounds_are_those_of_pytorchs_own_layers(
    theirs: Callable[[], nn.Module], ours: Layout
) -> None:
    torch.manual_seed(0)
    module = theirs()
    for name, parameter in ours.items():
        values = getattr(module, name.removeprefix("layer.")).detach()
        assert values.abs().max() <= parameter.high
        assert values.abs().max() > 0.99 * parameter.high
        assert parameter.low == -parameter.high


def test_a_noisy_layer_is_a_linear_one_with_constant_sigmas() -> None:
    # 0.5 / sqrt(4) = 0.25
    added = {
        "layer.weight_sigma": Parameter((4, 9), 0.25, 0.25),
        "layer.bias_sigma": Parameter((9,), 0.25, 0.25),
    }
    assert layers.noisy_linear("layer", 4, 9, 0.5) == layers.linear("layer", 4, 9) | added


def test_a_normalised_layer_starts_with_scale_one_and_shift_zero() -> None:
    assert layers.normalized("layer", 3) == {
        "layer.scale": Parameter((3,), 1, 1),
        "layer.shift": Parameter((3,), 0, 0),
    }


def test_a_spectral_layer_has_a_direction_for_its_outputs() -> None:
    assert layers.spectral("layer", 6) == {"layer.direction": Parameter((6,), -1, 1)}


def test_noise_is_one_number_for_each_input_and_output_of_noisy_layers_alone() -> None:
    layout = layers.linear("plain", 2, 3) | NOISY | layers.noisy_linear("other", 9, 2, 0.1)
    shapes = {name: parameter.shape for name, parameter in layers.noise_of(layout).items()}
    assert shapes == {
        "layer.noise_in": (4,),
        "layer.noise_out": (9,),
        "other.noise_in": (9,),
        "other.noise_out": (2,),
    }


def test_layers_without_sigma_take_no_noise() -> None:
    assert layers.noise_of(SPECTRAL_DENSE | SPECTRAL_CONVOLUTION) == {}


@pytest.mark.parametrize("layout", [layers.linear("layer", 4, 9), NOISY])
def test_a_dense_layer_without_noise_is_pytorchs_linear(layout: Layout) -> None:
    p, x = views(flat_of(layout), layout), drawn(7, 4)
    expected = F.linear(x, p["layer.weight"].T, p["layer.bias"])
    torch.testing.assert_close(layers.dense(p, "layer", x), expected)


def test_noise_of_a_dense_layer_by_hand() -> None:
    p = {
        "layer.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "layer.bias": torch.tensor([10.0, 20.0]),
        "layer.weight_sigma": torch.tensor([[1.0, 0.0], [0.5, 2.0]]),
        "layer.bias_sigma": torch.tensor([1.0, 5.0]),
        "layer.noise_in": torch.tensor([4.0, -9.0]),
        "layer.noise_out": torch.tensor([-1.0, 0.25]),
    }
    # f(in) = [2, -3], f(out) = [-1, 0.5], f(in) f(out)^T = [[-2, 1], [3, -1.5]]
    # weight = [[1 - 2, 2 + 0], [3 + 1.5, 4 - 3]], bias = [10 - 1, 20 + 2.5]
    weight, bias = torch.tensor([[-1.0, 2.0], [4.5, 1.0]]), torch.tensor([9.0, 22.5])
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -2.0]])
    assert layers.dense(p, "layer", x).tolist() == (x @ weight + bias).tolist()


def test_a_noisy_layer_adds_sigma_times_an_outer_product() -> None:
    p, noise = views(flat_of(NOISY), NOISY), views(drawn(13, seed=2), layers.noise_of(NOISY))
    x = drawn(7, 4)
    root_in, root_out = (
        noise[f"layer.noise_{side}"].sign() * noise[f"layer.noise_{side}"].abs().sqrt()
        for side in ("in", "out")
    )
    weight = p["layer.weight"] + p["layer.weight_sigma"] * root_in[:, None] * root_out
    expected = x @ weight + p["layer.bias"] + p["layer.bias_sigma"] * root_out
    torch.testing.assert_close(layers.dense(p | noise, "layer", x), expected)


def test_noise_of_zero_is_no_noise() -> None:
    p, x = views(flat_of(NOISY), NOISY), drawn(7, 4)
    silence = views(torch.zeros(13, dtype=torch.float64), layers.noise_of(NOISY))
    assert torch.equal(layers.dense(p | silence, "layer", x), layers.dense(p, "layer", x))


def test_the_noise_of_one_layer_leaves_others_alone() -> None:
    layout = NOISY | layers.noisy_linear("other", 4, 9, 0.5)
    p, x = views(flat_of(layout), layout), drawn(7, 4)
    noise = views(drawn(13, seed=2), layers.noise_of(NOISY))
    assert torch.equal(layers.dense(p | noise, "other", x), layers.dense(p, "other", x))


@pytest.mark.parametrize("normalised", [False, True])
def test_a_hidden_layer_is_linear_layer_norm_and_relu(normalised: bool) -> None:
    layout = layers.linear("layer", 4, 9)
    if normalised:
        layout |= layers.normalized("layer", 9)
    p, x = views(flat_of(layout), layout), drawn(7, 4)
    linear = nn.Linear(4, 9, dtype=torch.float64)
    linear.load_state_dict({"weight": p["layer.weight"].T, "bias": p["layer.bias"]})
    modules: list[nn.Module] = [linear]
    if normalised:
        norm = nn.LayerNorm(9, dtype=torch.float64)
        norm.load_state_dict({"weight": p["layer.scale"], "bias": p["layer.shift"]})
        modules.append(norm)
    expected = nn.Sequential(*modules, nn.ReLU())(x)
    torch.testing.assert_close(layers.hidden(p, "layer", x), expected)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_hidden_convolution_is_conv2d_group_norm_and_relu(normalised: bool) -> None:
    layout = layers.convolution("layer", 2, 5, 3)
    if normalised:
        layout |= layers.normalized("layer", 5)
    p, x = views(flat_of(layout), layout), drawn(7, 2, 6, 4)
    convolution = nn.Conv2d(2, 5, 3, dtype=torch.float64)
    convolution.load_state_dict({"weight": p["layer.weight"], "bias": p["layer.bias"]})
    modules: list[nn.Module] = [convolution]
    if normalised:
        norm = nn.GroupNorm(1, 5, dtype=torch.float64)
        norm.load_state_dict({"weight": p["layer.scale"], "bias": p["layer.shift"]})
        modules.append(norm)
    expected = nn.Sequential(*modules, nn.ReLU())(x)
    assert expected.shape == (7, 5, 4, 2)
    torch.testing.assert_close(layers.hidden_convolution(p, "layer", x), expected)


def test_a_normalised_convolution_has_mean_zero_over_all_channels_and_pixels() -> None:
    layout = layers.convolution("layer", 2, 5, 3) | layers.normalized("layer", 5)
    p = views(flat_of(layout), layout)
    p |= {"layer.scale": torch.ones(5).double(), "layer.shift": torch.full((5,), 100.0).double()}
    out = layers.hidden_convolution(p, "layer", drawn(3, 2, 6, 4)) - 100  # nothing is cut by ReLU
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        out.var((1, 2, 3), correction=0), torch.ones(3).double(), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("layout", [SPECTRAL_DENSE, SPECTRAL_CONVOLUTION])
def test_a_renewed_direction_becomes_the_largest_singular_vector(layout: Layout) -> None:
    p = views(converged(layout), layout)
    matrix = as_matrix(p["layer.weight"])
    left, values, right = torch.linalg.svd(matrix)
    outputs = left[:, 0] if p["layer.weight"].dim() == 4 else right[0]  # rows or columns
    assert values[0] > 1.05 * values[1]
    assert p["layer.direction"].norm().item() == pytest.approx(1)
    assert abs(p["layer.direction"] @ outputs).item() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_spectral_dense_layers_largest_singular_value_is_one(scale: float) -> None:
    p = views(converged(SPECTRAL_DENSE), SPECTRAL_DENSE)
    p = p | {"layer.weight": scale * p["layer.weight"], "layer.bias": torch.zeros(4).double()}
    effective = layers.dense(p, "layer", torch.eye(5, dtype=torch.float64))
    assert torch.linalg.svdvals(effective)[0].item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(
        effective, p["layer.weight"] / torch.linalg.svdvals(p["layer.weight"])[0]
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_spectral_convolutions_largest_singular_value_is_one(scale: float) -> None:
    p = views(converged(SPECTRAL_CONVOLUTION), SPECTRAL_CONVOLUTION)
    weight, x = scale * p["layer.weight"], drawn(3, 2, 5, 5)
    normed = weight / torch.linalg.svdvals(weight.flatten(1))[0]
    expected = F.conv2d(x, normed, p["layer.bias"]).relu()
    actual = layers.hidden_convolution(p | {"layer.weight": weight}, "layer", x)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("layout", [SPECTRAL_DENSE, SPECTRAL_CONVOLUTION])
def test_each_renewal_brings_the_estimate_closer(layout: Layout) -> None:
    flat, errors = flat_of(layout), []
    for _ in range(6):
        p = views(flat, layout)
        matrix = as_matrix(p["layer.weight"])
        matrix = matrix if p["layer.weight"].dim() == 4 else matrix.T  # [outputs, inputs]
        estimate = (p["layer.direction"] @ matrix).norm() / p["layer.direction"].norm()
        errors.append((torch.linalg.svdvals(matrix)[0] - estimate).item())
        flat = layers.renewed(flat, layout)
    assert errors == sorted(errors, reverse=True)
    assert 0 <= errors[-1] < 0.5 * errors[0]


def test_one_renewal_by_hand() -> None:
    layout = layers.linear("layer", 2, 2) | layers.spectral("layer", 2)
    # W v = [[3, 0], [0, 1]] [4, 3] = [12, 3] ~ [4, 1]; [4, 1] W = [12, 1]
    flat = torch.tensor([3.0, 0, 0, 1, 7, 8, 4, 3], dtype=torch.float64)
    expected = [3, 0, 0, 1, 7, 8, 12 / math.sqrt(145), 1 / math.sqrt(145)]
    assert layers.renewed(flat, layout).tolist() == pytest.approx(expected)


def test_only_directions_are_renewed() -> None:
    layout = SPECTRAL_DENSE | layers.normalized("layer", 4)
    layout |= {f"other.{name}": each for name, each in SPECTRAL_CONVOLUTION.items()}
    flat = flat_of(layout)
    before, after = (views(each, layout) for each in (flat, layers.renewed(flat, layout)))
    changed = {name for name in layout if not torch.equal(before[name], after[name])}
    assert changed == {"layer.direction", "other.layer.direction"}
    assert torch.equal(flat, flat_of(layout))  # not in place


def test_a_layout_is_spectral_if_any_layer_is() -> None:
    assert layers.is_spectral(layers.linear("first", 2, 3) | SPECTRAL_CONVOLUTION)
    assert not layers.is_spectral(NOISY | layers.normalized("layer", 9))


@pytest.mark.parametrize("noisy", [False, True])
def test_gradients_of_a_dense_layer_are_those_of_finite_differences(noisy: bool) -> None:
    noise = views(drawn(13, seed=2), layers.noise_of(NOISY)) if noisy else {}

    def output(flat: Tensor, x: Tensor) -> Tensor:
        return layers.dense(views(flat, NOISY) | noise, "layer", x)

    flat, x = flat_of(NOISY).requires_grad_(), drawn(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(output, (flat, x))


@pytest.mark.parametrize("shape", [(3, 5), (2, 2, 4, 3)])
def test_gradients_of_a_spectral_layer_are_those_of_finite_differences(
    shape: tuple[int, ...],
) -> None:
    dense = len(shape) == 2
    layout = SPECTRAL_DENSE if dense else SPECTRAL_CONVOLUTION
    forward = layers.hidden if dense else layers.hidden_convolution
    named = {name: each.clone() for name, each in views(converged(layout), layout).items()}

    def output(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return forward(named | {"layer.weight": weight, "layer.bias": bias}, "layer", x)

    # At the singular vectors the largest singular value does not change with them to first order.
    inputs = (named["layer.weight"], named["layer.bias"], drawn(*shape))
    assert torch.autograd.gradcheck(output, tuple(each.requires_grad_() for each in inputs))


@pytest.mark.parametrize("layout", [SPECTRAL_DENSE, SPECTRAL_CONVOLUTION])
def test_directions_have_a_gradient_of_exactly_zero(layout: Layout) -> None:
    flat = flat_of(layout).requires_grad_()
    dense = layout is SPECTRAL_DENSE
    forward = layers.hidden if dense else layers.hidden_convolution
    forward(
        views(flat, layout), "layer", drawn(*((6, 5) if dense else (6, 2, 4, 4)))
    ).sum().backward()
    assert flat.grad is not None
    gradient = views(flat.grad, layout)
    assert gradient["layer.direction"].tolist() == [0, 0, 0, 0]
    assert gradient["layer.weight"].abs().max() > 0.01


def test_the_estimate_of_the_singular_vectors_is_a_constant_to_gradients() -> None:
    weight, direction = drawn(5, 4), drawn(4, seed=3)  # not yet the singular vector
    left = F.normalize(weight @ direction, dim=0)
    right = F.normalize(left @ weight, dim=0)
    p = {"layer.bias": torch.zeros(4).double(), "layer.direction": direction}
    gradients = []
    for divided in (True, False):
        at = weight.clone().requires_grad_()
        by_hand = drawn(6, 5) @ at / (left @ at @ right)
        x = layers.dense(p | {"layer.weight": at}, "layer", drawn(6, 5)) if divided else by_hand
        gradients += torch.autograd.grad((x**2).sum(), at)
    torch.testing.assert_close(*gradients)


def test_a_spectral_weights_gradient_is_orthogonal_to_the_weight() -> None:
    # The scale of the weight is divided out, so that it can have no influence.
    flat = converged(SPECTRAL_DENSE).requires_grad_()
    (layers.dense(views(flat, SPECTRAL_DENSE), "layer", drawn(6, 5)) ** 2).sum().backward()
    assert flat.grad is not None
    weight, slope = (views(each, SPECTRAL_DENSE)["layer.weight"] for each in (flat, flat.grad))
    assert (weight * slope).sum().item() == pytest.approx(0, abs=1e-9)
    assert slope.abs().max() > 0.01


def test_a_recording_notes_what_hidden_layers_put_out() -> None:
    layout = layers.linear("first", 4, 3) | layers.linear("last", 3, 2)
    layout |= layers.convolution("image", 2, 4, 3)
    p = Recording(views(flat_of(layout), layout))
    x = layers.hidden(p, "first", drawn(7, 4))
    layers.dense(p, "last", x)
    image = layers.hidden_convolution(p, "image", drawn(7, 2, 4, 4))
    assert list(p.activations) == ["first", "image"]
    assert torch.equal(p.activations["first"], x)
    assert torch.equal(p.activations["image"], image)


def test_a_recording_computes_what_plain_parameters_compute() -> None:
    p, x = views(flat_of(SPECTRAL_DENSE), SPECTRAL_DENSE), drawn(7, 5)
    assert torch.equal(layers.hidden(Recording(p), "layer", x), layers.hidden(p, "layer", x))
