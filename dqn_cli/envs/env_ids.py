"""Facts about environment ids; imported without torch, for completion in the shell."""

from __future__ import annotations

from importlib.util import find_spec

# Environments that need an extra: the prefix of their ids, the module, and the extra's name.
EXTRAS = (("MinAtar/", "minatar", "minatar"), ("ALE/", "ale_py", "atari"))


def is_ale(env_id: str) -> bool:
    """Return whether an id, with or without a module, is a game of the ALE."""
    return env_id.rpartition(":")[2].startswith("ALE/")


def missing_extra(env_id: str) -> str | None:
    """Return a hint at the extra that this environment needs; None if nothing is missing."""
    for prefix, module, extra in EXTRAS:
        if env_id.startswith(prefix) and find_spec(module) is None:
            return f"needs an extra: pip install 'dqn-train[{extra}]'"
    return None
