"""A greedy policy as one module of tensors, with all that belongs to it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from dqn_cli.agent.model import Model
from dqn_cli.agent.parameters import views
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.observation_encoder import ObservationEncoder
from dqn_cli.envs.space_adapter import restore_space
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.exporting.ports import (
    MASK,
    NEXT_STATE,
    STATE,
    VALUES,
    ActionPort,
    ObservationPorts,
    Port,
)

UNUSED = "_sigma"  # ending of names of noise scales, which a greedy policy does not use


class ExportedPolicy(nn.Module):
    """Maps parts of observations, a mask and a state to actions, action values and the next state.

    Encoding, normalization and decoding are inside. Layers that were trained in bfloat16 compute in
    the precision of their parameters.
    """

    def __init__(self, policy: GreedyPolicy, env: EnvConfig, has_mask: bool) -> None:
        """Describe inputs and outputs; `has_mask` adds an input of legal actions."""
        super().__init__()
        self.model, spaces = with_full_precision(policy.model), policy.model.spaces
        own_observations, own_actions = map(
            restore_space, (spaces.own_observations, spaces.own_actions)
        )
        encoder = ObservationEncoder(own_observations, env.drop, env.preprocess.color_axis)
        dtype = policy.parameters.dtype
        self.observations = ObservationPorts(encoder, spaces, dtype)
        self._actions = ActionPort(own_actions, spaces.actions)
        self.has_mask = has_mask
        self.was_bfloat16 = bool(getattr(policy.model.network, "bfloat16", False))
        self.action_table: Tensor | None
        self.register_buffer("action_table", self._actions.table)
        self._buffer_names: dict[str, str] = {}
        for name, value in views(policy.parameters.cpu(), self.model.layout).items():
            if not name.endswith(UNUSED):
                self._buffer_names[name] = buffer = name.replace(".", "_")
                self.register_buffer(buffer, value.clone())
        self._dtype = dtype

    @property
    def inputs(self) -> list[Port]:
        """Inputs in their order."""
        ports, spaces = list(self.observations.ports), self.model.spaces
        if self.has_mask:
            meaning = "True for legal actions; combinations count the last part up first"
            ports.append(Port(MASK, torch.bool, (spaces.actions,), meaning))
        if self.model.state_size:
            meaning = "zeros where an episode begins, else the next_state of the step before"
            ports.append(Port(STATE, self._dtype, (self.model.state_size,), meaning))
        return ports

    @property
    def outputs(self) -> list[Port]:
        """Outputs in their order."""
        actions = (self.model.spaces.actions,)
        values = Port(VALUES, self._dtype, actions, "value of each action, legal or not")
        ports = [self._actions.port, values]
        if self.model.state_size:
            state = (self.model.state_size,)
            ports.append(Port(NEXT_STATE, self._dtype, state, "the state for the next step"))
        return ports

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for tensors of all inputs."""
        parts = len(self.observations.ports)
        obs = self.observations.encoded(tensors[:parts])
        state = tensors[-1] if self.model.state_size else obs.new_zeros(obs.shape[0], 0)
        p = {name: self.get_buffer(buffer) for name, buffer in self._buffer_names.items()}
        taus = self.model.head.taus(obs)
        if taus.shape[1]:
            p["taus"] = taus
        q, state = self.model.values(p, obs, state)
        legal = torch.where(tensors[parts], q, -torch.inf) if self.has_mask else q
        action = self._actions.decoded(legal.argmax(1), self.action_table)
        return (action, q, state) if self.model.state_size else (action, q)

    def decoded(self, index: Tensor) -> Tensor:
        """Return actions 0 to n - 1 [batch] as the output has them."""
        return self._actions.decoded(index, self._actions.table)


def with_full_precision(model: Model) -> Model:
    """Return the model without layers in bfloat16."""
    if not any(field.name == "bfloat16" for field in fields(model.network)):
        return model
    full: dict[str, Any] = {"bfloat16": False}
    return replace(model, network=replace(model.network, **full))
