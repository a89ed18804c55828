from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, RandomInputs
from dqn_cli.agent.ensembles import Ensemble
from dqn_cli.agent.heads import Loss
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import AdamW, OptimizerState, Schedule
from dqn_cli.agent.parameters import views
from dqn_cli.agent.recurrent import Gru
from dqn_cli.agent.rescaling import Rescaled, squash, unsquash
from dqn_cli.agent.spaces import ONE_HOT, VECTOR, Part, Spaces
from dqn_cli.agent.table import Table
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen, UpdateRule

HEAD = Ensemble(2, Loss.squared, None, False)
CELLS = Spaces((Part("", ONE_HOT, (3,), (0.0,), (1.0,), True),), 2)
NUMBERS = Spaces((Part("", VECTOR, (3,), (-1.0,), (1.0,), False),), 2)
DECAYING = AdamW(0.1, Schedule.constant, None, 0.9, 0.999, 1e-8, 0.5)
NO = torch.zeros(2, dtype=torch.bool)
# Of three cells; columns are head 0 and head 1 of action 0, then of action 1.
ONLINE = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0]
TARGET = [0.0, 0.0, 0.0, 0.0, 4.0, 8.0, 6.0, 2.0, 1.0, 3.0, 5.0, 7.0]


def tabular(head: Ensemble, update: UpdateRule) -> Agent:
    return Agent(CELLS, Table(2, None, None), head, update, DECAYING)


def batch() -> Batch:
    """Two transitions from cell 0: one leads on to cell 1, the other ends in cell 2."""
    legal = torch.ones(2, 2, dtype=torch.bool)
    obs, next_obs = torch.eye(3)[[0, 0]], torch.eye(3)[[1, 2]]
    action, discount = torch.tensor([0, 1]), torch.tensor([0.5, 0.0])
    reward, weight = torch.tensor([1.0, 2.0]), torch.ones(2)
    return Batch(obs, action, legal, reward, discount, next_obs, legal, weight, NO, NO)


def random_inputs(mixture: Tensor | None = None) -> RandomInputs:
    nothing = torch.zeros(0) if mixture is None else mixture
    return RandomInputs(torch.zeros(2, 2, 0), torch.zeros(3, 0), torch.zeros(2, 2, 0), nothing)


def losses(head: Ensemble, update: UpdateRule, random: RandomInputs) -> list[float]:
    online, target = torch.tensor(ONLINE), torch.tensor(TARGET)
    errors = tabular(head, update).loss(online, target, batch(), random)[2]
    return errors.loss.tolist()


def test_each_head_has_the_target_of_its_own_best_action() -> None:
    # The target network's best actions in cell 1 differ: head 0 takes action 1, worth 6, and head 1
    # takes action 0, worth 8. Their targets are 1 + 6 / 2 = 4 and 1 + 8 / 2 = 5, their values 1
    # and 2. The other episode ends: the target of both heads is 2, their values are 3 and 4.
    assert losses(HEAD, Dqn(), random_inputs()) == [(3**2 + 3**2) / 2, (1 + 2**2) / 2]


def test_with_double_each_head_selects_by_its_own_online_values() -> None:
    # Online, head 0 prefers action 0 in cell 1 and head 1 action 1, worth 4 and 2 to the target
    # network: targets are 1 + 4 / 2 and 1 + 2 / 2.
    assert losses(HEAD, Double(), random_inputs()) == [(2**2 + 0) / 2, (1 + 2**2) / 2]


def test_one_head_learns_as_the_others_were_not_there() -> None:
    for update in (Dqn(), Double(), Munchausen(0.9, 0.3, -1.0)):
        (both, _), alone = losses(HEAD, update, random_inputs()), []
        for head in (0, 1):
            own = replace(HEAD, heads=1)
            values = [torch.tensor(numbers[head::2]) for numbers in (ONLINE, TARGET)]
            errors = tabular(own, update).loss(*values, batch(), random_inputs())[2]
            alone.append(float(errors.loss[0]))
        assert both == pytest.approx(sum(alone) / 2)


def test_a_mixture_learns_one_combination_of_values_and_targets() -> None:
    # A quarter of head 0 and three quarters of head 1 value cell 1 at 7 and 3: the target is
    # 1 + 7 / 2 = 4.5. The values in cell 0 are 1.75 and 3.75.
    mixture = random_inputs(torch.tensor([0.25, 0.75]))
    found = losses(replace(HEAD, mixture=True), Dqn(), mixture)
    assert found == [(4.5 - 1.75) ** 2, (2 - 3.75) ** 2]
    # Online, the combination prefers action 1 in cell 1, worth 3: 1.25 against 1.75.
    found = losses(replace(HEAD, mixture=True), Double(), mixture)
    assert found == [(2.5 - 1.75) ** 2, (2 - 3.75) ** 2]


def test_action_values_are_the_means_over_the_heads() -> None:
    model, none = tabular(replace(HEAD, mixture=True), Dqn()).model, torch.zeros(0)
    q = model.q(torch.tensor(ONLINE), torch.eye(3), none)
    assert q.tolist() == [[1.5, 3.5], [2.5, 1.5], [0, 0]]


