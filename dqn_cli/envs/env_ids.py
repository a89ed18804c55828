"""Facts about environment ids; imported without torch, for completion in the shell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

# Environments that need an extra: the prefix of their ids, the module, and the extra's name.
EXTRAS = (("MinAtar/", "minatar", "minatar"), ("ALE/", "ale_py", "atari"))


def is_ale(env_id: str) -> bool:
    """Return whether an id, with or without a module, is a game of the ALE."""
    return env_id.rpartition(":")[2].startswith("ALE/")


def vector_factory(env_id: str) -> Callable[..., Any] | None:
    """Return the function that `module:name` means, or None if it is an id or not imported."""
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if not module or name in gymnasium.registry:
        return None
    # A file may name the module, so this must not import it.
    factory = getattr(sys.modules.get(module), name, None)
    return factory if callable(factory) else None


def is_imported(env_id: str) -> bool:
    """Return whether the module of `module:ID` is imported; True for an id without a module."""
    module, separator, _ = env_id.rpartition(":")
    return not separator or module in sys.modules


def has_vector_entry_point(env_id: str) -> bool:
    """Return whether an id is registered with a vector environment of its own."""
    import gymnasium

    spec = gymnasium.registry.get(env_id.rpartition(":")[2])
    return spec is not None and spec.vector_entry_point is not None


def missing_extra(env_id: str) -> str | None:
    """Return a hint at the extra that this environment needs; None if nothing is missing."""
    for prefix, module, extra in EXTRAS:
        if env_id.startswith(prefix) and find_spec(module) is None:
            return f"needs an extra: pip install 'dqn-train[{extra}]'"
    return None
