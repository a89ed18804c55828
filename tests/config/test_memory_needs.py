from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.config.memory_needs import find_excess, find_excessive_episodes, find_oversized
from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("network.widths=[1e9,1e9]",), "network.widths=.1e[+]09,1e[+]09. needs .* GB of memory"),
        (("network=gru", "network.units=1e9"), "network.units=1e[+]09 needs"),
        (("env.num_envs=1e9",), "env.num_envs=1e[+]09 needs 1,000.0 GB"),
        (("eval.episodes=1e12",), "eval.episodes=1e[+]12 needs 16,000.0 GB"),
        (("replay.capacity=1e15",), "replay.capacity=1e[+]15 needs"),
        (("replay.batch_size=1e9", "replay.capacity=1e9"), "replay.batch_size=1e[+]09 needs"),
        (("head=c51", "head.atoms=1e12"), "head.atoms=1e[+]12 needs"),
        (("head=qr", "head.atoms=1e6"), "head.atoms=1e[+]06 needs"),
        (("head=ensemble", "head.heads=1e12"), "head.heads=1e[+]12 needs"),
        (("replay.n_step=1e9",), "replay.n_step=1000000000 is larger than replay.capacity=50000"),
        (("network=gru", "network.length=1e9"), "network.length=1000000000 .* must fit"),
        (("threads=100000",), "threads=100000 must be auto or a number of at most"),
    ],
)
def test_what_can_not_be_meant_is_told_at_once(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr("dqn_cli.config.memory_needs.free_bytes", lambda: 50 * 10**9)
    with pytest.raises(ConfigError, match=told):
        settings_of(*words)


@pytest.mark.parametrize(
    "words", [(), ("agent=rainbow",), ("network=lstm",), ("env.num_envs=4096",)]
)
def test_what_is_usual_is_allowed(settings_of: Compose, words: tuple[str, ...]) -> None:
    settings = settings_of(*words)
    assert find_excess(settings) is find_oversized(settings) is None


def test_episodes_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.config.memory_needs.free_bytes", lambda: 10**9)
    assert find_excessive_episodes(100_000) is None
    assert "episodes=1e+12 needs 16,000.0 GB" in (find_excessive_episodes(10**12) or "")
