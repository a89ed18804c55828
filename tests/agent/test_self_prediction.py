from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from oriented import torch_state
from torch import Tensor, nn

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Impala, Nature
from dqn_cli.agent.augmentation import Shift
from dqn_cli.agent.batch import Batch, Following, RandomInputs
from dqn_cli.agent.convolutional import Spatial, renormalized
from dqn_cli.agent.hadamax import Hadamax
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.self_prediction import Spr
from dqn_cli.agent.update_rules import Dqn

DOUBLE, ROWS, STEPS, ACTIONS = torch.float64, 5, 3, 4
SPACES = array_spaces((9, 8, 2), (0.0,), (255.0,), ACTIONS)
PLAIN = (False, False, False, False, 0.5)
NETWORKS = {
    "minatar": MinAtarCnn([6, 5], *PLAIN, [3, 2]),
    "dueling": MinAtarCnn([5], False, False, True, False, 0.5, [3]),
    "renormalized": MinAtarCnn([5], *PLAIN, [3], renormalize=True),
    "nature": Nature([5], *PLAIN, [3], False),
    "impala": Impala([5], *PLAIN, [2], False, 2, 2),
    "hadamax": Hadamax([5], *PLAIN, [3, 2], False, [3, 3], [2, 2], [2, 1]),
}


def agent_of(network: Network, steps: int = STEPS, weight: float = 5.0) -> Agent:
    adam = Adam(1e-3, Schedule.constant, None, 0.9, 0.999, 1e-8)
    part = {"spr": Spr(weight, steps)}
    return Agent(SPACES, network, Scalar(Loss.huber), Dqn(), adam, auxiliary=part)


def pictures(*batch: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(256, size=(*batch, 9, 8, 2))).double()


def transitions() -> Batch:
    ones, legal = torch.ones(ROWS, dtype=DOUBLE), torch.ones(ROWS, ACTIONS, dtype=torch.bool)
    action, no = torch.arange(ROWS) % ACTIONS, torch.zeros(ROWS, dtype=torch.bool)
    obs, weight = pictures(ROWS), torch.linspace(0.2, 1, ROWS, dtype=DOUBLE)
    return Batch(obs, action, legal, ones, ones, obs, legal, weight, no, no)


def what_follows(steps: int = STEPS) -> Following:
    random = np.random.default_rng(4)
    action = torch.from_numpy(random.integers(ACTIONS, size=(ROWS, steps)))
    within = torch.ones(ROWS, steps, dtype=torch.bool)
    within[1, 1:] = within[3] = False
    return Following(pictures(ROWS, steps, seed=1), action, within)


def parameters_of(agent: Agent, seed: int) -> Tensor:
    return initial(agent.layout, np.random.default_rng(seed)).requires_grad_()


def loss_of(agent: Agent, following: Following, batch: Batch | None = None) -> Tensor:
    """The part's own loss of each transition."""
    p, target = (views(parameters_of(agent, seed), agent.layout) for seed in (2, 3))
    part = agent.auxiliary["spr"]
    own = {x.removeprefix("auxiliary.spr."): value for x, value in p.items()}
    loss = part.following_loss(own, target, agent.model, batch or transitions(), following)
    assert loss is not None
    return loss


def linear(p: dict[str, Tensor], name: str) -> nn.Linear:
    state = torch_state(p, name)
    layer = nn.Linear(state["weight"].shape[1], len(state["bias"]), dtype=DOUBLE)
    layer.load_state_dict(state)
    return layer


def projection(p: dict[str, Tensor], network: Spatial, latent: Tensor) -> Tensor:
    x = latent.flatten(1)
    for index in range(len(network.widths) - 1):
        x = linear(p, f"torso.{index}")(x).relu()
    streams = ("advantage", "value") if network.dueling else ("advantage",)
    return torch.cat([linear(p, f"{stream}.hidden")(x) for stream in streams], 1)


def expected_loss(agent: Agent, following: Following) -> Tensor:
    """By torch's own modules and cosines."""
    network = agent.network
    assert isinstance(network, Spatial)
    p, target = (views(parameters_of(agent, seed), agent.layout) for seed in (2, 3))
    batch = transitions()
    x = network.latent(p, batch.obs, SPACES)
    total = torch.zeros(ROWS, dtype=DOUBLE)
    for step in range(following.action.shape[1]):
        planes = torch.zeros(ROWS, ACTIONS, *x.shape[2:], dtype=DOUBLE)
        for row, action in enumerate(following.action[:, step].tolist()):
            planes[row, action] = 1
        x = torch.cat([x, planes], 1)
        for number in (0, 1):
            name = f"auxiliary.spr.transition.{number}"
            x = nn.functional.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=1).relu()
        if network.renormalize:
            least, most = x.flatten(1).min(1).values, x.flatten(1).max(1).values
            x = (x - least.view(-1, 1, 1, 1)) / (most - least + 1e-5).view(-1, 1, 1, 1)
        guess = linear(p, "auxiliary.spr.predictor")(projection(p, network, x))
        later = network.latent(target, following.obs[:, step], SPACES)
        cosine = nn.functional.cosine_similarity(guess, projection(target, network, later))
        total += (2 - 2 * cosine) * following.within[:, step]
    return 5 * batch.weight * total / following.action.shape[1]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_loss_is_that_of_its_definition(network: Spatial) -> None:
    agent = agent_of(network)
    found = loss_of(agent, what_follows())
    torch.testing.assert_close(found, expected_loss(agent, what_follows()), rtol=1e-9, atol=1e-9)
    assert found[3] == 0  # nothing follows within the episode
    assert (found[[0, 2, 4]] > 0).all()


