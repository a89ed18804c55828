"""What to say of a word that is not known: which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from dqn_cli.training.settings import Settings

# What the keys of a run are called by Stable-Baselines3 and CleanRL.
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
}


def near(word: str, words: Iterable[str]) -> str:
    """A question that names the words most like `word`, whatever their case, or nothing."""
    spelled = {each.lower(): each for each in words}
    alike = difflib.get_close_matches(word.lower(), spelled, n=3, cutoff=0.5)
    return _question([spelled[each] for each in alike])


def unknown_key(key: str, part: type[Any]) -> str:
    """What to say of a key that the part in its place does not have."""
    prefix, _, name = key.rpartition(".")
    if not prefix and (meant := _meant_by(name)):
        return f"unknown key {key}{_question(meant)}"
    names = [field.name for field in fields(part)]
    where = f"{prefix} is {part.__name__} and" if prefix else "a run"
    return f"unknown key {key}: {where} has {', '.join(names) or 'no keys'}{near(name, names)}"


def _question(words: list[str]) -> str:
    return f"; did you mean {' or '.join(words)}?" if words else ""


def _meant_by(name: str) -> list[str]:
    """The keys that others call so, or that are called so in some choice of a run's parts."""
    if name in SYNONYMS:
        return [SYNONYMS[name]]
    parts = get_type_hints(Settings)
    return [f"{part}.{name}" for part, base in parts.items() if _has(base, name)]


def _has(part: Any, name: str) -> bool:
    if not is_dataclass(part) or not isinstance(part, type):
        return False
    own = any(field.name == name for field in fields(part))
    return own or any(_has(choice, name) for choice in part.__subclasses__())
