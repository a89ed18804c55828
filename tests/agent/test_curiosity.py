from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.curiosity import Counts, Rnd
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.own_module import OwnModule
from dqn_cli.agent.parameters import initial, views
from dqn_cli.agent.table import Table

CELLS = array_spaces((6,), (0,) * 6, (1,) * 6, 2, one_hot=True)
MODEL = Model(CELLS, Mlp([32, 8], False, False, False, False, 0.5), Scalar(Loss.huber))


def parameters_of(part: Auxiliary, seed: int = 0) -> Parameters:
    layout = part.layout(MODEL) | part.constants(MODEL)
    return views(initial(layout, np.random.default_rng(seed)), layout)


def leading_to(*cells: int) -> Batch:
    nothing = torch.empty(0)
    return Batch(*[nothing] * 5, one_hot(*cells), *[nothing] * 4)


def one_hot(*cells: int) -> Tensor:
    return torch.eye(6, dtype=torch.float64)[list(cells)]


def nowhere() -> NetworkOutputs:
    nothing = torch.empty(0)
    return NetworkOutputs(nothing, nothing, nothing, lambda: nothing, lambda: nothing)


def test_counts_pay_less_for_what_was_seen_more_often() -> None:
    part = Counts(scale=0.5, bits=16)
    p = dict(parameters_of(part))
    for cells in [(0, 1), (0,), (0, 0), (2,)]:
        p |= part.observe(p, MODEL, one_hot(*cells))
    bonus = part.bonus(p, MODEL, leading_to(0, 1, 2, 3))
    assert bonus is not None
    assert bonus.tolist() == pytest.approx([0.25, 0.5, 0.5, 0.5])
    assert p["table"].sum() == 6


def test_observations_of_one_hash_are_counted_together() -> None:
    part = Counts(scale=1.0, bits=1)
    p = dict(parameters_of(part))
    p |= part.observe(p, MODEL, one_hot(0, 1, 2, 3, 4, 5))
    signs = p["projections"][:, 0] > 0
    expected = [1 / math.sqrt(int((signs == sign).sum())) for sign in signs]
    bonus = part.bonus(p, MODEL, leading_to(0, 1, 2, 3, 4, 5))
    assert bonus is not None
    assert bonus.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bits", [21, 64])
def test_a_table_that_no_memory_holds_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"bits={bits} is not valid: it must be 1 to 20"):
        Counts(1.0, bits)


def test_what_rnd_has_learned_pays_less_than_what_it_has_not() -> None:
    part = Rnd(weight=1.0, scale=1.0, features=8)
    layout = part.layout(MODEL)
    p = {name: value.clone() for name, value in parameters_of(part).items()}
    learned = {name: p[name].requires_grad_() for name in layout}
    optimizer = torch.optim.Adam(learned.values(), lr=1e-2)
    for _ in range(300):
        loss = part.loss(p, MODEL, nowhere(), leading_to(0, 1, 2, 3))
        assert loss is not None
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    with torch.no_grad():
        bonus = part.bonus(p, MODEL, leading_to(0, 1, 2, 3, 4, 5))
    assert bonus is not None
    assert bonus[:4].max() < 0.05 < 0.2 < bonus[4:].min()


def test_rnds_loss_reaches_the_predictor_alone() -> None:
    part = Rnd(weight=2.0, scale=1.0, features=3)
    p = {name: value.clone().requires_grad_() for name, value in parameters_of(part).items()}
    loss = part.loss(p, MODEL, nowhere(), leading_to(0, 5))
    assert loss is not None
    gradients = torch.autograd.grad(loss.sum(), [*p.values()], allow_unused=True)
    reached = {name for name, gradient in zip(p, gradients, strict=True) if gradient is not None}
    assert reached == {name for name in p if name.startswith("predictor.")}
    wanted = Rnd(weight=1.0, scale=1.0, features=3).loss(p, MODEL, nowhere(), leading_to(0, 5))
    assert wanted is not None
    torch.testing.assert_close(loss, 2 * wanted)


def test_a_predictor_that_knows_everything_is_paid_nothing() -> None:
    part = Rnd(weight=1.0, scale=3.0, features=4)
    p = parameters_of(part)
    names = [name.removeprefix("random.") for name in part.constants(MODEL)]
    knowing = {**p, **{f"predictor.{name}": p[f"random.{name}"] for name in names}}
    bonus = part.bonus(knowing, MODEL, leading_to(0, 1, 2))
    assert bonus is not None
    assert bonus.tolist() == [0, 0, 0]


def test_rnd_of_a_module_is_refused() -> None:
    network = OwnModule([], False, False, False, False, 0.5, "own_networks:Small", {})
    with pytest.raises(ValueError, match="can't be made of network=module"):
        Rnd(1.0, 1.0, 4).layout(Model(CELLS, network, Scalar(Loss.huber)))


def test_rnd_of_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="Table has none: use network=multi or auxiliary=counts"):
        Rnd(1.0, 1.0, 4).layout(Model(CELLS, Table(2, None, None), Scalar(Loss.huber)))
