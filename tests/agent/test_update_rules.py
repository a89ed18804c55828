from __future__ import annotations

import math
from typing import NoReturn

import pytest
import torch
from exact_numbers import tensor
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen, UpdateRule, greedy

ALL = torch.tensor([[True, True, True]])
TARGET_Q = torch.tensor([[1.0, 3.0, 2.0]])
ONLINE_Q = torch.tensor([[5.0, 4.0, 6.0]])
PAPERS = Munchausen(0.9, 0.03, -1.0)


def never() -> NoReturn:
    raise AssertionError("nobody may ask for these values")


def taken(mask: Tensor, action: Tensor) -> Batch:
    """Return transitions of which nothing but action and mask may be read."""
    nothing = torch.empty(0)
    return Batch(nothing, action, mask, *[nothing] * 7)


def soft(temperature: float, clip: float = -1.0, alpha: float = 0.9) -> Munchausen:
    return Munchausen(alpha, temperature, clip)


def test_greedy_puts_everything_on_the_best_action_of_each_sample() -> None:
    q = torch.tensor([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]])
    policy = greedy(q, ALL.expand(2, -1))
    assert policy.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert policy.dtype == q.dtype


@pytest.mark.parametrize(
    ("mask", "policy"),
    [
        ([True, False, True], [0, 0, 1]),
        ([True, False, False], [1, 0, 0]),
        ([False, True, False], [0, 1, 0]),
    ],
)
def test_greedy_takes_the_best_legal_action_however_low(
    mask: list[bool], policy: list[int]
) -> None:
    assert greedy(TARGET_Q - 100, torch.tensor([mask])).tolist() == [policy]


@pytest.mark.parametrize("mask", [[True, True, True, True], [False, True, False, True]])
def test_greedy_takes_one_of_equally_good_legal_actions(mask: list[bool]) -> None:
    policy = greedy(torch.tensor([[5.0, 5.0, 1.0, 5.0]]), torch.tensor([mask]))[0].tolist()
    assert sorted(policy) == [0, 0, 0, 1]
    assert mask[policy.index(1)]
    assert policy.index(1) != 2


def test_dqn_selects_on_the_target_network_and_never_computes_the_online_one() -> None:
    policy, shift = Dqn().bootstrap(TARGET_Q, never, ALL)
    assert policy.tolist() == [[0, 1, 0]]
    assert shift is None


def test_double_selects_on_the_online_network() -> None:
    asked = []

    def online() -> Tensor:
        asked.append(True)
        return ONLINE_Q

    policy, shift = Double().bootstrap(TARGET_Q, online, ALL)
    assert policy.tolist() == [[0, 0, 1]]
    assert shift is None
    assert len(asked) == 1


@pytest.mark.parametrize(("rule", "policy"), [(Dqn, [0, 1, 0]), (Double, [1, 0, 0])])
def test_both_rules_bootstrap_from_legal_actions_only(
    rule: type[Dqn | Double], policy: list[int]
) -> None:
    mask = torch.tensor([[True, True, False]])  # the online network's favourite is illegal
    chosen = rule().bootstrap(TARGET_Q, lambda: ONLINE_Q, mask)
    assert chosen.policy.tolist() == [policy]


@pytest.mark.parametrize("rule", [Dqn, Double])
def test_neither_rule_adds_to_the_reward_nor_computes_values_for_it(rule: type[UpdateRule]) -> None:
    assert rule().bonus(never, taken(ALL, torch.tensor([1]))) is None


# Values 0.5 ln 1 and 0.5 ln 3 have chances 1 / 4 and 3 / 4 at a temperature of 0.5.
TWO = tensor([[7, 7 + 0.5 * math.log(3)]])
BOTH = torch.tensor([[True, True]])


def test_munchausen_shifts_the_softmaxs_actions_by_their_own_log_chances() -> None:
    policy, shift = soft(0.5).bootstrap(TWO, never, BOTH)
    assert shift is not None
    torch.testing.assert_close(policy, tensor([[0.25, 0.75]]))
    torch.testing.assert_close(shift, tensor([[0.5 * math.log(4), 0.5 * math.log(4 / 3)]]))


def test_munchausen_of_three_actions_by_hand() -> None:
    # exp(q / 0.5) is proportional to 1, 2, 5
    q = tensor([[0, 0.5 * math.log(2), 0.5 * math.log(5)]])
    policy, shift = soft(0.5).bootstrap(q, never, ALL)
    assert shift is not None
    assert policy[0].tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert shift[0].tolist() == pytest.approx([0.5 * math.log(8 / n) for n in (1, 2, 5)])


@pytest.mark.parametrize(
    ("action", "clip", "expected"),
    [
        (0, -1.0, 0.9 * 0.5 * math.log(1 / 4)),  # 0.5 ln(1 / 4) = -0.69
        (1, -1.0, 0.9 * 0.5 * math.log(3 / 4)),  # 0.5 ln(3 / 4) = -0.14
        (0, -0.5, 0.9 * -0.5),
        (1, -0.5, 0.9 * 0.5 * math.log(3 / 4)),
        (0, 0.0, 0.0),
    ],
)
def test_the_bonus_is_the_clipped_log_chance_of_the_action_taken(
    action: int, clip: float, expected: float
) -> None:
    found = soft(0.5, clip).bonus(lambda: TWO, taken(BOTH, torch.tensor([action])))
    assert found is not None
    assert found.tolist() == pytest.approx([expected])


