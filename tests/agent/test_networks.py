from __future__ import annotations

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import matrix, sizes, torch_state
from torch import Tensor, nn

from dqn_cli.agent import layers
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr

OBS_SHAPE, ACTIONS = (3, 2), 4  # 6 elements
SPACES = array_spaces(OBS_SHAPE, (-1,) * 6, (1,) * 6, ACTIONS)
SCALAR = Scalar(Loss.huber)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def mlp(
    widths: list[int],
    layer_norm: bool = False,
    spectral_norm: bool = False,
    dueling: bool = False,
    noisy: bool = False,
) -> Mlp:
    return Mlp(widths, layer_norm, spectral_norm, dueling, noisy, 0.5)


def random_parameters(network: Mlp, head: Head) -> dict[str, Tensor]:
    layout = network.layout(SPACES, head)
    flat = initial(layout, np.random.default_rng(0))
    flat += torch.from_numpy(np.random.default_rng(1).normal(0, 0.3, len(flat)))
    return views(flat, layout)


def observations() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(8, *OBS_SHAPE)))


def reference(network: Mlp, p: dict[str, Tensor], name: str, inputs: int) -> nn.Sequential:
    """The layers called `name.*`, built of torch's own modules."""
    modules: list[nn.Module] = []
    for key in [key.removesuffix(".weight") for key in p if key.endswith(".weight")]:
        if not key.startswith(name):
            continue
        layer = nn.Linear(inputs, len(p[f"{key}.bias"]), dtype=torch.float64)
        layer.load_state_dict(torch_state(p, key))
        modules.append(layer)
        inputs = layer.out_features
        if key.endswith(".out"):
            continue
        if network.layer_norm:
            norm = nn.LayerNorm(inputs, dtype=torch.float64)
            norm.load_state_dict({"weight": p[f"{key}.scale"], "bias": p[f"{key}.shift"]})
            modules.append(norm)
        modules.append(nn.ReLU())
    return nn.Sequential(*modules)


@pytest.mark.parametrize("atoms", [1, 3])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("widths", [[], [5], [5, 7], [5, 7, 6]])
def test_an_mlp_computes_what_the_same_layers_of_torch_compute(
    widths: list[int], dueling: bool, layer_norm: bool, noisy: bool, atoms: int
) -> None:
    network, head, obs = mlp(widths, layer_norm, False, dueling, noisy), Qr(atoms), observations()
    p = random_parameters(network, head)
    features = reference(network, p, "torso", 6)(obs.reshape(8, 6))
    inputs = [6, *widths[:-1]][-1]
    advantage = reference(network, p, "advantage", inputs)(features).reshape(8, ACTIONS, atoms)
    expected = advantage
    if dueling:
        value = reference(network, p, "value", inputs)(features).reshape(8, 1, atoms)
        expected = value + advantage - advantage.mean(dim=1, keepdim=True)
    torch.testing.assert_close(network.forward(p, obs, SPACES, head), expected, **EXACT)


@pytest.mark.parametrize("dueling", [False, True])
def test_an_mlp_has_the_layers_of_its_widths(dueling: bool) -> None:
    layout = mlp([5, 7], True, False, dueling).layout(SPACES, Qr(3))
    shapes = {name: parameter.shape for name, parameter in layout.items()}
    assert sizes(layout, "torso.0") == (6, 5)
    assert shapes["torso.0.scale"] == shapes["torso.0.shift"] == (5,)
    assert sizes(layout, "advantage.hidden") == (5, 7)
    assert sizes(layout, "advantage.out") == (7, 12)  # 4 actions of 3 atoms
    assert "torso.1.weight" not in shapes
    if dueling:
        assert sizes(layout, "value.hidden") == (5, 7)
        assert sizes(layout, "value.out") == (7, 3)
    else:
        assert not [name for name in shapes if name.startswith("value")]


@pytest.mark.parametrize(
    ("widths", "dueling", "numbers"),
    [
        ([], False, 28),  # 7 * 4
        ([5], False, 59),  # 7 * 5 + 6 * 4
        ([5, 7], False, 109),  # 7 * 5 + 6 * 7 + 8 * 4
        ([5, 7], True, 159),  # ... + 6 * 7 + 8 * 1
    ],
)
def test_the_number_of_weights_and_biases(widths: list[int], dueling: bool, numbers: int) -> None:
    assert size(mlp(widths, dueling=dueling).layout(SPACES, SCALAR)) == numbers


@pytest.mark.parametrize("noisy", [False, True])
def test_the_mean_over_actions_of_a_dueling_network_is_its_value_stream(noisy: bool) -> None:
    network, head = mlp([5, 7], dueling=True, noisy=noisy), Qr(2)
    p = random_parameters(network, head)
    features = reference(network, p, "torso", 6)(observations().reshape(8, 6))
    value = reference(network, p, "value", 5)(features)
    z = network.forward(p, observations(), SPACES, head)
    torch.testing.assert_close(z.mean(1), value, **EXACT)


