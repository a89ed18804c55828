from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from exact_numbers import DOUBLE, NO_TAUS, tensor
from torch import Tensor

from dqn_cli.agent.categorical import C51

HEAD = C51(3, -1.0, 1.0)  # atoms at -1, 0 and 1


def logits(probabilities: Sequence[object]) -> Tensor:
    """With another constant for each distribution, which a softmax has to take out again."""
    z = tensor(probabilities).log()
    return z + torch.arange(z[..., 0].numel(), dtype=DOUBLE).view(*z.shape[:-1], 1) - 2


def projected(
    head: C51, reward: float, discount: float, probabilities: Sequence[float]
) -> list[float]:
    """The backup of one sample whose only next action has these probabilities."""
    policy = tensor([[1.0]])
    z = logits([[probabilities]])
    found = head.backup(tensor([reward]), tensor([discount]), z, policy, None)
    assert found.shape == (1, head.atoms)
    return found[0].tolist()


def slow_backup(
    head: C51, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor
) -> Tensor:
    """Algorithm 1 of Bellemare et al. 2017 for each action, a number at a time."""
    batch, actions, atoms = z.shape
    spacing = (head.v_max - head.v_min) / (atoms - 1)
    target = torch.zeros(batch, atoms, dtype=DOUBLE)
    for sample in range(batch):
        for action in range(actions):
            chances = z[sample, action].softmax(0) * policy[sample, action]
            for atom in range(atoms):
                value = head.v_min + atom * spacing + float(shift[sample, action])
                value = float(reward[sample]) + float(discount[sample]) * value
                place = (min(max(value, head.v_min), head.v_max) - head.v_min) / spacing
                lower, upper = math.floor(place), math.ceil(place)
                if lower == upper:
                    target[sample, lower] += chances[atom]
                else:
                    target[sample, lower] += chances[atom] * (upper - place)
                    target[sample, upper] += chances[atom] * (place - lower)
    return target


