"""Calls of a network on the first observations that it takes, and what must hold of z."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.example_observations import example_observations
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Network
from dqn_cli.agent.parameters import views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.part_checking.calls import (
    Call,
    Expected,
    find_compiling_problems,
    find_problems,
)
from dqn_cli.part_checking.made_up_inputs import (
    ACTIONS,
    BATCH,
    FRAMES,
    NUMBERS,
    SMALL_PICTURES,
    normal,
)
from dqn_cli.text import error_text

LEVELS = 4  # of implicit quantiles


def check_network(network: Network) -> Iterator[str]:
    """Yield what is wrong with a network."""
    heads: list[Head] = [Scalar(Loss.huber), Qr(LEVELS)]
    heads += [Iqn(LEVELS, 8)] if network.has_features else []
    spaces, refusals = None, []
    for candidate in (NUMBERS, SMALL_PICTURES, FRAMES):
        try:
            network.layout(candidate, heads[0])
            spaces = candidate
            break
        except ValueError as error:
            refusals.append(str(error))
        except Exception as error:  # the user's code may raise anything
            yield f"layout of {candidate} raised {error_text(error)}: a ValueError refuses spaces"
            return
    if spaces is None:
        yield f"it takes neither numbers nor pictures: {refusals[0]}"
        return
    for head in heads:
        problems = list(_with_head(Model(spaces, network, head)))
        yield from problems
        if problems:
            return


def _with_head(model: Model) -> Iterator[str]:
    head, name = model.head, f"forward with {type(model.head).__name__}"
    random = np.random.default_rng(0)
    parameters = model.network.initial(model.layout, model.spaces, random).float()
    obs = example_observations(model.spaces, BATCH)
    taus = torch.rand(BATCH, head.samples, generator=torch.Generator().manual_seed(0))
    atoms = head.samples or head.outputs

    def forward(part: Any, flat: Tensor, *inputs: Tensor) -> Tensor:
        obs, noise, taus = inputs
        own = Model(model.spaces, part, head)
        return own.z(own.named(flat, noise, taus), obs)

    inputs = (parameters, obs, normal(model.noise_size), taus)
    is_mapped = not model.network.is_busy(model.spaces)
    call = Call(name, forward, inputs, (Expected((BATCH, ACTIONS, atoms)),), is_mapped)
    problems = [*find_problems(model.network, call)] or [*_rules(model, name, inputs)]
    yield from problems or find_compiling_problems(model.network, [call])


def _rules(model: Model, name: str, inputs: tuple[Tensor, ...]) -> Iterator[str]:
    """Yield what z must not do, whatever it is."""
    parameters, obs, noise, taus = inputs
    learning = {key: entry for key, entry in model.layout.items() if entry.learns}
    named = {key: x.detach().clone() for key, x in views(parameters, model.layout).items()}
    learned = [key for key in learning if not key.endswith(".singular_vector")]
    for key in learned:
        named[key].requires_grad_()
    random = dict(model.named(parameters, noise, taus))
    z = model.z(random | named, obs)
    total = (z * torch.linspace(0.5, 1.5, z.numel()).view_as(z)).sum()
    gradients = torch.autograd.grad(total, [named[key] for key in learned], allow_unused=True)
    if unused := [key for key, x in zip(learned, gradients, strict=True) if x is None]:
        yield f"{name} does not use {', '.join(unused[:3])} of its layout"
    alone = random | {"taus": taus[:1]} if taus.numel() else random
    if not torch.allclose(model.z(alone, obs[:1]), model.z(random, obs)[:1], 1e-4, 1e-4):
        yield f"{name} returns another z for an observation alone than in a batch"