@pytest.mark.parametrize(("name", "change"), [("advantage.out.bias", 0.0), ("value.out.bias", 7.0)])
def test_a_constant_counts_in_the_value_stream_and_not_in_the_advantages(
    name: str, change: float
) -> None:
    network = mlp([5], dueling=True)
    p = random_parameters(network, SCALAR)
    before = network.forward(p, observations(), SPACES, SCALAR)
    after = network.forward(p | {name: p[name] + 7}, observations(), SPACES, SCALAR)
    torch.testing.assert_close(after - before, torch.full_like(before, change))


@pytest.mark.parametrize("dueling", [False, True])
def test_initial_values_lie_within_the_bounds_of_torchs_linear(dueling: bool) -> None:
    widths = [40, 50]
    layout = mlp(widths, True, False, dueling).layout(SPACES, SCALAR)
    named = views(initial(layout, np.random.default_rng(0)), layout)
    for name, values in named.items():
        if name.endswith(".scale"):
            assert (values == 1).all()
        elif name.endswith(".shift"):
            assert (values == 0).all()
        else:
            inputs, _ = sizes(layout, name.rsplit(".", 1)[0])
            assert inputs in (6, *widths)
            assert values.abs().max() <= inputs**-0.5
            assert values.abs().max() > 0.3 * inputs**-0.5


@pytest.mark.parametrize("widths", [[], [5], [5, 7]])
@pytest.mark.parametrize("dueling", [False, True])
def test_the_noisy_layers_are_those_of_the_streams(widths: list[int], dueling: bool) -> None:
    layout = mlp(widths, dueling=dueling, noisy=True).layout(SPACES, SCALAR)
    noisy = {name.removesuffix(".weight_sigma") for name in layout if "weight_sigma" in name}
    parts = ["hidden", "out"] if widths else ["out"]
    streams = ["advantage", "value"] if dueling else ["advantage"]
    assert noisy == {f"{stream}.{part}" for stream in streams for part in parts}


def test_sigmas_start_at_sigma_over_the_root_of_the_inputs() -> None:
    layout = Mlp([16, 25], False, False, False, True, 0.2).layout(SPACES, SCALAR)
    assert layout["advantage.hidden.weight_sigma"][1:3] == (0.05, 0.05)  # 0.2 / sqrt(16)
    assert layout["advantage.hidden.bias_sigma"][1:3] == (0.05, 0.05)
    assert layout["advantage.out.weight_sigma"][1:3] == pytest.approx(
        (0.04, 0.04)
    )  # 0.2 / sqrt(25)


def test_noise_changes_what_the_streams_say() -> None:
    network = mlp([5, 7], dueling=True, noisy=True)
    p = random_parameters(network, SCALAR)
    layout = layers.noise_layout(network.layout(SPACES, SCALAR))
    noise = views(torch.from_numpy(np.random.default_rng(3).normal(size=size(layout))), layout)
    for name in ("advantage.hidden", "advantage.out", "value.hidden", "value.out"):
        own = {key: value for key, value in noise.items() if key.startswith(name)}
        plain, noisy = (
            network.forward(each, observations(), SPACES, SCALAR) for each in (p, p | own)
        )
        assert (plain - noisy).abs().max() > 1e-3


@pytest.mark.parametrize("noisy", [False, True])
def test_is_noisy_says_what_was_chosen(noisy: bool) -> None:
    assert mlp([5], noisy=noisy).is_noisy is noisy


@pytest.mark.parametrize(
    ("widths", "noisy", "names"),
    [
        ([5], False, {"advantage.hidden", "value.hidden"}),
        ([5, 7], False, {"torso.0", "advantage.hidden", "value.hidden"}),
        ([5, 7, 6], True, {"torso.0", "torso.1"}),
    ],
)
def test_spectral_norm_is_for_all_hidden_layers_that_are_not_noisy(
    widths: list[int], noisy: bool, names: set[str]
) -> None:
    layout = mlp(widths, False, True, True, noisy).layout(SPACES, SCALAR)
    assert {
        name.removesuffix(".singular_vector") for name in layout if "singular_vector" in name
    } == names


