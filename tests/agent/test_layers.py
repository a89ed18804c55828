from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oriented import matrix, sizes, stored, torch_state
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.layers import Parameters, RecordingParameters
from dqn_cli.agent.parameters import Layout, Parameter, size, views

NOISY = layers.noisy_linear_layout("layer", 4, 9, 0.5)
NOISY_NARROWING = layers.noisy_linear_layout("layer", 9, 4, 0.5)
SPECTRAL_DENSE = layers.linear_layout("layer", 5, 4) | layers.spectral_norm_layout("layer", 4)
SPECTRAL_WIDENING = layers.linear_layout("layer", 4, 5) | layers.spectral_norm_layout("layer", 5)
SPECTRAL_SQUARE = layers.linear_layout("layer", 5, 5) | layers.spectral_norm_layout("layer", 5)
SPECTRAL_CONVOLUTION = layers.convolution_layout("layer", 2, 4, 3) | layers.spectral_norm_layout(
    "layer", 4
)
NORMALISED_CONVOLUTION = layers.convolution_layout("layer", 2, 4, 3) | layers.layer_norm_layout(
    "layer", 4
)
# As many outputs as a window has pixels.
SPECTRAL_SQUARE_CONVOLUTION = layers.convolution_layout(
    "layer", 1, 9, 3
) | layers.spectral_norm_layout("layer", 9)

