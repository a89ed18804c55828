from __future__ import annotations

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import matrix, stored
from test_multi import SPACES, observations
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Impala, Nature
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.hadamax import Hadamax
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.model import Model
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.quantiles import Iqn
from dqn_cli.agent.recurrent import Gru
from dqn_cli.agent.recycling import Links, recycle
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.update_rules import Dqn

SCALAR = Scalar(Loss.huber)
PLAIN = (False, False, False, False, 0.5)
IMAGE = array_spaces((9, 10, 3), (0.0,), (255.0,), 3)
VECTOR = array_spaces((2,), (-1.0,) * 2, (1.0,) * 2, 2)
NETWORKS = {
    "mlp": (Mlp([4, 5], *PLAIN), VECTOR),
    "one layer": (Mlp([4], *PLAIN), VECTOR),
    "three layers": (Mlp([3, 3, 3], *PLAIN), VECTOR),
    "dueling": (Mlp([4, 5], False, False, True, False, 0.5), VECTOR),
    "dueling and noisy": (Mlp([4, 5], False, False, True, True, 0.5), VECTOR),
    "minatar": (MinAtarCnn([4, 5], *PLAIN, [3, 2]), IMAGE),
    "minatar without layers": (MinAtarCnn([], *PLAIN, [3, 2]), IMAGE),
    "nature": (Nature([4, 5], *PLAIN, [3, 2], False), array_spaces((20, 24, 3), (0,), (255,), 3)),
    "hadamax": (Hadamax([4], *PLAIN, [3, 2], False, [3, 2], [2, 2], [2, 1]), IMAGE),
    **{name: (Multi([4, 5], *PLAIN, [3, 2], 4), spaces) for name, spaces in SPACES.items()},
}


def zeroed(model: Model, p: dict[str, Tensor], links: dict[str, Links]) -> dict[str, list[int]]:
    """Lets a unit of each hidden layer, another one in each, have activations of 0."""
    dead = {}
    for number, (name, link) in enumerate(sorted(links.items())):
        units = len(p[f"{link.incoming[0]}.bias"])
        unit = number % units
        for layer in link.incoming[:1]:
            for key in ("weight", "bias"):
                value = p[f"{layer}.{key}"]
                if value.dim() == 2:
                    value = matrix(p, layer).T
                value[unit] = 0
        dead[name] = [unit]
    return dead