def test_a_perfect_guess_has_no_loss_and_an_opposite_one_the_largest() -> None:
    # The transition model keeps the two channels, which are above zero, and the predictor is plus
    # or minus the identity. Both networks and all pictures are the same.
    network = MinAtarCnn([2], *PLAIN, [2])
    agent = agent_of(network, steps=2, weight=1.0)
    flat = parameters_of(agent, 2).detach()
    p = views(flat, agent.layout)
    for number in (0, 1):
        weight = p[f"auxiliary.spr.transition.{number}.weight"]
        weight.zero_()
        p[f"auxiliary.spr.transition.{number}.bias"].zero_()
        weight[0, 0, 1, 1] = weight[1, 1, 1, 1] = 1
    p["auxiliary.spr.predictor.bias"].zero_()
    batch = transitions()._replace(weight=torch.ones(ROWS, dtype=DOUBLE))
    same = Following(
        batch.obs[:, None].expand(-1, 2, -1, -1, -1),
        torch.zeros(ROWS, 2, dtype=torch.int64),
        torch.ones(ROWS, 2, dtype=torch.bool),
    )
    for sign, wanted in ((1.0, 0.0), (-1.0, 4.0)):
        p["auxiliary.spr.predictor.weight"].copy_(sign * torch.eye(2))
        own = {x.removeprefix("auxiliary.spr."): value for x, value in p.items()}
        loss = agent.auxiliary["spr"].following_loss(own, p, agent.model, batch, same)
        assert loss is not None
        torch.testing.assert_close(loss, torch.full((ROWS,), wanted, dtype=DOUBLE))


def nothing_random(augmented: int = 0) -> RandomInputs:
    empty = torch.zeros(2, ROWS, 0, dtype=DOUBLE)
    numbers = torch.rand(augmented, ROWS, 3, dtype=DOUBLE) if augmented else empty
    return RandomInputs(empty, torch.zeros(3, 0, dtype=DOUBLE), numbers)


def test_its_mean_is_added_to_the_loss_and_reaches_the_encoder_but_no_target() -> None:
    agent, following = agent_of(NETWORKS["minatar"]), what_follows()
    online, target = parameters_of(agent, 2), parameters_of(agent, 3)
    with_part = agent.loss(online, target, transitions(), nothing_random(), following)
    without = agent.loss(online, target, transitions(), nothing_random())
    expected = expected_loss(agent, following).mean()
    torch.testing.assert_close(with_part[0] - without[0], expected)
    torch.testing.assert_close(with_part[1].auxiliary_loss, expected.detach())
    (gradient,) = torch.autograd.grad(with_part[0] - without[0], online)
    named = views(gradient, agent.layout)
    for name in ("convolution.0", "torso.0", "advantage.hidden", "auxiliary.spr.transition.0",
                 "auxiliary.spr.transition.1", "auxiliary.spr.predictor"):  # fmt: skip
        assert named[f"{name}.weight"].any(), name
    assert not named["advantage.out.weight"].any()
    assert torch.autograd.grad(with_part[0], target, allow_unused=True) == (None,)


def test_what_follows_is_augmented_by_its_own_numbers() -> None:
    shift, following, random = Shift(2, 0.0), what_follows(), nothing_random(2 + STEPS)
    changed = shift.following(following, random, SPACES)
    assert isinstance(changed, Following)
    for step in range(STEPS):
        expected = shift.augmented(following.obs[:, step], random.augment[2 + step], SPACES)
        assert torch.equal(changed.obs[:, step], expected)
    assert changed[1:] == following[1:]
    agent = replace(agent_of(NETWORKS["minatar"]), augment=shift)
    online, target = parameters_of(agent, 2), parameters_of(agent, 3)
    assert torch.isfinite(agent.loss(online, target, transitions(), random, following)[0])


def test_a_reset_draws_the_predictor_anew_and_moves_the_transition_model() -> None:
    agent = agent_of(NETWORKS["minatar"])
    shares = views(agent.reset_shares(0.25), agent.layout)
    for name, share in shares.items():
        whole = name.startswith(("advantage", "auxiliary.spr.predictor"))
        assert (share == (1 if whole else 0.25)).all(), name
    assert size(agent.layout) == len(agent.reset_shares(0.25))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Multi([4], *PLAIN, [2], 4), "Multi has none of its own: use network=nature"),
        (MinAtarCnn([], *PLAIN, [2]), "network.widths=.. has none"),
    ],
)
def test_networks_without_what_it_needs_are_refused(network: Network, message: str) -> None:
    with pytest.raises(ValueError, match=f"auxiliary=spr .*{message}"):
        _ = agent_of(network).layout


def test_a_latent_is_scaled_to_zero_and_one() -> None:
    x = torch.tensor([[[[1.0, 3.0]], [[5.0, 2.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]], dtype=DOUBLE)
    expected = torch.tensor([[[[0.0, 0.5]], [[1.0, 0.25]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    torch.testing.assert_close(renormalized(x), expected.double(), rtol=1e-5, atol=1e-5)