BOTH_NOISY = pytest.mark.parametrize("layout", [NOISY, NOISY_NARROWING])
DENSE_SPECTRAL = pytest.mark.parametrize("layout", [SPECTRAL_DENSE, SPECTRAL_WIDENING])
ALL_SPECTRAL = pytest.mark.parametrize(
    "layout",
    [SPECTRAL_DENSE, SPECTRAL_WIDENING, SPECTRAL_CONVOLUTION, SPECTRAL_SQUARE_CONVOLUTION],
)
# A layer that narrows, one that widens, the narrowest of each, and two that do neither.
SIZES = pytest.mark.parametrize(
    ("inputs", "outputs"), [(9, 4), (4, 9), (3, 1), (1, 3), (5, 5), (1, 1)]
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def flat_of(layout: Layout) -> Tensor:
    return drawn(size(layout), seed=1)


def after_iterations(layout: Layout, times: int) -> Tensor:
    flat = flat_of(layout)
    for _ in range(times):
        flat = layers.power_iteration(flat, layout)
    return flat


def converged(layout: Layout) -> Tensor:
    return after_iterations(layout, 300)


def observed(layout: Layout) -> Tensor:
    """Six inputs to the layer."""
    shape = layout["layer.weight"].shape
    return drawn(6, shape[1], 4, 4) if len(shape) == 4 else drawn(6, sizes(layout, "layer")[0])


def noise_for(layout: Layout) -> dict[str, Tensor]:
    noise = layers.noise_layout(layout)
    return views(drawn(size(noise), seed=2), noise)


def hidden(layout: Layout) -> Callable[[Parameters, str, Tensor], Tensor]:
    dense = len(layout["layer.weight"].shape) == 2
    return layers.hidden if dense else layers.hidden_convolution


def test_linear_is_drawn_within_one_over_the_root_of_its_inputs() -> None:
    # 1 / sqrt(16) = 0.25, for weight and bias alike
    assert layers.linear_layout("layer", 16, 3) == {
        "layer.weight": Parameter((3, 16), -0.25, 0.25),
        "layer.bias": Parameter((3,), -0.25, 0.25),
    }


@pytest.mark.parametrize(
    ("inputs", "outputs", "shape"),
    [
        (4, 9, (4, 9)),  # widening: [inputs, outputs]
        (9, 4, (4, 9)),  # narrowing: [outputs, inputs]
        (6, 6, (6, 6)),
        (1, 3, (1, 3)),
        (3, 1, (1, 3)),
    ],
)
def test_a_weights_longer_axis_is_its_last(
    inputs: int, outputs: int, shape: tuple[int, int]
) -> None:
    layout = layers.noisy_linear_layout("layer", inputs, outputs, 0.5)
    assert layout["layer.weight"].shape == layout["layer.weight_sigma"].shape == shape
    assert layout["layer.bias"].shape == layout["layer.bias_sigma"].shape == (outputs,)
    assert layers.linear_layout("layer", inputs, outputs)["layer.weight"].shape == shape
    assert sizes(layout, "layer") == (inputs, outputs)


def test_a_square_weight_is_inputs_by_outputs() -> None:
    p = {"layer.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "layer.bias": torch.zeros(2)}
    assert layers.dense(p, "layer", torch.tensor([[1.0, 10.0]])).tolist() == [[31, 42]]


def test_a_narrowing_weight_is_outputs_by_inputs() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    p = {"layer.weight": weight, "layer.bias": torch.zeros(2)}
    assert layers.dense(p, "layer", torch.tensor([[1.0, 10.0, 100.0]])).tolist() == [[321, 654]]


def test_a_convolution_is_drawn_within_one_over_the_root_of_its_inputs() -> None:
    # 4 planes of 3 by 3 pixels are 36 inputs: 1 / sqrt(36)
    assert layers.convolution_layout("layer", 4, 5, 3) == {
        "layer.weight": Parameter((5, 4, 3, 3), -1 / 6, 1 / 6),
        "layer.bias": Parameter((5,), -1 / 6, 1 / 6),
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda: nn.Linear(9, 3000), layers.linear_layout("layer", 9, 3000)),
        (lambda: nn.Linear(2000, 900), layers.linear_layout("layer", 2000, 900)),
        (lambda: nn.Conv2d(3, 2000, 3), layers.convolution_layout("layer", 3, 2000, 3)),
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
    assert (
        layers.noisy_linear_layout("layer", 4, 9, 0.5)
        == layers.linear_layout("layer", 4, 9) | added
    )


def test_a_normalised_layer_starts_with_scale_one_and_shift_zero() -> None:
    assert layers.layer_norm_layout("layer", 3) == {
        "layer.scale": Parameter((3,), 1, 1),
        "layer.shift": Parameter((3,), 0, 0),
    }


def test_a_spectral_layer_has_a_vector_of_its_outputs() -> None:
    assert layers.spectral_norm_layout("layer", 6) == {
        "layer.singular_vector": Parameter((6,), -1, 1)
    }


def test_noise_is_one_number_for_each_input_and_output_of_noisy_layers_alone() -> None:
    layout = (
        layers.linear_layout("plain", 2, 3) | NOISY | layers.noisy_linear_layout("other", 9, 2, 0.1)
    )
    shapes = {name: parameter.shape for name, parameter in layers.noise_layout(layout).items()}
    assert shapes == {
        "layer.noise_in": (4,),
        "layer.noise_out": (9,),
        "other.noise_in": (9,),
        "other.noise_out": (2,),
    }


def test_layers_without_sigma_take_no_noise() -> None:
    assert layers.noise_layout(SPECTRAL_DENSE | SPECTRAL_CONVOLUTION) == {}


@pytest.mark.parametrize(
    "layout",
    [
        layers.linear_layout("layer", 4, 9),
        layers.linear_layout("layer", 9, 4),
        NOISY,
        NOISY_NARROWING,
    ],
)
def test_a_dense_layer_without_noise_is_pytorchs_linear(layout: Layout) -> None:
    p, x = views(flat_of(layout), layout), observed(layout)
    expected = F.linear(x, *torch_state(p, "layer").values())
    torch.testing.assert_close(layers.dense(p, "layer", x), expected)


@SIZES
def test_a_dense_layer_multiplies_with_its_matrix_however_it_is_stored(
    inputs: int, outputs: int
) -> None:
    weight, bias, x = drawn(inputs, outputs), drawn(outputs, seed=1), drawn(7, inputs, seed=2)
    p = {"layer.weight": stored(weight), "layer.bias": bias}
    assert (
        p["layer.weight"].shape
        == layers.linear_layout("layer", inputs, outputs)["layer.weight"].shape
    )
    torch.testing.assert_close(layers.dense(p, "layer", x), x @ weight + bias)


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


def test_noise_of_a_narrowing_layer_by_hand() -> None:
    p = {
        "layer.weight": torch.tensor([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]),  # [outputs, inputs]
        "layer.bias": torch.tensor([10.0, 20.0]),
        "layer.weight_sigma": torch.tensor([[1.0, 0.5, 3.0], [0.0, 2.0, 4.0]]),
        "layer.bias_sigma": torch.tensor([1.0, 5.0]),
        "layer.noise_in": torch.tensor([4.0, -9.0, 1.0]),
        "layer.noise_out": torch.tensor([-1.0, 0.25]),
    }
    # f(in) = [2, -3, 1], f(out) = [-1, 0.5], f(in) f(out)^T = [[-2, 1], [3, -1.5], [-1, 0.5]]
    # weight = [[1 - 2, 2 + 0], [3 + 1.5, 4 - 3], [5 - 3, 6 + 2]] = [[-1, 2], [4.5, 1], [2, 8]]
    # bias = [10 - 1, 20 + 2.5] = [9, 22.5]
    x = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [2, -2, 1]])
    expected = [[8, 24.5], [13.5, 23.5], [11, 30.5], [0, 32.5]]
    assert layers.dense(p, "layer", x).tolist() == expected