@pytest.mark.parametrize(("network", "spaces"), NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(
    "head", [SCALAR, C51(4, -1.0, 1.0), Iqn(3, 4)], ids=["scalar", "c51", "iqn"]
)
def test_units_that_never_react_can_begin_anew_without_a_change_of_any_value(
    network: Mlp, spaces: Spaces, head: Head
) -> None:
    model = Model(spaces, network, head)
    links = network.unit_links(spaces)
    flat = initial(model.layout, np.random.default_rng(0))
    p = views(flat, model.layout)
    dead = zeroed(model, p, links)
    obs = observations(spaces, 6)
    scores = model.unit_scores(flat, obs)
    assert links.keys() | {"cosines"} == scores.keys() | {"cosines"}
    dormant = {name: score <= 0 for name, score in scores.items()}
    for name, units in dead.items():
        assert dormant[name][units].all()
    fresh = initial(model.layout, np.random.default_rng(1))
    after, changed = recycle(model.layout, links, dormant, flat, fresh)
    none = flat.new_empty(0)
    torch.testing.assert_close(model.q(after, obs, none), model.q(flat, obs, none))
    assert torch.equal(after[~changed], flat[~changed])
    new = views(after, model.layout)
    for name, units in dead.items():
        for layer in links[name].incoming:
            drawn = views(fresh, model.layout)[f"{layer}.bias"][units]
            assert torch.equal(new[f"{layer}.bias"][units], drawn)
    # The units react again.
    revived = model.unit_scores(after, obs)
    assert any(revived[name][units].any() for name, units in dead.items())


def test_two_layers_are_recycled_as_by_hand() -> None:
    # Two inputs, two units, two units, two actions. Unit 0 of the first layer and unit 1 of the
    # second are dormant.
    network = Mlp([2, 2], *PLAIN)
    layout = network.layout(VECTOR, SCALAR)
    flat, fresh = torch.ones(size(layout)), torch.full((size(layout),), 9.0)
    dormant = {
        "torso.0": torch.tensor([True, False]),
        "advantage.hidden": torch.tensor([False, True]),
    }
    after, changed = recycle(layout, network.unit_links(VECTOR), dormant, flat, fresh)
    p = views(after, layout)
    # Rows are inputs, columns are units.
    assert matrix(p, "torso.0").tolist() == [[9, 1], [9, 1]]
    assert p["torso.0.bias"].tolist() == [9, 1]
    assert matrix(p, "advantage.hidden").tolist() == [[0, 9], [1, 9]]
    assert p["advantage.hidden.bias"].tolist() == [1, 9]
    assert matrix(p, "advantage.out").tolist() == [[1, 1], [0, 0]]
    assert p["advantage.out.bias"].tolist() == [1, 1]
    assert changed.sum() == 3 + 4 + 2


def test_a_dormant_channel_is_every_pixel_of_the_next_dense_layer() -> None:
    network = MinAtarCnn([], *PLAIN, [2])
    spaces = array_spaces((3, 4, 1), (0.0,), (1.0,), 3)  # two pixels are left
    layout = network.layout(spaces, SCALAR)
    flat, fresh = torch.ones(size(layout)), torch.full((size(layout),), 9.0)
    dormant = {"convolution.0": torch.tensor([False, True])}
    after, _ = recycle(layout, network.unit_links(spaces), dormant, flat, fresh)
    p = views(after, layout)
    assert p["convolution.0.weight"].flatten(1).tolist() == [[1.0] * 9, [9.0] * 9]
    assert matrix(p, "advantage.out").tolist() == [[1] * 3, [1] * 3, [0] * 3, [0] * 3]


def test_norms_and_noise_of_a_dormant_unit_begin_anew() -> None:
    network = Mlp([2], True, False, False, True, 0.5)
    layout = network.layout(VECTOR, SCALAR)
    flat, fresh = torch.ones(size(layout)), torch.full((size(layout),), 9.0)
    dormant = {"advantage.hidden": torch.tensor([True, False])}
    after, _ = recycle(layout, network.unit_links(VECTOR), dormant, flat, fresh)
    p = views(after, layout)
    for key in ("bias", "bias_sigma", "scale", "shift"):
        assert p[f"advantage.hidden.{key}"].tolist() == [9, 1]
    assert matrix(p, "advantage.hidden", "weight_sigma").tolist() == [[9, 1], [9, 1]]
    assert matrix(p, "advantage.out", "weight_sigma").tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(("threshold", "begun"), [(0.0, [0]), (0.4, [0, 1]), (-1.0, [])])
def test_an_agent_recycles_units_whose_score_is_at_most_the_threshold(
    threshold: float, begun: list[int]
) -> None:
    # Activations 0, 1 and 8 have a mean of 3: scores 0, 1/3 and 8/3.
    network = Mlp([3], *PLAIN)
    adam = Adam(1e-3, Schedule.constant, None, 0.9, 0.999, 1e-8)
    agent = Agent(VECTOR, network, SCALAR, Dqn(), adam)
    flat, fresh = torch.zeros(size(agent.layout)), torch.full((size(agent.layout),), 9.0)
    p = views(flat, agent.layout)
    p["advantage.hidden.bias"].copy_(torch.tensor([0.0, 1.0, 8.0]))
    p["advantage.out.weight"].copy_(stored(torch.ones(3, 2)))
    obs = torch.zeros(5, 2)
    after, _ = agent.recycle(flat, fresh, obs, torch.tensor(threshold))
    new = views(after, agent.layout)
    expected = [9.0 if unit in begun else value for unit, value in enumerate((0.0, 1.0, 8.0))]
    assert new["advantage.hidden.bias"].tolist() == expected
    weights = [[0.0 if unit in begun else 1.0] * 2 for unit in range(3)]
    assert matrix(new, "advantage.out").tolist() == weights


def test_networks_whose_layers_do_not_follow_each_other_say_so() -> None:
    gru = Gru([6, 5], *PLAIN, [], 4, 4, 2, 3)
    assert not gru.recycles
    assert not Impala([4], *PLAIN, [2], False, 1, 2).recycles
    assert Mlp([4], *PLAIN).recycles