def test_the_bonuses_share_is_alpha() -> None:
    found = [
        soft(0.5, alpha=a).bonus(lambda: TWO, taken(BOTH, torch.tensor([0]))) for a in (0, 0.5, 1)
    ]
    log_chance = 0.5 * math.log(1 / 4)
    assert [float(bonus) for bonus in found if bonus is not None] == pytest.approx(
        [0, 0.5 * log_chance, log_chance]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_papers_temperature_stays_finite_at_large_gaps(dtype: torch.dtype) -> None:
    q = torch.tensor([[0.0, 100.0, -1000.0]], dtype=dtype)
    policy, shift = PAPERS.bootstrap(q, never, ALL)
    assert shift is not None
    assert policy.tolist() == [[0, 1, 0]]
    assert shift.tolist() == [[100, 0, 1100]]
    actions = torch.tensor([0, 1, 2])
    bonus = PAPERS.bonus(lambda: q.expand(3, -1), taken(ALL.expand(3, -1), actions))
    assert bonus is not None
    assert bonus.dtype == policy.dtype == dtype
    assert bonus.tolist() == pytest.approx([-0.9, 0, -0.9])


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
def test_only_differences_of_values_matter_to_the_bonus(offset: float) -> None:
    q = tensor([[0, 0.02, 0.01]])
    moved, unmoved = (
        PAPERS.bonus(lambda q=q: q, taken(ALL, torch.tensor([2]))) for q in (q + offset, q)
    )
    torch.testing.assert_close(moved, unmoved, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("temperature", [0.03, 0.5])
def test_illegal_actions_have_no_chance_and_no_shift(temperature: float) -> None:
    rule = soft(temperature)
    mask = torch.tensor([[True, False, True, False]])
    q = tensor([[1, 50, 1 + temperature * math.log(3), 2]])
    policy, shift = rule.bootstrap(q, never, mask)
    assert shift is not None
    torch.testing.assert_close(policy, tensor([[0.25, 0, 0.75, 0]]))
    expected = [temperature * math.log(4), 0, temperature * math.log(4 / 3), 0]
    torch.testing.assert_close(shift, tensor([expected]))
    bonus = rule.bonus(lambda: q, taken(mask, torch.tensor([2])))
    torch.testing.assert_close(bonus, tensor([0.9 * temperature * math.log(3 / 4)]))


def test_a_single_legal_action_is_certain_and_has_no_shift_and_no_bonus() -> None:
    mask = torch.tensor([[False, True, False]])
    policy, shift = PAPERS.bootstrap(TARGET_Q, never, mask)
    assert shift is not None
    assert policy.tolist() == [[0, 1, 0]]
    assert shift.abs().tolist() == [[0, 0, 0]]
    bonus = PAPERS.bonus(lambda: TARGET_Q, taken(mask, torch.tensor([1])))
    assert bonus is not None
    assert bonus.abs().tolist() == [0]


def test_without_temperature_munchausen_is_greedy() -> None:
    policy, shift = soft(1e-9).bootstrap(TARGET_Q, never, ALL)
    assert shift is not None
    torch.testing.assert_close(policy, greedy(TARGET_Q, ALL))
    torch.testing.assert_close((policy * shift).sum(1), torch.zeros(1))


@pytest.mark.parametrize("temperature", [0.03, 0.5, 4.0])
def test_the_soft_value_is_the_scaled_logsumexp_over_legal_actions(temperature: float) -> None:
    random = torch.Generator().manual_seed(0)
    q = torch.randn(50, 4, dtype=torch.float64, generator=random)
    mask = torch.rand(50, 4, generator=random) < 0.6
    mask[torch.arange(50), torch.arange(50) % 4] = True
    policy, shift = soft(temperature).bootstrap(q, never, mask)
    assert shift is not None
    torch.testing.assert_close(policy.sum(1), torch.ones(50, dtype=torch.float64))
    legal = q.masked_fill(~mask, -math.inf)
    expected = temperature * (legal / temperature).logsumexp(1)
    torch.testing.assert_close((policy * (q + shift)).sum(1), expected)
    one = torch.ones(50, dtype=torch.float64)
    target = Scalar(Loss.huber).backup(0 * one, one, q.unsqueeze(2), policy, shift)
    torch.testing.assert_close(target.squeeze(1), expected)


def test_each_member_of_a_population_may_have_numbers_of_its_own() -> None:
    numbers = tensor([[0.9, 0.5, -1], [0.5, 0.03, -1], [1, 2, -0.1]])
    q = torch.randn(3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask, action = torch.ones(5, 2, dtype=torch.bool), torch.tensor([0, 1, 0, 1, 1])

    def outputs(numbers: Tensor, q: Tensor) -> list[Tensor]:
        rule = Munchausen(*numbers.unbind())
        policy, shift = rule.bootstrap(q, never, mask)
        bonus = rule.bonus(lambda: q, taken(mask, action))
        assert shift is not None
        assert bonus is not None
        return [policy, shift, bonus]

    together = torch.func.vmap(outputs)(numbers, q)
    for member in range(3):
        for of_all, alone in zip(together, outputs(numbers[member], q[member]), strict=True):
            torch.testing.assert_close(of_all[member], alone)