@SIZES
def test_a_noisy_layer_adds_sigma_times_an_outer_product(inputs: int, outputs: int) -> None:
    layout = layers.noisy_linear_layout("layer", inputs, outputs, 0.5)
    p, noise, x = views(flat_of(layout), layout), noise_for(layout), drawn(7, inputs)
    root_in, root_out = (
        noise[f"layer.noise_{side}"].sign() * noise[f"layer.noise_{side}"].abs().sqrt()
        for side in ("in", "out")
    )
    assert (len(root_in), len(root_out)) == (inputs, outputs)
    sigma = matrix(p, "layer", "weight_sigma")
    weight = matrix(p, "layer") + sigma * root_in[:, None] * root_out
    expected = x @ weight + p["layer.bias"] + p["layer.bias_sigma"] * root_out
    torch.testing.assert_close(layers.dense(p | noise, "layer", x), expected)


@BOTH_NOISY
def test_noise_of_zero_is_no_noise(layout: Layout) -> None:
    p, x = views(flat_of(layout), layout), observed(layout)
    silence = views(torch.zeros(13, dtype=torch.float64), layers.noise_layout(layout))
    assert torch.equal(layers.dense(p | silence, "layer", x), layers.dense(p, "layer", x))


def test_the_noise_of_one_layer_leaves_others_alone() -> None:
    layout = NOISY | layers.noisy_linear_layout("other", 4, 9, 0.5)
    p, x = views(flat_of(layout), layout), drawn(7, 4)
    noise = views(drawn(13, seed=2), layers.noise_layout(NOISY))
    assert torch.equal(layers.dense(p | noise, "other", x), layers.dense(p, "other", x))


@SIZES
@pytest.mark.parametrize("normalised", [False, True])
def test_a_hidden_layer_is_linear_layer_norm_and_relu(
    normalised: bool, inputs: int, outputs: int
) -> None:
    layout = layers.linear_layout("layer", inputs, outputs)
    if normalised:
        layout |= layers.layer_norm_layout("layer", outputs)
    p, x = views(flat_of(layout), layout), drawn(7, inputs)
    linear = nn.Linear(inputs, outputs, dtype=torch.float64)
    linear.load_state_dict(torch_state(p, "layer"))
    modules: list[nn.Module] = [linear]
    if normalised:
        norm = nn.LayerNorm(outputs, dtype=torch.float64)
        norm.load_state_dict({"weight": p["layer.scale"], "bias": p["layer.shift"]})
        modules.append(norm)
    expected = nn.Sequential(*modules, nn.ReLU())(x)
    torch.testing.assert_close(layers.hidden(p, "layer", x), expected)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_hidden_convolution_is_conv2d_group_norm_and_relu(normalised: bool) -> None:
    layout = layers.convolution_layout("layer", 2, 5, 3)
    if normalised:
        layout |= layers.layer_norm_layout("layer", 5)
    p, x = views(flat_of(layout), layout), drawn(7, 2, 6, 4)
    convolution = nn.Conv2d(2, 5, 3, dtype=torch.float64)
    convolution.load_state_dict(torch_state(p, "layer"))
    modules: list[nn.Module] = [convolution]
    if normalised:
        norm = nn.GroupNorm(1, 5, dtype=torch.float64)
        norm.load_state_dict({"weight": p["layer.scale"], "bias": p["layer.shift"]})
        modules.append(norm)
    expected = nn.Sequential(*modules, nn.ReLU())(x)
    assert expected.shape == (7, 5, 4, 2)
    torch.testing.assert_close(layers.hidden_convolution(p, "layer", x), expected)


