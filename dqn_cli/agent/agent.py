"""An agent: the parts chosen for one run, and the loss in which they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.augmentation import Augment, NoAugment
from dqn_cli.agent.auxiliary import (
    PREFIX,
    Auxiliary,
    AuxiliaryOutputs,
    evaluate_parts,
    layout_of_parts,
    observe_by_parts,
    reset_shares_of_parts,
)
from dqn_cli.agent.batch import Batch, Following, RandomInputs, Sequences
from dqn_cli.agent.heads import Head, Scalar
from dqn_cli.agent.layers import has_spectral_norm, power_iteration
from dqn_cli.agent.metrics import Metrics, SampleErrors, mean_over
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Network
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.optimizers import Optimizer, OptimizerState
from dqn_cli.agent.parameters import Layout, size, views
from dqn_cli.agent.recycling import recycle
from dqn_cli.agent.rescaling import Rescaled
from dqn_cli.agent.sequences import evaluate_sequences, sequence_errors
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.traces import TraceInputs, TraceOptimizer, trace_inputs
from dqn_cli.agent.update_rules import UpdateRule

PARTS = ("network", "head", "update", "optimizer", "augment")


@dataclass
class Agent:
    """Network, head, update rule, optimizer and all other parts for the given spaces.

    The flat vector of parameters has the network's, those of the auxiliary parts, and then all
    that has no gradient: constants of auxiliary parts, a prior, and normalization. The target
    network acts if `acts_by_target`; `acts_by_heads` acts on the values of single heads.
    """

    spaces: Spaces
    network: Network
    head: Head
    update: UpdateRule
    optimizer: Optimizer
    normalization: Normalization = Normalization.none
    auxiliary: Mapping[str, Auxiliary] = field(default_factory=dict)
    augment: Augment = field(default_factory=NoAugment)
    acts_by_target: bool = False
    acts_by_heads: bool = False

    @cached_property
    def model(self) -> Model:
        """Network and head."""
        head = Rescaled(self.head) if self.update.rescale else self.head
        return Model(self.spaces, self.network, head, self.normalization)

    @cached_property
    def layout(self) -> Layout:
        """Names, shapes and initial ranges of all parameters."""
        self.augment.check(self.spaces)
        learned, constants = layout_of_parts(self.auxiliary, self.model)
        return self.model.network_layout | learned | constants | self.model.constant_layout

    @cached_property
    def constant_layout(self) -> Layout:
        """The part of the layout that has no gradient; it comes last."""
        _, constants = layout_of_parts(self.auxiliary, self.model)
        return constants | self.model.constant_layout

    def initial(self, random: np.random.Generator) -> Tensor:
        """Draw initial values of all parameters, a flat float64 vector [size]."""
        return self.model.initial(self.layout, random)

    def reset_shares(self, shrink: float) -> Tensor:
        """Return how far to fresh values a reset moves each parameter [size], from 0 to 1.

        The last layers are reinitialized, the network's others move by `shrink`. What has no
        gradient stays. Auxiliary parts say how far theirs go.
        """
        network = self.model.network_layout
        moved = {name: shrink for name in network if not name.endswith(".singular_vector")}
        moved |= {name: 1.0 for name in self.layout if self.network.is_last(name)}
        moved |= reset_shares_of_parts(self.auxiliary, self.model, shrink)
        shares = [torch.full(entry.shape, moved.get(x, 0.0)) for x, entry in self.layout.items()]
        return torch.cat([share.flatten() for share in shares])  # [size]

    @property
    def observes(self) -> bool:
        """True if an auxiliary part learns from each new observation."""
        parts = self.auxiliary.values()
        return any(type(part).observe is not Auxiliary.observe for part in parts)

    def of_model(self, parameters: Tensor) -> Tensor:
        """Return the parameters of network and normalization among all [..., size]."""
        if not self.auxiliary:
            return parameters
        first, last = size(self.model.network_layout), size(self.model.constant_layout)
        end = parameters.shape[-1] - last
        return torch.cat([parameters[..., :first], parameters[..., end:]], -1)  # [..., model size]

    def loss(
        self,
        parameters: Tensor,
        target_parameters: Tensor,
        batch: Batch | Sequences,
        random: RandomInputs,
        following: Following | tuple[()] = (),
    ) -> tuple[Tensor, Metrics, SampleErrors, TraceInputs | tuple[()]]:
        """Compute the mean weighted loss of a batch (Mnih et al. 2015, eq. 2).

        Args:
            parameters: Of the online network, [size].
            target_parameters: Of the target network, [size].
            batch: Transitions, or sequences for a recurrent network.
            random: Random numbers for noisy layers, implicit quantiles and augmentation.
            following: What comes after the transitions, if a part reads it.

        Returns:
            The loss with the auxiliary ones, a scalar that gradients flow through; metrics; errors
            of each sample; and inputs of the step, if the optimizer has a trace. With a trace the
            scalar is minus the value of the action taken.
        """
        batch = self.augment.batch(batch, random, self.spaces)
        following = self.augment.following(following, random, self.spaces)
        transitions, outputs = self._evaluate(parameters, target_parameters, batch, random)
        auxiliary = self._auxiliary_outputs(
            parameters, target_parameters, transitions, outputs, following
        )
        head, z = self.model.head, outputs.z_of(transitions.action)  # [batch, atoms]
        with torch.no_grad():
            target = self._td_target(outputs, transitions, auxiliary.bonus)
        losses = head.td_loss(z, target, outputs.taus)  # [batch]
        td_loss = (transitions.weight * losses).mean()
        mean = partial(mean_over, counted=(transitions.weight > 0).to(losses.dtype))
        loss = td_loss if auxiliary.losses is None else td_loss + mean(auxiliary.losses)
        with torch.no_grad():
            errors = SampleErrors(losses.detach(), head.sample_error(z, target))
            zero = torch.zeros_like(td_loss)
            metrics = Metrics(
                loss=td_loss.detach(),
                q_mean=mean(head.q(z)),
                td_error=mean(errors.td_error),
                edge_mass=mean(head.edge_mass(target)),
                auxiliary_loss=(loss - td_loss).detach(),
                bonus=zero if auxiliary.bonus is None else mean(auxiliary.bonus),
                gradient_norm=zero,
            )
            if isinstance(batch, Sequences):
                errors = SampleErrors(*(sequence_errors(error, batch) for error in errors))
            trace = self._trace_inputs(outputs, target, transitions)
        objective = -(transitions.weight * z.squeeze(1)).mean() if trace else loss
        return objective, metrics, errors, trace

    def step(
        self,
        state: OptimizerState,
        gradient: Tensor,
        lr_factor: Tensor,
        trace: TraceInputs | tuple[()] = (),
    ) -> tuple[OptimizerState, Tensor]:
        """Take one optimizer step along a gradient [size], or along its trace.

        Returns:
            The state after the step, and the gradient's norm before it was clipped.
        """
        before = state.parameters
        gradient, norm = self.optimizer.clipped(gradient)
        if isinstance(self.optimizer, TraceOptimizer):
            assert isinstance(trace, TraceInputs)
            state = self.optimizer.step_on_trace(state, gradient, lr_factor, trace)
        else:
            state = self.optimizer.step(state, gradient, lr_factor)
        if constants := size(self.constant_layout):
            # Weight decay would shrink them.
            parts = [state.parameters[:-constants], before[-constants:]]
            state = state._replace(parameters=torch.cat(parts))  # [size]
        if has_spectral_norm(self.layout):
            state = state._replace(parameters=power_iteration(state.parameters, self.layout))
        return state, norm

    def act(
        self, parameters: Tensor, obs: Tensor, state: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return action values and the next recurrent state.

        Action values are [batch, actions], or with `acts_by_heads` [batch, actions, heads].
        """
        model, own = self.model, self.of_model(parameters)
        if not self.acts_by_heads:
            return model.act(own, obs, state, noise)
        z, state = model.step(model.named(own, noise, model.head.taus(obs)), obs, state)
        return model.head.q(z.unsqueeze(3)), state

    def dormant(self, parameters: Tensor, obs: Tensor) -> Tensor:
        """Return the share of dormant hidden units on obs [batch, *shape], a scalar."""
        return self.model.dormant(self.of_model(parameters), obs)

    def recycle(
        self, parameters: Tensor, fresh: Tensor, obs: Tensor, threshold: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Recycle units whose score on obs [batch, *shape] is at most the threshold, a scalar.

        Returns:
            The parameters [size], and which of them have changed.
        """
        scores = self.model.unit_scores(self.of_model(parameters), obs)
        dormant = {name: score <= threshold for name, score in scores.items()}
        links = self.network.unit_links(self.spaces)
        return recycle(self.layout, links, dormant, parameters, fresh)

    def observe(self, parameters: Tensor, obs: Tensor) -> Tensor:
        """Return the constants [constants size] after new observations [envs, *shape]."""
        p = views(parameters, self.layout)
        p |= observe_by_parts(self.auxiliary, p, self.model, obs)
        return torch.cat([p[name].flatten() for name in self.constant_layout])  # [constants size]

    def _evaluate(
        self,
        parameters: Tensor,
        target_parameters: Tensor,
        batch: Batch | Sequences,
        random: RandomInputs,
    ) -> tuple[Batch, NetworkOutputs]:
        """Return the batch as transitions, and the outputs of both networks for them."""
        both = self.of_model(parameters), self.of_model(target_parameters)
        if isinstance(batch, Sequences):
            return evaluate_sequences(self.model, *both, batch, random)
        return batch, self.model.evaluate(*both, batch, random)

    def _auxiliary_outputs(
        self,
        parameters: Tensor,
        target_parameters: Tensor,
        transitions: Batch,
        outputs: NetworkOutputs,
        following: Following | tuple[()],
    ) -> AuxiliaryOutputs:
        if not self.auxiliary:
            return AuxiliaryOutputs()
        p = views(parameters, self.layout)
        target = views(target_parameters, self.layout) if following else {}
        return evaluate_parts(
            self.auxiliary, p, target, self.model, outputs, transitions, following
        )

    def _td_target(
        self, outputs: NetworkOutputs, transitions: Batch, bonus: Tensor | None
    ) -> Tensor:
        """Compute the TD target of the taken actions, [batch, atoms]."""
        head, batch = self.model.head, len(transitions.reward)
        if bonus is not None:
            transitions = transitions._replace(reward=transitions.reward + bonus)
        next_z = head.split(outputs.next_z)  # [rows, actions, n]
        functions = len(next_z) // batch
        rows = transitions.repeated(functions)
        policy, shift = self.update.bootstrap(head.q(next_z), outputs.next_q, rows.next_mask)
        added = self.update.bonus(outputs.target_q, rows)
        reward = rows.reward if added is None else rows.reward + added
        target = head.backup(reward, rows.discount, next_z, policy, shift)  # [rows, n]
        return target if functions == 1 else target.view(batch, -1)  # [batch, functions * n]

    def _trace_inputs(
        self, outputs: NetworkOutputs, target: Tensor, transitions: Batch
    ) -> TraceInputs | tuple[()]:
        if not isinstance(self.optimizer, TraceOptimizer):
            return ()
        assert isinstance(self.head, Scalar)
        decay = self.optimizer.trace_decay
        return trace_inputs(self.head, outputs.z, target, transitions, decay)

    @property
    def scalars(self) -> dict[str, float]:
        """Every number that may differ between the members of a population, by config key."""
        return {
            f"{name}.{field.name}": value
            for name, part in self.parts.items()
            for field in fields(part)
            if isinstance(value := getattr(part, field.name), float)
        }

    @property
    def parts(self) -> dict[str, Any]:
        """Every part, by config key."""
        auxiliary = {f"{PREFIX}.{name}": part for name, part in self.auxiliary.items()}
        return {name: getattr(self, name) for name in PARTS} | auxiliary

    def with_scalars(self, scalars: Mapping[str, Any]) -> Agent:
        """Return the same agent with these numbers, which may be tensors, in place of its own."""
        changes: dict[str, dict[str, Any]] = {}
        for key, value in scalars.items():
            name, _, number = key.rpartition(".")
            changes.setdefault(name, {})[number] = value
        parts = self.parts | {
            name: replace(self.parts[name], **new) for name, new in changes.items()
        }
        auxiliary = {name: parts.pop(f"{PREFIX}.{name}") for name in self.auxiliary}
        return replace(self, **parts, auxiliary=auxiliary)
