"""`dqn_cli.check_part`: what is wrong with a part of one's own, in plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from dqn_cli.agent.augmentation import Augment
from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.exploration import Exploration
from dqn_cli.agent.heads import Head
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Optimizer
from dqn_cli.agent.own_module import OwnModule
from dqn_cli.agent.target_networks import TargetNetwork
from dqn_cli.agent.update_rules import UpdateRule
from dqn_cli.config.registry import registered_values
from dqn_cli.part_checking.augment_calls import check_augment
from dqn_cli.part_checking.auxiliary_calls import check_auxiliary
from dqn_cli.part_checking.head_calls import check_head
from dqn_cli.part_checking.network_calls import check_network
from dqn_cli.part_checking.optimizer_calls import check_optimizer
from dqn_cli.part_checking.schedule_calls import check_exploration, check_target
from dqn_cli.part_checking.update_rule_calls import check_update_rule

CHECKS: dict[type[Any], Callable[[Any], Iterator[str]]] = {
    Head: check_head,
    Network: check_network,
    UpdateRule: check_update_rule,
    Optimizer: check_optimizer,
    Auxiliary: check_auxiliary,
    Augment: check_augment,
    Exploration: check_exploration,
    TargetNetwork: check_target,
}


def check_part(part: Any) -> list[str]:
    """Return what is wrong with a part, in one line each; an empty list if nothing is.

    It is run alone on small made-up inputs: as it is, in float64, with its numbers as tensors, for
    two members side by side, recorded, and traced as by the compiler.

    Args:
        part: A head, network, update rule, optimizer, auxiliary part, augmentation, exploration or
            target rule; or its class, which gets the values that it was registered with; or a
            `torch.nn.Module` class.

    Raises:
        TypeError: It is none of these.
    """
    own = _instance(part)
    check = next((check for base, check in CHECKS.items() if isinstance(own, base)), None)
    if check is None:
        kinds = ", ".join(base.__name__ for base in CHECKS)
        raise TypeError(f"{part!r} is no part that can be checked; these are: {kinds}")
    with torch.random.fork_rng(devices=[]):
        return [f"{type(own).__name__}: {problem}" for problem in check(own)]


def _instance(part: Any) -> Any:
    if not isinstance(part, type):
        return part
    if issubclass(part, nn.Module):
        path = f"{part.__module__}:{part.__qualname__}"
        return OwnModule([], False, False, False, False, 0.5, path, {})
    if not is_dataclass(part) or not issubclass(part, tuple(CHECKS)):
        return part
    values = registered_values(part)
    for field in fields(part):
        if field.name not in values and MISSING is field.default is field.default_factory:
            raise TypeError(
                f"{part.__name__}.{field.name} has no value: register the class with like=CHOICE,"
                " or check an instance"
            )
    return part(**values)