@pytest.mark.parametrize("scale", [1, 1 / 255])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("layout", [SPECTRAL_CONVOLUTION, NORMALISED_CONVOLUTION])
def test_a_strided_convolution_of_scaled_inputs_is_that_of_torch(
    layout: Layout, stride: int, scale: float
) -> None:
    p, x = views(converged(layout), layout), drawn(7, 2, 6, 5)
    weight = p["layer.weight"]
    if "layer.singular_vector" in p:
        weight = weight / torch.linalg.svdvals(weight.flatten(1))[0]
    expected = F.conv2d(x * scale, weight, p["layer.bias"], stride)
    if "layer.scale" in p:
        expected = F.group_norm(expected, 1, p["layer.scale"], p["layer.shift"])
    actual = layers.hidden_convolution(p, "layer", x, stride, scale)
    torch.testing.assert_close(actual, expected.relu())


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_convolution_may_be_padded_with_zeros_and_go_without_its_relu(padding: int) -> None:
    layout = layers.convolution_layout("layer", 2, 5, 3)
    p, x = views(flat_of(layout), layout), drawn(7, 2, 6, 4)
    framed = torch.zeros(7, 2, 6 + 2 * padding, 4 + 2 * padding, dtype=torch.float64)
    framed[:, :, padding : padding + 6, padding : padding + 4] = x
    expected = F.conv2d(framed, p["layer.weight"], p["layer.bias"])
    assert expected.min() < 0
    padded = layers.convolve(p, "layer", x, padding=padding)
    torch.testing.assert_close(padded, expected)
    torch.testing.assert_close(layers.convolve(p, "layer", framed), expected)


def test_a_normalised_convolution_has_mean_zero_over_all_channels_and_pixels() -> None:
    layout = layers.convolution_layout("layer", 2, 5, 3) | layers.layer_norm_layout("layer", 5)
    p = views(flat_of(layout), layout)
    p |= {"layer.scale": torch.ones(5).double(), "layer.shift": torch.full((5,), 100.0).double()}
    out = layers.hidden_convolution(p, "layer", drawn(3, 2, 6, 4)) - 100  # nothing is cut by ReLU
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        out.var((1, 2, 3), correction=0), torch.ones(3).double(), rtol=1e-4, atol=0
    )


@ALL_SPECTRAL
def test_power_iteration_finds_the_singular_vector_of_the_largest_singular_value(
    layout: Layout,
) -> None:
    p = views(converged(layout), layout)
    _, values, outputs = torch.linalg.svd(matrix(p, "layer"))
    assert values[0] > 1.05 * values[1]
    assert p["layer.singular_vector"].norm().item() == pytest.approx(1)
    assert abs(p["layer.singular_vector"] @ outputs[0]).item() == pytest.approx(1)


def effective(p: Parameters, inputs: int) -> Tensor:
    """The matrix [inputs, outputs] that a dense layer multiplies with in the end."""
    without = dict(p) | {"layer.bias": torch.zeros_like(p["layer.bias"])}
    return layers.dense(without, "layer", torch.eye(inputs, dtype=torch.float64))


@DENSE_SPECTRAL
@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_spectral_dense_layers_largest_singular_value_is_one(
    scale: float, layout: Layout
) -> None:
    p = views(converged(layout), layout)
    p = p | {"layer.weight": scale * p["layer.weight"]}
    divided, weight = effective(p, sizes(layout, "layer")[0]), matrix(p, "layer")
    assert torch.linalg.svdvals(divided)[0].item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(divided, weight / torch.linalg.svdvals(weight)[0])


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 16), (16, 64), (32, 32), (3, 1), (1, 3)])
def test_after_some_iterations_a_spectral_layers_largest_singular_value_is_about_one(
    inputs: int, outputs: int
) -> None:
    layout = layers.linear_layout("layer", inputs, outputs) | layers.spectral_norm_layout(
        "layer", outputs
    )
    p = views(after_iterations(layout, 12), layout)
    divided = effective(p, inputs)
    # An estimate is never above the largest singular value.
    assert 1 - 1e-12 <= torch.linalg.svdvals(divided)[0].item() < 1.02
    left = F.normalize(matrix(p, "layer") @ p["layer.singular_vector"], dim=0)
    estimate = (left @ matrix(p, "layer")).norm()
    torch.testing.assert_close(divided, matrix(p, "layer") / estimate)


