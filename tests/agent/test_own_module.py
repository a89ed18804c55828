from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from own_networks import Small
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.metrics import Metrics
from dqn_cli.agent.model import Model
from dqn_cli.agent.optimizers import AdamW, OptimizerState, Schedule
from dqn_cli.agent.own_module import OwnModule
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.spaces import PICTURE, VECTOR, Part, Spaces
from dqn_cli.agent.update_rules import Double
from dqn_cli.training.population import Population, UpdateTensors
from dqn_cli.training.random_inputs import draw_random_inputs
from dqn_cli.training.randomness import Purpose, Randomness

VECTOR_SPACES = Spaces((Part("", VECTOR, (5,), (-1.0,), (1.0,), False),), 3)
PARTS = (
    Part("view", PICTURE, (6, 6, 2), (0.0,), (255.0,), True),
    Part("speed", VECTOR, (2,), (-1.0,), (1.0,), False),
)
SCALAR = Scalar(Loss.huber)
HEADS = [SCALAR, C51(5, -1.0, 1.0), Qr(4), Iqn(4, 6)]
BATCH, MEMBERS = 6, 3


def own(widths: Any = (), dueling: bool = False, noisy: bool = False, **kwargs: Any) -> OwnModule:
    path = "own_networks:Small"
    return OwnModule(list(widths), False, False, dueling, noisy, 0.5, path, kwargs)


def model(head: Head = SCALAR, spaces: Spaces = VECTOR_SPACES, **kwargs: Any) -> Model:
    return Model(spaces, own(**kwargs), head)


def initial(of: Model, seed: int = 0) -> Tensor:
    return of.network.initial(of.layout, of.spaces, np.random.default_rng(seed))


def test_features_are_those_of_the_module_itself() -> None:
    of = model(widths=[7])
    parameters, obs = initial(of), torch.rand(BATCH, 5, dtype=torch.float64)
    named = views(parameters, of.layout)
    module = Small((5,)).double()
    module.load_state_dict(
        {
            name: named[f"module/{name.replace('.', '/')}"].to(value.dtype)
            for name, value in module.state_dict().items()
        }
    )
    hidden = (
        module(obs) @ named["advantage.hidden.weight"].T + named["advantage.hidden.bias"]
    ).relu()
    q = hidden @ named["advantage.out.weight"].T + named["advantage.out.bias"]
    torch.testing.assert_close(of.q(parameters, obs, torch.empty(0)), q)


def test_initial_values_are_the_modules_own_and_follow_the_generator_alone() -> None:
    of = model()
    torch.manual_seed(1)
    first, after = initial(of, 3), torch.rand(())
    torch.manual_seed(2)
    again, other = initial(of, 3), initial(of, 4)
    torch.manual_seed(1)
    assert torch.rand(()) == after, "PyTorch's own generator goes on as if nothing had been drawn"
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    matrix = views(first, of.layout)["module/second/weight"]
    torch.testing.assert_close((matrix @ matrix.T).float(), torch.eye(8), rtol=0, atol=1e-5)


def test_parts_arrive_by_their_names_with_their_frames() -> None:
    spaces = Spaces(PARTS, 3, frames=2)
    of = model(spaces=spaces)
    obs = torch.rand(BATCH, *spaces.observation_shape, dtype=torch.float64)
    named = views(initial(of), of.layout)
    assert named["module/first/weight"].shape == (8, 2 * (6 * 6 * 2 + 2))
    module = of.network.forward(named, obs, spaces, SCALAR)
    view, speed = obs[:, :, :72].flatten(1), obs[:, :, 72:].flatten(1)
    alone = model(spaces=Spaces((Part("", VECTOR, (148,), (-1.0,), (1.0,), False),), 3))
    joined = alone.network.forward(named, torch.cat([view, speed], 1), alone.spaces, SCALAR)
    torch.testing.assert_close(module, joined)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_members_learn_what_each_learns_alone(head: Head, dueling: bool, noisy: bool) -> None:
    optimizer = AdamW(1e-2, Schedule.constant, None, 0.9, 0.999, 1e-8, weight_decay=0.1)
    agents = [
        Agent(VECTOR_SPACES, own([4], dueling, noisy), head, Double(), optimizer)
        for _ in range(MEMBERS)
    ]
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(MEMBERS, BATCH, *shape, generator=generator, dtype=torch.float64)

    masks = torch.ones(MEMBERS, BATCH, 3, dtype=torch.bool)
    action = drawn().mul(3).long()
    batch = Batch(
        drawn(5), action, masks, drawn(), drawn(), drawn(5), masks, drawn(), drawn(), drawn()
    )
    generators = map(np.random.default_rng, range(MEMBERS))
    start = torch.stack([agents[0].initial(random) for random in generators])
    noise = Randomness([0, 1, 2], Purpose.noise)
    random = draw_random_inputs(agents[0].model, BATCH, noise, start)

    def after(members: slice) -> Tensor:
        population = Population(agents[members], torch.float64, torch.device("cpu"))
        parameters = start[members].clone()
        moments = torch.zeros(2, *parameters.shape, dtype=torch.float64).unbind(0)
        zeros = torch.zeros(len(parameters), len(Metrics._fields), dtype=torch.float64)
        state = OptimizerState(parameters, moments, zeros[:, :2].clone())
        tensors = UpdateTensors(state, parameters.clone(), zeros, population.scalars)
        chosen = Batch(*(values[members] for values in batch))
        drawn = type(random)(*(values[members] for values in random))
        population.update(tensors, chosen, drawn, zeros[:, 0] + 1)
        return parameters

    together = after(slice(None))
    for member in range(MEMBERS):
        torch.testing.assert_close(together[member], after(slice(member, member + 1))[0])
    of = agents[0].model
    constants = size(of.constant_layout)
    assert [*of.constant_layout] == ["module/frozen/weight", "module/scale", "module/order"]
    assert torch.equal(together[:, -constants:], start[:, -constants:])
    assert (together != start)[:, : views(start[0], of.layout)["module/first/weight"].numel()].all()


def test_dormant_units_are_counted_among_its_features() -> None:
    of = model()
    parameters, obs = initial(of), torch.rand(BATCH, 5, dtype=torch.float64)
    named = views(parameters, of.layout)
    named["module/frozen/weight"].zero_()
    named["module/second/weight"].zero_()
    named["module/scale"].fill_(1)
    named["module/second/bias"].copy_(torch.tensor([1.0] * 6 + [0.0] * 2))
    named["module/order"].copy_(torch.arange(8))
    assert of.dormant(parameters, obs).item() == 2 / 8


def test_its_last_layers_are_ours() -> None:
    of = model(widths=[4], dueling=True)
    last = {name for name in of.layout if of.network.is_last(name)}
    assert last == {name for name in of.layout if not name.startswith("module/")}


def test_the_module_is_named_by_its_path() -> None:
    assert own().modules == {"own_networks:Small": "own_networks"}
    with pytest.raises(
        ValueError, match=r"network\.path=Small is not of the form my_package:MyNet"
    ):
        OwnModule([], False, False, False, False, 0.5, "Small", {})
