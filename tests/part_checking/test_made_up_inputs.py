from __future__ import annotations

import torch

from dqn_cli.part_checking.made_up_inputs import (
    ACTIONS,
    BATCH,
    discounts,
    masks,
    normal,
    policy,
    transitions,
)


def test_every_row_has_a_legal_action_and_some_have_an_illegal_one() -> None:
    legal = masks()
    assert legal.shape == (BATCH, ACTIONS)
    assert legal.any(1).all()
    assert not legal.all()


def test_inputs_are_the_same_in_each_call() -> None:
    assert torch.equal(normal(5), normal(5))
    assert not torch.equal(normal(5), normal(5, seed=1))
    torch.testing.assert_close(policy().sum(1), torch.ones(BATCH))
    batch = transitions()
    assert batch.mask.gather(1, batch.action[:, None]).all()
    assert 0 in discounts()
