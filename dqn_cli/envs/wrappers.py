"""Wrappers of an environment that a configuration names, as `module:Class`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import gymnasium

from dqn_cli.envs.preprocessing import AnyEnv

GYMNASIUM = "gymnasium.wrappers"
SHAPE = "write env.wrappers=[module:Class, {module:Class: {KEY: VALUE}}]"
# Wrappers of Gymnasium that write files or open windows.
WITH_SIDE_EFFECTS = ("HumanRendering", "RecordVideo")


class WrapperSpec(NamedTuple):
    """One entry of `env.wrappers`."""

    module: str
    attribute: str
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """The entry's `module:Class`."""
        return f"{self.module}:{self.attribute}"

    @property
    def is_harmless(self) -> bool:
        """True for Gymnasium's own classes without side effects, which any file may name."""
        if self.module != GYMNASIUM or self.attribute in WITH_SIDE_EFFECTS:
            return False
        wrapper = getattr(import_module(GYMNASIUM), self.attribute, None)
        return isinstance(wrapper, type) and issubclass(wrapper, gymnasium.Wrapper)


def parse_wrappers(entries: Sequence[Any]) -> list[WrapperSpec]:
    """Return the entries of `env.wrappers`.

    Raises:
        ValueError: An entry is neither `module:Class` nor `{module:Class: {KEY: VALUE}}`.
    """
    return [_parse(entry) for entry in entries]


def apply_wrappers(env: AnyEnv, entries: Sequence[Any]) -> AnyEnv:
    """Wrap the environment in each of the entries; the last one is outermost.

    Raises:
        ValueError: An entry names nothing that can wrap an environment.
    """
    for spec in parse_wrappers(entries):
        wrapper = _load(spec)
        try:
            wrapped = wrapper(env, **spec.kwargs)
        except Exception as error:  # the user's code may raise anything
            raise ValueError(f"env.wrappers: {spec.name} can't wrap it: {error!r}") from error
        if not isinstance(wrapped, gymnasium.Env):
            raise ValueError(f"env.wrappers: {spec.name} returned {wrapped!r}, no environment")
        env = wrapped
    return env


def _parse(entry: Any) -> WrapperSpec:
    name, kwargs = entry, None
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, kwargs),) = entry.items()
    module, _, attribute = name.rpartition(":") if isinstance(name, str) else ("", "", "")
    are_arguments = kwargs is None or (isinstance(kwargs, dict) and all(map(_is_key, kwargs)))
    if not (module and attribute.isidentifier() and are_arguments):
        raise ValueError(f"env.wrappers: {entry} is not of this form: {SHAPE}")
    return WrapperSpec(module, attribute, kwargs or {})


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _load(spec: WrapperSpec) -> Any:
    try:
        wrapper = getattr(import_module(spec.module), spec.attribute)
    except AttributeError as error:
        raise ValueError(f"env.wrappers: {spec.module} has no {spec.attribute}") from error
    except Exception as error:  # the user's module may raise anything
        raise ValueError(f"env.wrappers: {spec.name} can't be imported: {error}") from error
    if not callable(wrapper):
        raise ValueError(f"env.wrappers: {spec.name} is {wrapper!r}, which can't wrap anything")
    return wrapper