@pytest.mark.parametrize(("widths", "noisy"), [([], False), ([], True), ([5], True)])
def test_spectral_norm_of_no_layer_is_refused(widths: list[int], noisy: bool) -> None:
    with pytest.raises(ValueError, match=r"spectral_norm=true finds no layer.*network.widths"):
        mlp(widths, False, True, False, noisy).layout(SPACES, SCALAR)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_spectral_network_is_a_plain_one_with_divided_weights(layer_norm: bool) -> None:
    network = mlp([5, 7], layer_norm, True, True)
    layout = network.layout(SPACES, SCALAR)
    flat = torch.from_numpy(np.random.default_rng(1).normal(size=size(layout)))
    for _ in range(500):
        flat = layers.power_iteration(flat, layout)
    p = views(flat, layout)
    plain = {name: value for name, value in p.items() if not name.endswith(".singular_vector")}
    for name in ("torso.0.weight", "advantage.hidden.weight", "value.hidden.weight"):
        plain[name] = p[name] / torch.linalg.svdvals(p[name])[0]
    spectral, divided = (
        network.forward(each, observations(), SPACES, SCALAR) for each in (p, plain)
    )
    torch.testing.assert_close(spectral, divided, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize(
    ("head", "atoms"), [(SCALAR, 1), (C51(5, -1.0, 1.0), 5), (Qr(3), 3), (Iqn(6, 4), 6)]
)
def test_z_has_the_atoms_of_each_action(head: Head, atoms: int, dueling: bool) -> None:
    network = mlp([5, 7], dueling=dueling)
    p = random_parameters(network, head) | {"taus": torch.rand(8, 6, dtype=torch.float64)}
    z = network.forward(p, observations(), SPACES, head)
    assert z.shape == (8, ACTIONS, atoms)
    assert head.q(z).shape == (8, ACTIONS)


@pytest.mark.parametrize("dueling", [False, True])
def test_an_implicit_quantile_is_the_streams_output_for_its_own_level(dueling: bool) -> None:
    network, head = mlp([5, 7], dueling=dueling), Iqn(3, 4)
    p = random_parameters(network, head)
    taus = torch.from_numpy(np.random.default_rng(3).random((8, 3)))
    z = network.forward(p | {"taus": taus}, observations(), SPACES, head)
    for atom in range(3):
        alone = network.forward(p | {"taus": taus[:, [atom]]}, observations(), SPACES, head)
        torch.testing.assert_close(z[:, :, [atom]], alone, **EXACT)


def test_implicit_quantiles_multiply_features_with_embedded_cosines() -> None:
    network, head = mlp([5, 7]), Iqn(1, 4)
    p = random_parameters(network, head)
    level = torch.full((8, 1), 0.3, dtype=torch.float64)
    cosines = torch.tensor([[np.cos(np.pi * i * 0.3) for i in range(4)]], dtype=torch.float64)
    embedding = (cosines @ matrix(p, "cosines") + p["cosines.bias"]).relu()  # [1, 5]
    features = reference(network, p, "torso", 6)(observations().reshape(8, 6)) * embedding
    expected = reference(network, p, "advantage", 5)(features)
    z = network.forward(p | {"taus": level}, observations(), SPACES, head)
    torch.testing.assert_close(z.squeeze(2), expected, **EXACT)


def test_the_last_layers_are_the_streams() -> None:
    network = mlp([5, 7], True, False, True, True)
    layout = network.layout(SPACES, Iqn(6, 4))
    last = {name.split(".")[0] for name in layout if network.is_last(name)}
    others = {name.split(".")[0] for name in layout if not network.is_last(name)}
    assert last == {"advantage", "value"}
    assert others == {"torso", "cosines"}


def test_an_mlp_has_features() -> None:
    assert mlp([5]).has_features


@pytest.mark.parametrize("dueling", [False, True])
def test_skips_give_every_layer_what_the_first_one_takes(dueling: bool) -> None:
    network = Mlp([5, 4, 3], True, False, dueling, False, 0.5, skip=True)
    p, x = random_parameters(network, SCALAR), observations().flatten(1)  # [batch, 6]

    def layer(name: str, x: Tensor) -> Tensor:
        h = x @ matrix(p, name) + p[f"{name}.bias"]
        norm = p[f"{name}.scale"], p[f"{name}.shift"]
        return nn.functional.layer_norm(h, h.shape[1:], *norm).relu()

    h = layer("torso.0", x)  # [batch, 5]
    h = layer("torso.1", torch.cat([h, x], 1))  # [batch, 4]
    joined = torch.cat([h, x], 1)  # [batch, 10]
    outputs = [
        layer(f"{stream}.hidden", joined) @ matrix(p, f"{stream}.out") + p[f"{stream}.out.bias"]
        for stream in ("advantage", "value")[: 1 + dueling]
    ]
    expected = outputs[0]
    if dueling:
        expected = outputs[1] + outputs[0] - outputs[0].mean(1, keepdim=True)
    z = network.forward(p, observations(), SPACES, SCALAR)
    torch.testing.assert_close(z.squeeze(2), expected, **EXACT)


@pytest.mark.parametrize("widths", [[], [8]])
def test_skips_need_two_layers(widths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"network\.skip=true .* give it another width"):
        Mlp(widths, False, False, False, False, 0.5, skip=True)
