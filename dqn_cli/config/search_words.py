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
)

from dqn_cli.config.validation import ConfigError
from dqn_cli.searching.space import DIGITS, Choice, Decimal, Domain, Space, Whole, is_short

LOG = "log"  # a tag, and the only one that says something here
GROUP = "search"  # choices of spaces that are ready
# All runs of a search have the same; other keys of a search name seeds, pauses and environments.
SHARED = (
    "env", "protocol", "experiment", "seed", "steps", "episodes", "eval", "stop", "log",
    "checkpoint", "video", "import", "resume", "device", "threads", "compile", "hydra",
)  # fmt: skip


def read_space(params: Mapping[str, Any], typed: Sequence[str]) -> Space:
    """Return the space that words describe; those that are typed win over `params`.

    Raises:
        ConfigError: There is nothing to search over, or a word can't be searched over.
    """
    words = [f"{key}={text}" for key, text in params.items()]
    overrides = OverridesParser.create().parse_overrides([*words, *typed])
    by_key = {override.get_key_element().lstrip("+"): override for override in overrides}
    ready = by_key.pop(GROUP, None)
    if ready is not None and ready.is_sweep_override():
        raise ConfigError(
            f"{ready.input_line} is not valid: a search has one space, as +search=dqn"
        )
    domains = {
        override.get_key_element(): _domain(name, override)
        for name, override in by_key.items()
        if override.is_sweep_override()
    }
    if not domains:
        raise ConfigError(
            "a search has nothing to search over: add +search=dqn, or a key with several values, as"
            " 'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
        )
    shared = [override for override in by_key.values() if not override.is_sweep_override()]
    return Space(domains, [str(override.input_line) for override in shared])


def _domain(name: str, override: Override) -> Domain:
    if name.partition(".")[0] in SHARED and not name.startswith(("env.num_envs", "env.kwargs.")):
        raise ConfigError(
            f"{name} can't be searched over: all runs of a search have the same, and"
            " hydra.sweeper.seeds=N runs each trial with N seeds"
        )
    sweep: Any = override.value()
    if isinstance(sweep, Glob):
        raise ConfigError(
            f"{name}: glob can't be searched over; name the choices, as in {name}=A,B"
        )
    if sweep.tags - {LOG} or getattr(sweep, "shuffle", False):
        raise _invalid(override, "the only tag is log, and the order of values does not matter")
    is_log = LOG in sweep.tags
    if isinstance(sweep, IntervalSweep):
        domain: Domain = _interval(sweep.start, sweep.end, is_log)
    elif isinstance(sweep, RangeSweep):
        if is_log and sweep.step != 1:
            raise _invalid(override, "numbers in steps have no logarithm: leave out tag or step")
        domain = _range(list(sweep.range()), sweep.step, is_log)
    elif is_log:
        raise _invalid(override, "only numbers have a logarithm, as in tag(log,interval(1e-4,1))")
    else:
        domain = Choice(tuple(override.sweep_string_iterator()))
    _check(override, domain)
    return domain


def _check(override: Override, domain: Domain) -> None:
    """Refuse a domain without several values that a word can name."""
    if isinstance(domain, Choice):
        if len(domain.words) < 2 or len(set(domain.words)) < len(domain.words):
            raise _invalid(override, "it needs several choices, all different")
    elif not domain.low < domain.high or (domain.log and domain.low <= 0):
        raise _invalid(override, f"it needs {'0 < ' if domain.log else ''}low < high")
    elif not all(map(is_short, (domain.low, domain.high, domain.step or 0))):
        raise _invalid(override, f"numbers have at most {DIGITS} digits, as those that are tried")


def _invalid(override: Override, reason: str) -> ConfigError:
    return ConfigError(f"{override.input_line} is not valid: {reason}")


def _interval(low: Any, high: Any, is_log: bool) -> Domain:
    if isinstance(low, int) and isinstance(high, int):
        return Whole(low, high, is_log)
    return Decimal(float(low), float(high), is_log)


def _range(values: Sequence[Any], step: Any, is_log: bool) -> Domain:
    """Return the domain of Python's range, whose end is not in it."""
    if all(isinstance(value, int) for value in values):
        low, high = (min(values), max(values)) if values else (0, 0)
        return Whole(low, high, is_log, 1 if is_log else abs(int(step)))
    return Decimal(min(values), max(values), is_log, None if is_log else abs(float(step)))