def test_values_of_single_heads_are_there_to_act_on() -> None:
    agent = replace(tabular(HEAD, Dqn()), acts_by_heads=True)
    none = torch.zeros(0)
    q, _ = agent.act(torch.tensor(ONLINE), torch.eye(3), torch.zeros(3, 0), none)
    assert q.tolist() == torch.tensor(ONLINE).view(3, 2, 2).tolist()  # [batch, actions, heads]
    squashed = replace(tabular(HEAD, Dqn(rescale=True)), acts_by_heads=True)
    rescaled, _ = squashed.act(torch.tensor(ONLINE), torch.eye(3), torch.zeros(3, 0), none)
    torch.testing.assert_close(rescaled, unsquash(q))


def test_squashed_returns_are_those_of_each_head() -> None:
    head, z = Rescaled(HEAD), squash(torch.tensor([[[4.0, 8.0], [6.0, 2.0]]]).double())
    assert head.mixed == 0
    assert Rescaled(replace(HEAD, mixture=True)).mixed == 2
    assert Rescaled(replace(HEAD, prior=3.0)).prior_scale == 3
    expected = torch.tensor([[4.0, 6.0], [8.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(head.q(head.split(z)), expected)


NETWORKS = {
    "mlp": Mlp([6, 5], True, False, True, False, 0.5),
    "noisy": Mlp([6, 5], False, True, False, True, 0.5),
    "gru": Gru([6, 5], False, False, True, False, 0.5, [4], 4, 5, 1, 3),
    "table": Table(2, None, None),
}


def with_prior(network: str, prior: float | None = 3.0, mixture: bool = False) -> Agent:
    head = Ensemble(4, Loss.huber, prior, mixture)
    return Agent(NUMBERS, NETWORKS[network], head, Dqn(), DECAYING)


def drawn(agent: Agent) -> Tensor:
    return agent.initial(np.random.default_rng(0))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_prior_is_a_second_network_times_its_factor(network: str) -> None:
    agent, plain = with_prior(network), with_prior(network, None)
    flat, own, none = drawn(agent), drawn(plain), torch.zeros(0)
    obs = torch.rand(5, 3, dtype=torch.float64)
    names = [name for name in agent.layout if name.startswith("prior.")]
    assert names
    # The prior is added to the network that would be there without it.
    named = views(flat, agent.layout)
    for name, value in views(own, plain.layout).items():
        assert torch.equal(named[name], value)
    model, alone = agent.model, plain.model
    z = model.z(model.named(flat, none, none), obs)
    prior = {name.removeprefix("prior."): named[name] for name in names}
    expected = alone.z(alone.named(own, none, none), obs) + 3 * alone.z(prior, obs)
    torch.testing.assert_close(z, expected)
    # Heads differ from each other, and from observation to observation.
    assert float((alone.z(prior, obs).diff(dim=2)).abs().min()) > 0
    # A mixture has the combination of all of it.
    mixed = with_prior(network, mixture=True).model
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    one = mixed.z(mixed.named(flat, none, none, weights), obs)
    torch.testing.assert_close(one, (z * weights).sum(2, keepdim=True))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_prior_has_no_gradient_and_no_step_changes_it(network: str) -> None:
    agent = with_prior(network)
    flat = drawn(agent).requires_grad_()
    p = agent.model.named(flat, torch.zeros(0), torch.zeros(0))
    z = agent.model.z(p, torch.rand(5, 3, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(z.square().sum(), flat)
    by_name = views(gradient, agent.layout)
    prior = [name for name in agent.layout if name.startswith("prior.")]
    assert all(not by_name[name].any() for name in prior)
    assert sum(bool(by_name[name].any()) for name in agent.layout) > 0
    before = views(flat.detach(), agent.layout)
    moments = tuple(torch.zeros_like(gradient) for _ in range(DECAYING.moments))
    corrections = torch.zeros(DECAYING.moments, dtype=torch.float64)
    state = OptimizerState(flat.detach(), moments, corrections)
    state, _ = agent.step(state, gradient, torch.ones((), dtype=torch.float64))
    after = views(state.parameters, agent.layout)  # weight decay shrinks all others
    assert all(torch.equal(after[name], before[name]) for name in prior)
    assert not torch.equal(state.parameters, flat)
    # Nor does a reset.
    shares = views(agent.reset_shares(0.5), agent.layout)
    assert all(not shares[name].any() for name in prior)


def test_members_may_have_priors_of_different_sizes() -> None:
    agent, none = with_prior("mlp"), torch.zeros(0)
    assert agent.scalars["head.prior"] == 3
    flat, obs = drawn(agent), torch.rand(5, 3, dtype=torch.float64)
    scaled = agent.with_scalars({"head.prior": torch.tensor(0.0)})
    own = drawn(with_prior("mlp", None))
    expected = with_prior("mlp", None).model.q(own, obs, none)
    torch.testing.assert_close(scaled.model.q(flat, obs, none), expected)
