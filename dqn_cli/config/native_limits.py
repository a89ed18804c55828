"""Settings that make no sense with env.vectorization=native, or with functions that need it."""

from __future__ import annotations

from dqn_cli.envs.env_config import Vectorization
from dqn_cli.envs.env_ids import has_vector_entry_point, is_ale, is_imported, vector_factory
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.preprocessing import Atari, Preprocess
from dqn_cli.training.settings import Settings


def native_conflict(settings: Settings) -> str | None:
    """Return why settings make no sense with native vector environments, or None if they do."""
    env = settings.env
    if env.vectorization is not Vectorization.native:
        if vector_factory(env.id) is None:
            return None
        return (
            f"env={env.id} is a function and no registered id: use env.vectorization=native if it"
            " makes vector environments, or register an id"
        )
    if env.wrappers:
        return (
            "env.wrappers are for single environments, which env.vectorization=native does not"
            " make: use env.wrappers=[], or env.vectorization=sync"
        )
    if is_ale(env.id) or isinstance(env.preprocess, Atari):
        return _native_atari_conflict(settings)
    has_vector = vector_factory(env.id) is not None or has_vector_entry_point(env.id)
    if is_imported(env.id) and not has_vector:
        return (
            f"env={env.id} has no vector environment, which env.vectorization=native needs: use"
            " env.vectorization=sync, or a function module:make that returns one"
        )
    if not isinstance(env.preprocess, Preprocess) or env.preprocess.stack > 1:
        return (
            "env.vectorization=native takes observations as they are, without a protocol or"
            " stack: use protocol=none env.preprocess.stack=1, or env.vectorization=sync"
        )
    if env.mask is MaskSource.method:
        return "env.mask=method is for single environments: use env.vectorization=sync"
    return None


def _native_atari_conflict(settings: Settings) -> str | None:
    env = settings.env
    if not (isinstance(env.preprocess, Atari) and is_ale(env.id)):
        return (
            "env.vectorization=native is for the games of ALE with their protocols"
            " (protocol=nature, ...): use env.vectorization=sync"
        )
    if env.timeout is not None:
        return (
            "env.timeout can't end a step of ALE's own vector environment: use env.timeout=null, or"
            " env.vectorization=async"
        )
    if kwargs := settings.evaluation_env.kwargs:  # which has those of training too
        words = ", ".join(kwargs)
        return (
            f"env.kwargs ({words}) are for gymnasium.make, which env.vectorization=native does not"
            " call: use env.vectorization=sync"
        )
    return None
