"""Search spaces in Hydra's words: `interval`, `range`, `choice` and `tag(log, ...)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)

from dqn_cli.config.validation import ConfigError
from dqn_cli.searching.space import Choice, Decimal, Domain, Space, Whole

LOG = "log"  # a tag, and the only one that says something here
GROUP = "search"  # choices of spaces that are ready
# All runs of a search have the same; other keys of a search name seeds, pauses and environments.
SHARED = ("env", "seed", "steps", "episodes", "eval", "stop", "log", "checkpoint")


def read_space(params: Mapping[str, Any], typed: Sequence[str]) -> Space:
    """Return the space that words describe; those that are typed win over `params`.

    Raises:
        ConfigError: There is nothing to search over, or a word can't be searched over.
    """
    words = [f"{key}={text}" for key, text in params.items()]
    overrides = OverridesParser.create().parse_overrides([*words, *typed])
    by_key = {override.get_key_element(): override for override in overrides}
    chosen = {key: override for key, override in by_key.items() if override.key_or_group != GROUP}
    domains = {
        key: _domain(key, override)
        for key, override in chosen.items()
        if override.is_sweep_override()
    }
    if not domains:
        raise ConfigError(
            "a search has nothing to search over: add +search=dqn, or a key with several values, as"
            " 'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
        )
    return Space(domains, [word for key, word in _words(chosen) if key not in domains])


def _words(overrides: Mapping[str, Override]) -> list[tuple[str, str]]:
    return [(key, str(override.input_line)) for key, override in overrides.items()]


def _domain(key: str, override: Override) -> Domain:
    name = key.lstrip("+")
    if name.partition(".")[0] in SHARED and not name.startswith(("env.num_envs", "env.kwargs.")):
        raise ConfigError(
            f"{name} can't be searched over: all runs of a search have the same, and"
            " hydra.sweeper.seeds=N runs each trial with N seeds"
        )
    sweep: Any = override.value()
    is_log = isinstance(sweep, Sweep) and LOG in sweep.tags
    if isinstance(sweep, IntervalSweep):
        domain: Decimal | Whole = _interval(sweep.start, sweep.end, is_log)
    elif isinstance(sweep, RangeSweep):
        domain = _range(list(sweep.range()), sweep.step, is_log)
    elif isinstance(sweep, Glob):
        raise ConfigError(f"{key}: glob can't be searched over; name the choices, as in {key}=A,B")
    else:
        return Choice(tuple(override.sweep_string_iterator()))
    if not domain.low < domain.high or (is_log and domain.low <= 0):
        above = "0 < low < high" if is_log else "low < high"
        raise ConfigError(f"{override.input_line} is not valid: it needs {above}")
    return domain


def _interval(low: Any, high: Any, is_log: bool) -> Decimal | Whole:
    if isinstance(low, int) and isinstance(high, int):
        return Whole(low, high, is_log)
    return Decimal(float(low), float(high), is_log)


def _range(values: Sequence[Any], step: Any, is_log: bool) -> Decimal | Whole:
    """Return the domain of Python's range, whose end is not in it."""
    if all(isinstance(value, int) for value in values):
        low, high = (min(values), max(values)) if values else (0, 0)
        return Whole(low, high, is_log, 1 if is_log else abs(int(step)))
    return Decimal(min(values), max(values), is_log, None if is_log else abs(float(step)))
