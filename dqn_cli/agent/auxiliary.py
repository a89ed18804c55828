"""Auxiliary parts: losses and reward bonuses beside the TD loss, with parameters of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Following
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.parameters import Layout
from dqn_cli.ranges import NonNegative

PREFIX = "auxiliary"  # of the names of their parameters


class AuxiliaryOutputs(NamedTuple):
    """Sums over all auxiliary parts, None where no part has any."""

    losses: Tensor | None = None  # [batch], added to the TD loss
    bonus: Tensor | None = None  # [batch], added to the rewards; no gradient


@dataclass
class Auxiliary:
    """Base of all auxiliary parts; a new one implements `loss`, `bonus` or both.

    Parameters `p` are the part's own by the names of its layouts, and those of the network.
    """

    needs_observations: ClassVar[bool] = True  # of single transitions, which sequences don't have
    needs_logged: ClassVar[bool] = False  # True if it does something for logged transitions alone

    @property
    def has_bonus(self) -> bool:
        """True if the part changes rewards."""
        return type(self).bonus is not Auxiliary.bonus

    def layout(self, model: Model) -> Layout:
        """Return the layout of parameters that are learned."""
        return {}

    def constants(self, model: Model) -> Layout:
        """Return the layout of numbers that have no gradient."""
        return {}

    def observe(self, p: Parameters, model: Model, obs: Tensor) -> Parameters:
        """Return the constants that new observations [envs, *shape] change."""
        return {}

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return a loss for each transition [batch], or None; its mean is added to the TD loss.

        Args:
            p: Parameters by name.
            model: Network and head.
            outputs: Of the networks on the batch; gradients flow through its `z`.
            batch: Transitions, with normalized observations.
        """
        return None

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        """Return what is added to the rewards [batch], or None; it has no gradient."""
        return None

    @property
    def following(self) -> int:
        """Steps after a transition that `following_loss` reads."""
        return 0

    def following_loss(
        self, p: Parameters, target: Parameters, model: Model, batch: Batch, following: Following
    ) -> Tensor | None:
        """Return a loss for each transition [batch] and what comes after it, or None.

        Args:
            p: Parameters by name.
            target: Those of the target network, and of this part as they were then.
            model: Network and head.
            batch: Transitions, with normalized observations.
            following: At least `following` steps, with normalized observations.
        """
        return None

    def reset_share(self, name: str, shrink: float) -> float:
        """Return how far a reset moves a learned parameter of the part to fresh values, 0 to 1.

        Layers of the network move by `shrink`, and its last ones by 1.
        """
        return 0.0


@dataclass
class Cql(Auxiliary):
    """Conservative Q-learning: actions that were not taken get lower values (Kumar et al. 2020).

    The loss is log sum_a exp Q(s, a) - Q(s, action taken), over legal actions (eq. 4, CQL(H)).
    """

    needs_observations = False

    weight: NonNegative

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return the gap between the soft maximum and the taken action's value."""
        q = model.head.q(outputs.z)  # [batch, actions]
        legal = q.masked_fill(~batch.mask, -float("inf"))
        return self.weight * (legal.logsumexp(1) - _taken(q, batch))


@dataclass
class Margin(Auxiliary):
    """Logged actions are better than all others by a margin (DQfD, Hester et al. 2018, eq. 2).

    The loss is max_a [Q(s, a) + margin (a != logged action)] - Q(s, logged action), over legal
    actions; 0 for transitions that the run collected itself.
    """

    needs_observations = False
    needs_logged = True

    weight: NonNegative
    margin: NonNegative

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return the large-margin classification loss of logged transitions."""
        q = model.head.q(outputs.z)  # [batch, actions]
        is_other = torch.arange(q.shape[1], device=q.device) != batch.action[:, None]
        raised = (q + self.margin * is_other).masked_fill(~batch.mask, -float("inf"))
        return self.weight * (raised.amax(1) - _taken(q, batch)) * batch.logged


def layout_of_parts(parts: Mapping[str, Auxiliary], model: Model) -> tuple[Layout, Layout]:
    """Return the layouts of learned parameters and of constants of all parts.

    Raises:
        ValueError: A part can't be used with this model.
    """
    learned: Layout = {}
    constants: Layout = {}
    for name, part in parts.items():
        learned |= _named(name, part.layout(model))
        constants |= _named(name, part.constants(model))
    return learned, constants


def evaluate_parts(
    parts: Mapping[str, Auxiliary],
    p: Parameters,
    target: Parameters,
    model: Model,
    outputs: NetworkOutputs,
    batch: Batch,
    following: Following | tuple[()],
) -> AuxiliaryOutputs:
    """Return the losses and bonuses of all parts on transitions and what follows them.

    Args:
        parts: By name.
        p: Parameters by name.
        target: Those of the target network; they are read if something follows.
        model: Network and head.
        outputs: Of the networks on the batch.
        batch: Transitions.
        following: What comes after them, if a part reads it.
    """
    if any(part.needs_observations or part.following for part in parts.values()):
        obs, next_obs = model.normalized(p, batch.obs), model.normalized(p, batch.next_obs)
        batch = batch._replace(obs=obs, next_obs=next_obs)
    losses, bonuses = [], []
    for name, part in parts.items():
        own = parameters_of(name, p)
        losses.append(part.loss(own, model, outputs, batch))
        with torch.no_grad():
            bonuses.append(part.bonus(own, model, batch))
    if isinstance(following, Following):
        following = following._replace(obs=model.normalized(p, following.obs))
        for name, part in parts.items():
            if part.following:
                both = parameters_of(name, p), parameters_of(name, target)
                losses.append(part.following_loss(*both, model, batch, following))
    return AuxiliaryOutputs(_sum(losses), _sum(bonuses))


def reset_shares_of_parts(
    parts: Mapping[str, Auxiliary], model: Model, shrink: float
) -> dict[str, float]:
    """Return how far a reset moves each learned parameter of all parts, by its full name."""
    return {
        _full_name(part, name): own.reset_share(name, shrink)
        for part, own in parts.items()
        for name in own.layout(model)
    }


def observe_by_parts(
    parts: Mapping[str, Auxiliary], p: Parameters, model: Model, obs: Tensor
) -> Parameters:
    """Return the constants that new observations [envs, *shape] change, by their full names."""
    obs, changed = model.normalized(p, obs), dict[str, Tensor]()
    for name, part in parts.items():
        new = part.observe(parameters_of(name, p), model, obs)
        changed |= {_full_name(name, key): value for key, value in new.items()}
    return changed


def within(p: Parameters, prefix: str) -> Parameters:
    """Return the parameters whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in p.items() if name.startswith(start)}


def _full_name(part: str, name: str) -> str:
    return f"{PREFIX}.{part}.{name}"


def _named(part: str, layout: Layout) -> Layout:
    return {_full_name(part, name): parameter for name, parameter in layout.items()}


def parameters_of(part: str, p: Parameters) -> Parameters:
    """Return all parameters, and those of a part also by its own names for them."""
    return {**p, **within(p, f"{PREFIX}.{part}")}


def _sum(values: Sequence[Tensor | None]) -> Tensor | None:
    given = [value for value in values if value is not None]
    return sum(given[1:], given[0]) if given else None


def _taken(q: Tensor, batch: Batch) -> Tensor:
    """Return the values [batch] of the actions taken."""
    return q.gather(1, batch.action[:, None]).squeeze(1)