@pytest.mark.parametrize("layout", [SPECTRAL_CONVOLUTION, SPECTRAL_SQUARE_CONVOLUTION])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_a_spectral_convolutions_largest_singular_value_is_one(
    scale: float, layout: Layout
) -> None:
    p = views(converged(layout), layout)
    weight, x = scale * p["layer.weight"], drawn(3, layout["layer.weight"].shape[1], 5, 5)
    normed = weight / torch.linalg.svdvals(weight.flatten(1))[0]
    expected = F.conv2d(x, normed, p["layer.bias"]).relu()
    actual = layers.hidden_convolution(p | {"layer.weight": weight}, "layer", x)
    torch.testing.assert_close(actual, expected)


@ALL_SPECTRAL
def test_each_iteration_brings_the_estimate_closer(layout: Layout) -> None:
    flat, errors = flat_of(layout), []
    for _ in range(6):
        p = views(flat, layout)
        weight = matrix(p, "layer")
        estimate = (weight @ p["layer.singular_vector"]).norm() / p["layer.singular_vector"].norm()
        errors.append((torch.linalg.svdvals(weight)[0] - estimate).item())
        flat = layers.power_iteration(flat, layout)
    assert errors == sorted(errors, reverse=True)
    assert 0 <= errors[-1] < 0.5 * errors[0]


def test_one_iteration_by_hand() -> None:
    layout = layers.linear_layout("layer", 2, 2) | layers.spectral_norm_layout("layer", 2)
    # W v = [[3, 0], [0, 1]] [4, 3] = [12, 3] ~ [4, 1]; [4, 1] W = [12, 1]
    flat = torch.tensor([3.0, 0, 0, 1, 7, 8, 4, 3], dtype=torch.float64)
    expected = [3, 0, 0, 1, 7, 8, 12 / math.sqrt(145), 1 / math.sqrt(145)]
    assert layers.power_iteration(flat, layout).tolist() == pytest.approx(expected)


def test_one_iteration_of_a_narrowing_layer_by_hand() -> None:
    layout = layers.linear_layout("layer", 3, 2) | layers.spectral_norm_layout("layer", 2)
    # W = [[3, 0], [0, 1], [0, 0]], stored [[3, 0, 0], [0, 1, 0]]: W v = [12, 3, 0] ~ [4, 1, 0]
    # and [4, 1, 0] W = [12, 1]
    flat = torch.tensor([3.0, 0, 0, 0, 1, 0, 7, 8, 4, 3], dtype=torch.float64)
    expected = [3, 0, 0, 0, 1, 0, 7, 8, 12 / math.sqrt(145), 1 / math.sqrt(145)]
    assert layers.power_iteration(flat, layout).tolist() == pytest.approx(expected)


def test_power_iteration_changes_singular_vectors_only() -> None:
    layout = SPECTRAL_DENSE | layers.layer_norm_layout("layer", 4)
    layout |= {f"other.{name}": each for name, each in SPECTRAL_CONVOLUTION.items()}
    flat = flat_of(layout)
    before, after = (views(each, layout) for each in (flat, layers.power_iteration(flat, layout)))
    changed = {name for name in layout if not torch.equal(before[name], after[name])}
    assert changed == {"layer.singular_vector", "other.layer.singular_vector"}
    assert torch.equal(flat, flat_of(layout))  # not in place


def test_a_layout_is_spectral_if_any_layer_is() -> None:
    assert layers.has_spectral_norm(layers.linear_layout("first", 2, 3) | SPECTRAL_CONVOLUTION)
    assert not layers.has_spectral_norm(NOISY | layers.layer_norm_layout("layer", 9))


