"""Hints for unknown words: the words that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from dqn_cli.training.settings import Settings

# Keys of Stable-Baselines3, of CleanRL, and of this package before they moved.
SYNONYMS = {
    "buffer_size": "replay.capacity",
    "end_e": "exploration.end",
    "env_id": "env",
    "exploration_final_eps": "exploration.end",
    "exploration_fraction": "exploration.duration",
    "exploration_initial_eps": "exploration.start",
    "gradient_steps": "updates_per_train",
    "learning_rate": "optimizer.lr",
    "n_envs": "env.num_envs",
    "net_arch": "network.widths",
    "start_e": "exploration.start",
    "target_network_frequency": "target.every",
    "target_update_interval": "target.every",
    "total_timesteps": "steps",
    "train_freq": "train_every",
    "train_frequency": "train_every",
    "update.loss": "head.loss",
    "update.max_grad_norm": "optimizer.max_grad_norm",
}
PRESET_GROUPS = ("agent", "experiment", "protocol", "tuned")  # they set keys of other groups


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known words most like `word`, or an empty string."""
    by_lower_case = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(word.lower(), by_lower_case, n=3, cutoff=0.5)
    return _question([by_lower_case[name] for name in similar])


def unknown_key(key: str, part: type[Any]) -> str:
    """Return the message for a key that the part in its place does not have."""
    prefix, _, name = key.rpartition(".")
    names = [field.name for field in fields(part)]
    if meant := [SYNONYMS[key]] if key in SYNONYMS else [] if prefix else _keys_named(name):
        misspelt = difflib.get_close_matches(name, names, cutoff=0.8)
        return f"unknown key {key}{_question([*misspelt, *meant])}"
    owner = f"{prefix} is {part.__name__} and" if prefix else "a run"
    hint = did_you_mean(name, names if prefix else [*names, *PRESET_GROUPS])
    return f"unknown key {key}: {owner} has {', '.join(names) or 'no keys'}{hint}"


def unknown_preset_key(key: str) -> str | None:
    """Return the message for a key that is typed of a preset, as `agent.lr`, or None."""
    group, _, rest = key.partition(".")
    if group not in PRESET_GROUPS or not rest:
        return None
    meant = _question(_keys_named(rest.rpartition(".")[2]))
    return f"unknown key {key}: {group}= only chooses a file, which sets keys of the run{meant}"


def _question(words: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(words)}?" if words else ""


def _keys_named(name: str) -> list[str]:
    """Return the keys of this name in any choice of a run's parts."""
    parts = get_type_hints(Settings)
    return [f"{part}.{name}" for part, base in parts.items() if _has_key(base, name)]


def _has_key(part: Any, name: str) -> bool:
    """Return True if the part or a subclass has the key, and the key is not a part itself."""
    if not is_dataclass(part) or not isinstance(part, type):
        return False
    in_part = name in {field.name for field in fields(part)}
    in_part = in_part and not is_dataclass(get_type_hints(part)[name])
    return in_part or any(_has_key(choice, name) for choice in part.__subclasses__())
