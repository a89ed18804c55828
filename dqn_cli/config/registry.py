"""Registry of the dataclass of each choice in each configuration group.

The values of a choice are in configs/GROUP/CHOICE.yaml, which names its dataclass as `base_CHOICE`.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore

# Names, not classes: --help and completion must answer before torch is imported.
SCHEMAS = {
    "base_config": "dqn_cli.training.settings:Settings",
    "protocol/base_none": "dqn_cli.envs.preprocessing:Preprocess",
    "protocol/base_image": "dqn_cli.envs.preprocessing:Images",
    "protocol/base_atari": "dqn_cli.envs.preprocessing:Atari",
    "network/base_mlp": "dqn_cli.agent.networks:Mlp",
    "network/base_table": "dqn_cli.agent.table:Table",
    "network/base_minatar": "dqn_cli.agent.minatar_cnn:MinAtarCnn",
    "network/base_nature": "dqn_cli.agent.atari_cnns:Nature",
    "network/base_impala": "dqn_cli.agent.atari_cnns:Impala",
    "network/base_gru": "dqn_cli.agent.recurrent:Gru",
    "network/base_lstm": "dqn_cli.agent.recurrent:Lstm",
    "head/base_scalar": "dqn_cli.agent.heads:Scalar",
    "head/base_c51": "dqn_cli.agent.categorical:C51",
    "head/base_qr": "dqn_cli.agent.quantiles:Qr",
    "head/base_iqn": "dqn_cli.agent.quantiles:Iqn",
    "update/base_dqn": "dqn_cli.agent.update_rules:Dqn",
    "update/base_double": "dqn_cli.agent.update_rules:Double",
    "update/base_munchausen": "dqn_cli.agent.update_rules:Munchausen",
    "target/base_hard": "dqn_cli.agent.target_networks:Hard",
    "target/base_soft": "dqn_cli.agent.target_networks:Soft",
    "target/base_none": "dqn_cli.agent.target_networks:NoTarget",
    "exploration/base_constant": "dqn_cli.agent.exploration:Constant",
    "exploration/base_linear": "dqn_cli.agent.exploration:Linear",
    "exploration/base_exponential": "dqn_cli.agent.exploration:Exponential",
    "exploration/base_multiplicative": "dqn_cli.agent.exploration:Multiplicative",
    "exploration/base_piecewise": "dqn_cli.agent.exploration:Piecewise",
    "exploration/base_ladder": "dqn_cli.agent.exploration:PerEnvEpsilon",
    "exploration/base_boltzmann": "dqn_cli.agent.exploration:Boltzmann",
    "exploration/base_noisy": "dqn_cli.agent.exploration:Noisy",
    "replay/base_uniform": "dqn_cli.replay.samplers:Uniform",
    "replay/base_prioritised": "dqn_cli.replay.prioritised:Prioritised",
    "replay/base_rollout": "dqn_cli.replay.rollouts:Rollout",
    "optimizer/base_adam": "dqn_cli.agent.optimizers:Adam",
    "optimizer/base_adamw": "dqn_cli.agent.optimizers:AdamW",
    "optimizer/base_radam": "dqn_cli.agent.optimizers:RAdam",
    "optimizer/base_rmsprop": "dqn_cli.agent.optimizers:RmsProp",
    "optimizer/base_sgd": "dqn_cli.agent.optimizers:Sgd",
}

_parts: dict[str, type[Any]] = {}
_own: dict[tuple[str, str], type[Any]] = {}  # the user's, by group and choice


def register_schemas() -> None:
    """Store every dataclass under its schema's name, so that compositions are typed."""
    for name, location in SCHEMAS.items():
        module, attribute = location.split(":")
        part = getattr(import_module(module), attribute)
        _parts[part.__name__] = part
        _store(name, part)
    for kind in get_type_hints(_parts["Settings"]).values():
        if is_dataclass(kind) and isinstance(kind, type):
            _parts[kind.__name__] = kind


def register_untyped() -> None:
    """Store an empty node under each schema's name; completion needs no types, and no torch."""
    for name in SCHEMAS:
        _store(name, {})


def register(group: str, choice: str, part: type[Any]) -> None:
    """Add a choice from your own package, which `import=` names.

    Args:
        group: Such as `exploration`.
        choice: Such as `mine`; the command line then takes `exploration=mine`.
        part: A dataclass with a default for each field.
    """
    _parts[part.__name__] = part
    _own[group, choice] = part
    _store(f"{group}/{choice}", part)


def unregister(group: str, choice: str) -> None:
    """Take back a registered choice."""
    del _parts[_own.pop((group, choice)).__name__]
    del ConfigStore.instance().repo[group][f"{choice}.yaml"]


def own_choices() -> dict[str, dict[str, list[str]]]:
    """Return the keys of each choice that `register` added: by group, then by choice."""
    choices: dict[str, dict[str, list[str]]] = {}
    for (group, choice), part in _own.items():
        choices.setdefault(group, {})[choice] = [field.name for field in fields(part)]
    return choices


def part_named(name: str) -> type[Any]:
    """Return the registered dataclass of this name.

    Raises:
        KeyError: If there is none.
    """
    if "Settings" not in _parts:
        register_schemas()
    return _parts[name]


def is_part(name: str) -> bool:
    """Return True if a dataclass of this name is registered."""
    return name in _parts


def _store(path: str, node: Any) -> None:
    group, _, name = path.rpartition("/")
    ConfigStore.instance().store(name=name, node=node, group=group or None)
