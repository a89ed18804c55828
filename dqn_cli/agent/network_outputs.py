"""What online and target network say of a batch, for networks without memory and with it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Draws, Sequences
from dqn_cli.agent.model import Model
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.update_rules import LazyValues

# Kapturowski et al. 2019, section 2.3: a sequence's priority is mostly that of its worst step.
WORST_STEP_SHARE = 0.9


class Answers(NamedTuple):
    """z is [batch, actions, atoms], values are [batch, actions]."""

    z: Tensor  # online network, where actions were taken
    taus: Tensor  # [batch, samples], the quantile levels of that z
    next_z: Tensor  # target network, where they led to
    next_q: LazyValues  # online network, where they led to
    target_q: LazyValues  # target network, where they were taken


def answers_to(
    model: Model,
    parameters: Tensor,
    target_parameters: Tensor,
    batch: Batch | Sequences,
    draws: Draws,
) -> tuple[Batch, Answers]:
    """The transitions of a batch or of sequences, as rows, and the answers to each."""
    if isinstance(batch, Sequences):
        return of_sequences(model, parameters, target_parameters, batch, draws)
    return batch, of_batch(model, parameters, target_parameters, batch, draws)


def of_samples(values: Tensor, batch: Batch | Sequences) -> Tensor:
    """One number for each sample that was drawn [batch], from one for each of its rows."""
    return over_sequences(values, batch) if isinstance(batch, Sequences) else values


def of_batch(
    model: Model, parameters: Tensor, target_parameters: Tensor, batch: Batch, draws: Draws
) -> Answers:
    """Each observation by itself; gradients flow through `z` only."""
    z = model.z(model.named(parameters, draws.noise, draws.taus), batch.obs)
    with torch.no_grad():
        if batch.next_obs.numel():
            target = model.named(target_parameters, draws.target_noise, draws.next_taus)
            next_z = model.z(target, batch.next_obs)
        else:
            next_z = torch.zeros_like(z)
    return Answers(
        z,
        draws.taus,
        next_z,
        lambda: model.q(parameters, batch.next_obs, draws.selection_noise),
        lambda: model.q(target_parameters, batch.obs, draws.target_noise),
    )


def of_sequences(
    model: Model, parameters: Tensor, target_parameters: Tensor, batch: Sequences, draws: Draws
) -> tuple[Batch, Answers]:
    """Both networks unrolled along each sequence, and its slots as rows of a batch."""
    online = _unroll(model, parameters, batch, draws.noise, draws.taus)
    with torch.no_grad():
        target = _unroll(model, target_parameters, batch, draws.target_noise, draws.next_taus)
    sequences, length = batch.action.shape
    where = torch.arange(length, device=batch.ahead.device) + batch.ahead  # [sequences, length]
    where = where[..., None, None].expand(-1, -1, *online.shape[2:])

    def here(z: Tensor) -> Tensor:
        return z[:, :length].flatten(0, 1)  # [sequences * length, actions, atoms]

    def there(z: Tensor) -> Tensor:
        return z.gather(1, where).flatten(0, 1)  # [sequences * length, actions, atoms]

    rows = Batch(
        obs=batch.obs,
        action=batch.action.flatten(),
        mask=batch.mask.flatten(0, 1),
        reward=batch.reward.flatten(),
        discount=batch.discount.flatten(),
        next_obs=batch.obs,
        next_mask=batch.next_mask.flatten(0, 1),
        weight=batch.weight.flatten(),
    )
    time = online.shape[1]
    taus = draws.taus.view(sequences, time, draws.taus.shape[1])  # [sequences, time, samples]
    return rows, Answers(
        here(online),
        taus[:, :length].flatten(0, 1),  # [sequences * length, samples]
        there(target),
        lambda: model.head.q(there(online.detach())),
        lambda: model.head.q(here(target)),
    )


def over_sequences(values: Tensor, batch: Sequences) -> Tensor:
    """One number for each sequence [sequences], from one for each of its slots."""
    counted = (batch.weight > 0).to(values.dtype)  # [sequences, length]
    values = values.view_as(counted) * counted
    mean = values.sum(1) / counted.sum(1).clamp(min=1)
    return WORST_STEP_SHARE * values.amax(1) + (1 - WORST_STEP_SHARE) * mean


def _unroll(
    model: Model, parameters: Tensor, batch: Sequences, noise: Tensor, taus: Tensor
) -> Tensor:
    """The z after the burn-in, [sequences, length + n, actions, atoms]."""
    network = model.network
    assert isinstance(network, Recurrent)
    p = model.named(parameters, noise, taus)
    obs, starts, state, burn_in = batch.obs, batch.starts, batch.state, network.burn_in
    if burn_in:
        with torch.no_grad():
            _, state = network.remember(p, obs[:, :burn_in], state, starts[:, :burn_in])
    z, _ = network.unroll(p, obs[:, burn_in:], state, starts[:, burn_in:], model.spaces, model.head)
    return z.view(obs.shape[0], -1, *z.shape[1:])  # [sequences, length + n, actions, atoms]
