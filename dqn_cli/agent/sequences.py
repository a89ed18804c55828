"""Learning from sequences: recurrent networks unrolled, and one priority for each sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.recurrent import Recurrent

# Kapturowski et al. 2019, section 2.3: eta, the weight of a sequence's largest error.
MAX_ERROR_WEIGHT = 0.9


def evaluate_sequences(
    model: Model,
    parameters: Tensor,
    target_parameters: Tensor,
    batch: Sequences,
    random: RandomInputs,
) -> tuple[Batch, NetworkOutputs]:
    """Unroll both networks, with parameters [size], along each sequence.

    Returns:
        The sequences' slots as transitions [batch * length], and the network outputs for them.
    """
    online = _unroll(
        model, parameters, batch, random.online_noise, random.online_taus, random.mixture
    )
    with torch.no_grad():
        target = _unroll(
            model, target_parameters, batch, random.target_noise, random.target_taus, random.mixture
        )
    sequences, length = batch.action.shape
    next_time = torch.arange(length, device=batch.ahead.device) + batch.ahead  # [batch, length]
    next_time = next_time[..., None, None]

    def at_obs(z: Tensor) -> Tensor:
        return z[:, :length].flatten(0, 1)  # [batch * length, actions, atoms]

    def at_next_obs(z: Tensor) -> Tensor:
        times = next_time.expand(-1, -1, *z.shape[2:])
        return z.gather(1, times).flatten(0, 1)  # [batch * length, actions, atoms]

    transitions = Batch(
        obs=batch.obs,
        action=batch.action.flatten(),
        mask=batch.mask.flatten(0, 1),
        reward=batch.reward.flatten(),
        discount=batch.discount.flatten(),
        next_obs=batch.obs,
        next_mask=batch.next_mask.flatten(0, 1),
        weight=batch.weight.flatten(),
        logged=batch.logged.flatten(),
        starts=torch.zeros_like(batch.logged.flatten()),
    )
    levels = random.online_taus
    taus = levels.view(sequences, online.shape[1], levels.shape[1])  # [batch, time, samples]
    return transitions, NetworkOutputs(
        at_obs(online),
        taus[:, :length].flatten(0, 1),  # [batch * length, samples]
        at_next_obs(target),
        lambda: model.head.q(model.head.split(at_next_obs(online.detach()))),
        lambda: model.head.q(model.head.split(at_obs(target))),
    )


def sequence_errors(errors: Tensor, batch: Sequences) -> Tensor:
    """Return one error for each sequence [batch], from errors [batch * length] of its slots."""
    counted = (batch.weight > 0).to(errors.dtype)  # [batch, length]
    errors = errors.view_as(counted) * counted
    mean = errors.sum(1) / counted.sum(1).clamp(min=1)
    return MAX_ERROR_WEIGHT * errors.amax(1) + (1 - MAX_ERROR_WEIGHT) * mean


def _unroll(
    model: Model,
    parameters: Tensor,
    batch: Sequences,
    noise: Tensor,
    taus: Tensor,
    mixture: Tensor,
) -> Tensor:
    """Return the z after the burn-in, [batch, length + n, actions, atoms]."""
    network = model.network
    assert isinstance(network, Recurrent)
    p = model.named(parameters, noise, taus, mixture)
    obs, starts, state = model.normalized(p, batch.obs), batch.starts, batch.state
    burn_in, spaces = network.burn_in, model.spaces
    if burn_in:
        with torch.no_grad():
            _, state = network.run_cell(p, obs[:, :burn_in], state, starts[:, :burn_in], spaces)
    learned = obs[:, burn_in:]
    z, _ = network.unroll(p, learned, state, starts[:, burn_in:], spaces, model.head)
    z = model.with_prior(p, learned.flatten(0, 1), z)
    return z.view(obs.shape[0], -1, *z.shape[1:])  # [batch, length + n, actions, atoms]