def random_case(
    seed: int, head: C51, actions: int = 3, batch: int = 6
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Reward, discount, z, a soft policy and shifts."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=DOUBLE, generator=random)

    discount = torch.rand(batch, dtype=DOUBLE, generator=random)
    policy = normal(batch, actions).softmax(1)
    z = 2 * normal(batch, actions, head.atoms)
    return normal(batch), discount, z, policy, normal(batch, actions)


@pytest.mark.parametrize(
    ("head", "support"),
    [
        (HEAD, [-1, 0, 1]),
        (C51(5, 0.0, 10.0), [0, 2.5, 5, 7.5, 10]),
        (C51(2, -3.0, 4.0), [-3, 4]),
    ],
)
def test_atoms_are_spread_evenly_over_the_support(head: C51, support: list[float]) -> None:
    assert head.outputs == len(support)
    assert head.support(tensor([0])).tolist() == support
    assert head.support(torch.zeros(1)).dtype == torch.float32


def test_values_are_the_means_of_the_softmax() -> None:
    # -1 * 0.5 + 1 * 0.25 = -0.25 and -1 * 0.1 + 1 * 0.7 = 0.6
    z = logits([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])
    assert HEAD.q(z)[0].tolist() == pytest.approx([-0.25, 0.6])
    assert HEAD.mean(tensor([[0.5, 0.25, 0.25], [0, 0, 1]])).tolist() == pytest.approx([-0.25, 1])


@pytest.mark.parametrize(
    ("reward", "discount", "expected"),
    [
        (0.0, 1.0, [0.2, 0.3, 0.5]),  # nothing moves
        (0.0, 0.0, [0, 1, 0]),  # a termination that pays 0: all at the atom 0
        (1.0, 0.0, [0, 0, 1]),
        (0.25, 0.0, [0, 0.75, 0.25]),
        # To -0.5, 0 and 0.5: halves of 0.2 and of 0.5 stay, the other halves go to 0.
        (0.0, 0.5, [0.1, 0.65, 0.25]),
        # To -0.5, 0.5 and 1.5, which is clipped to 1: 0.1 / 0.1 + 0.15 / 0.15 + 0.5.
        (0.5, 1.0, [0.1, 0.25, 0.65]),
        # To -1.5, clipped to -1, -0.5 and 0.5: 0.2 + 0.15 / 0.15 + 0.25 / 0.25.
        (-0.5, 1.0, [0.35, 0.4, 0.25]),
        (9.0, 1.0, [0, 0, 1]),
        (-9.0, 1.0, [1, 0, 0]),
    ],
)
def test_projection_on_three_atoms_by_hand(
    reward: float, discount: float, expected: list[float]
) -> None:
    found = projected(HEAD, reward, discount, [0.2, 0.3, 0.5])
    assert found == pytest.approx(expected, abs=1e-12)


def test_projection_on_five_atoms_by_hand() -> None:
    # Atoms 0, 2.5, 5, 7.5, 10 go to 1 + 0.8 * atom = 1, 3, 5, 7, 9. In spacings of 2.5 these are at
    # 0.4, 1.2, 2, 2.8, 3.6, so that with 0.1, 0.2, 0.3, 0.3, 0.1:
    # 0.1 * 0.6 | 0.1 * 0.4 + 0.2 * 0.8 | 0.2 * 0.2 + 0.3 + 0.3 * 0.2 | 0.3 * 0.8 + 0.1 * 0.4 |
    # 0.1 * 0.6
    found = projected(C51(5, 0.0, 10.0), 1.0, 0.8, [0.1, 0.2, 0.3, 0.3, 0.1])
    assert found == pytest.approx([0.06, 0.2, 0.4, 0.28, 0.06], abs=1e-12)


@pytest.mark.parametrize("atoms", [2, 3, 8, 51])
@pytest.mark.parametrize("shifted", [False, True])
def test_projection_neither_loses_nor_gains_probability(atoms: int, shifted: bool) -> None:
    head = C51(atoms, -2.0, 1.0)  # much of what is backed up lies outside
    *case, shift = random_case(atoms, head)
    found = head.backup(*case, shift if shifted else None)
    assert bool((found >= 0).all())
    torch.testing.assert_close(found.sum(1), torch.ones(6, dtype=DOUBLE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("atoms", [2, 3, 8, 51])
@pytest.mark.parametrize("shifted", [False, True])
def test_projection_keeps_the_mean_of_what_lies_inside(atoms: int, shifted: bool) -> None:
    head = C51(atoms, -10.0, 10.0)
    reward, discount, z, policy, shift = random_case(atoms, head)
    reward, discount, shift = reward.clamp(-2, 2), discount * 0.5, shift.clamp(-2, 2)
    found = head.backup(reward, discount, z, policy, shift if shifted else None)
    value = head.q(z) + (shift if shifted else 0)  # at most 2 + 0.5 * (10 + 2) = 8 from 0
    expected = reward + discount * (policy * value).sum(1)
    torch.testing.assert_close(head.mean(found), expected, rtol=0, atol=1e-12)


def test_a_one_hot_policy_backs_up_its_action_alone() -> None:
    z = logits([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]] * 2)
    policy = tensor([[0, 1], [1, 0]])
    reward, discount = tensor([0.0, 0.0]), tensor([1.0, 0.5])
    found = HEAD.backup(reward, discount, z, policy, None)
    torch.testing.assert_close(found, tensor([[0.6, 0.3, 0.1], [0.1, 0.65, 0.25]]))


def test_a_soft_policy_mixes_probabilities_and_not_logits() -> None:
    # 0.25 * [0.8, 0.1, 0.1] + 0.75 * [0.1, 0.1, 0.8] = [0.275, 0.1, 0.625]
    chances, policy = [[[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]], tensor([[0.25, 0.75]])
    found = HEAD.backup(tensor([0.0]), tensor([1.0]), logits(chances), policy, None)
    torch.testing.assert_close(found, tensor([[0.275, 0.1, 0.625]]))
    mixed_logits = (policy.unsqueeze(2) * logits(chances)).sum(1).softmax(1)
    assert (mixed_logits - found).abs().max() > 0.04


def test_a_shift_moves_each_actions_atoms_before_they_are_mixed() -> None:
    # Action 0 sits on the atom 0 and moves by 0.5, action 1 on the atom 1 and moves by -1:
    # half of 0.5 to 0 and half to 1 with chance 0.25; all to 0 with chance 0.75.
    z = tensor([[[-99, 0, -99], [-99, -99, 0]]])
    policy, shift = tensor([[0.25, 0.75]]), tensor([[0.5, -1.0]])
    found = HEAD.backup(tensor([0.0]), tensor([1.0]), z, policy, shift)
    torch.testing.assert_close(found, tensor([[0, 0.875, 0.125]]))


@pytest.mark.parametrize("head", [HEAD, C51(2, 0.0, 1.0), C51(7, -3.0, 2.0)])
def test_a_backup_is_that_of_the_papers_loops(head: C51) -> None:
    case = random_case(7, head)
    torch.testing.assert_close(head.backup(*case), slow_backup(head, *case))
    *case, shift = case
    torch.testing.assert_close(
        head.backup(*case, None), slow_backup(head, *case, torch.zeros_like(shift))
    )


def test_no_shift_is_a_shift_of_nothing() -> None:
    *case, shift = random_case(3, HEAD)
    torch.testing.assert_close(HEAD.backup(*case, None), HEAD.backup(*case, shift * 0))


def test_huge_shifts_of_actions_without_any_chance_leave_no_trace() -> None:
    z, policy = logits([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]]), tensor([[1.0, 0.0]])
    found = HEAD.backup(tensor([0.0]), tensor([1.0]), z, policy, tensor([[0.0, 1e30]]))
    torch.testing.assert_close(found, tensor([[0.2, 0.3, 0.5]]))


def test_the_loss_is_the_divergence_from_the_target() -> None:
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.25) = ln 2; 1 ln(1 / 0.5) = ln 2 where the rest is 0
    z = logits([[0.25, 0.25, 0.5], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]])
    target = tensor([[0.5, 0.5, 0], [0, 1, 0], [0.2, 0.3, 0.5]])
    found = HEAD.td_loss(z, target, NO_TAUS)
    assert found.tolist() == pytest.approx([math.log(2), math.log(2), 0], abs=1e-12)