@BOTH_NOISY
@pytest.mark.parametrize("noisy", [False, True])
def test_gradients_of_a_dense_layer_are_those_of_finite_differences(
    noisy: bool, layout: Layout
) -> None:
    noise = noise_for(layout) if noisy else {}

    def output(flat: Tensor, x: Tensor) -> Tensor:
        return layers.dense(views(flat, layout) | noise, "layer", x)

    flat, x = flat_of(layout).requires_grad_(), observed(layout).requires_grad_()
    assert torch.autograd.gradcheck(output, (flat, x))


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (SPECTRAL_DENSE, (3, 5)),
        (SPECTRAL_WIDENING, (3, 4)),
        (SPECTRAL_SQUARE, (3, 5)),
        (SPECTRAL_CONVOLUTION, (2, 2, 4, 3)),
        (SPECTRAL_SQUARE_CONVOLUTION, (2, 1, 4, 3)),
    ],
)
def test_gradients_of_a_spectral_layer_are_those_of_finite_differences(
    layout: Layout, shape: tuple[int, ...]
) -> None:
    forward = hidden(layout)
    named = {name: each.clone() for name, each in views(converged(layout), layout).items()}

    def output(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return forward(named | {"layer.weight": weight, "layer.bias": bias}, "layer", x)

    # At the singular vectors the largest singular value does not change with them to first order.
    inputs = (named["layer.weight"], named["layer.bias"], drawn(*shape))
    assert torch.autograd.gradcheck(output, tuple(each.requires_grad_() for each in inputs))


@ALL_SPECTRAL
def test_singular_vectors_have_a_gradient_of_exactly_zero(layout: Layout) -> None:
    flat = flat_of(layout).requires_grad_()
    hidden(layout)(views(flat, layout), "layer", observed(layout)).sum().backward()
    assert flat.grad is not None
    gradient = views(flat.grad, layout)
    assert gradient["layer.singular_vector"].tolist() == [0] * len(gradient["layer.bias"])
    assert gradient["layer.weight"].abs().max() > 0.01


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 4), (4, 5), (4, 4)])
def test_the_estimate_of_the_singular_vectors_is_a_constant_to_gradients(
    inputs: int, outputs: int
) -> None:
    weight, vector = drawn(inputs, outputs), drawn(outputs, seed=3)  # not yet singular
    left = F.normalize(weight @ vector, dim=0)
    right = F.normalize(left @ weight, dim=0)
    p = {"layer.bias": torch.zeros(outputs).double(), "layer.singular_vector": vector}
    gradients = []
    for divided in (True, False):
        at, x = weight.clone().requires_grad_(), drawn(6, inputs)
        by_hand = x @ at / (left @ at @ right)
        x = layers.dense(p | {"layer.weight": stored(at)}, "layer", x) if divided else by_hand
        gradients += torch.autograd.grad((x**2).sum(), at)
    torch.testing.assert_close(*gradients)


@DENSE_SPECTRAL
def test_a_spectral_weights_gradient_is_orthogonal_to_the_weight(layout: Layout) -> None:
    # The scale of the weight is divided out, so that it can have no influence.
    flat = converged(layout).requires_grad_()
    (layers.dense(views(flat, layout), "layer", observed(layout)) ** 2).sum().backward()
    assert flat.grad is not None
    weight, slope = (views(each, layout)["layer.weight"] for each in (flat, flat.grad))
    assert (weight * slope).sum().item() == pytest.approx(0, abs=1e-9)
    assert slope.abs().max() > 0.01


def test_recording_parameters_record_the_activations_of_hidden_layers() -> None:
    layout = layers.linear_layout("first", 4, 3) | layers.linear_layout("last", 3, 2)
    layout |= layers.convolution_layout("image", 2, 4, 3)
    p = RecordingParameters(views(flat_of(layout), layout))
    x = layers.hidden(p, "first", drawn(7, 4))
    layers.dense(p, "last", x)
    image = layers.hidden_convolution(p, "image", drawn(7, 2, 4, 4))
    assert list(p.activations) == ["first", "image"]
    assert torch.equal(p.activations["first"], x)
    assert torch.equal(p.activations["image"], image)


def test_recording_parameters_compute_what_plain_parameters_compute() -> None:
    p, x = views(flat_of(SPECTRAL_DENSE), SPECTRAL_DENSE), drawn(7, 5)
    assert torch.equal(
        layers.hidden(RecordingParameters(p), "layer", x), layers.hidden(p, "layer", x)
    )