def test_the_losss_gradient_is_softmax_minus_target() -> None:
    z = torch.randn(4, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    target = tensor([[0.5, 0.5, 0], [0, 1, 0], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert torch.autograd.gradcheck(lambda z: HEAD.td_loss(z, target, NO_TAUS), [z])
    HEAD.td_loss(z, target, NO_TAUS).sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, z.detach().softmax(1) - target)


def test_logits_that_rule_an_atom_out_have_a_finite_loss() -> None:
    z = torch.tensor([[-1e4, 0.0, 1e4]])
    assert HEAD.td_loss(z, torch.tensor([[0.5, 0.5, 0.0]]), NO_TAUS).isfinite().all()


def test_edge_mass_is_what_lies_on_the_first_and_the_last_atom() -> None:
    target = tensor([[0.25, 0.5, 0.25], [0, 1, 0], [0, 0, 1]])
    assert HEAD.edge_mass(target).tolist() == [0.5, 0, 1]


@pytest.mark.parametrize("shifted", [False, True])
def test_each_member_of_a_population_may_have_a_support_of_its_own(shifted: bool) -> None:
    heads = [C51(5, -1.0, 2.0), C51(5, -4.0, 4.0), C51(5, 0.0, 1.0)]
    cases = [random_case(seed, head) for seed, head in enumerate(heads)]

    def values_and_targets(low: Tensor, high: Tensor, *case: Tensor) -> tuple[Tensor, Tensor]:
        head = replace(HEAD, atoms=5, v_min=low, v_max=high)
        *rest, shift = case
        target = head.backup(*rest, shift if shifted else None)
        return head.q(case[2]), head.mean(target)

    low, high = (tensor([getattr(head, name) for head in heads]) for name in ("v_min", "v_max"))
    stacked = [torch.stack(each) for each in zip(*cases, strict=True)]
    values, means = torch.func.vmap(values_and_targets)(low, high, *stacked)
    for member, (head, (*rest, shift)) in enumerate(zip(heads, cases, strict=True)):
        alone = head.backup(*rest, shift if shifted else None)
        torch.testing.assert_close(values[member], head.q(rest[2]))
        torch.testing.assert_close(means[member], head.mean(alone))
