from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from strange_inspections import config_of, inspected

from dqn_cli.agent.normalization import Normalization
from dqn_cli.checking import number_findings
from dqn_cli.checking.findings import Finding, Level, Rule
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]
Found = Callable[..., list[Finding]]

RULES: list[Rule] = [
    number_findings.large_observations,
    number_findings.out_of_bounds,
    number_findings.dark_pictures,
    number_findings.constant_parts,
    number_findings.flat_pictures,
    number_findings.rewards,
]


@pytest.fixture
def found(settings_of: SettingsOf) -> Found:
    """Returns what a rule finds in an environment."""

    def apply(rule: Rule, config: EnvConfig, *words: str) -> list[Finding]:
        return list(rule(inspected(config), replace(settings_of(*words), env=config)))

    return apply


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["", "first"])
def test_nothing_is_found_in_an_environment_in_order(found: Found, rule: Rule, kind: str) -> None:
    assert found(rule, config_of(kind)) == []


@pytest.mark.parametrize(
    ("kind", "word"), [("large", "env.normalize=running"), ("bounded", "env.normalize=bounds")]
)
def test_large_numbers_are_to_be_normalized(found: Found, kind: str, word: str) -> None:
    (finding,) = found(number_findings.large_observations, config_of(kind))
    assert (finding.level, finding.words) == (Level.warning, (word,))
    normalized = config_of(kind, normalize=Normalization.running)
    assert found(number_findings.large_observations, normalized) == []


def test_numbers_beyond_their_bounds_are_warned_of(found: Found) -> None:
    (finding,) = found(number_findings.out_of_bounds, config_of("beyond"))
    assert "-1 to 1 is declared" in finding.text


def test_pictures_of_zeros_and_ones_declared_as_bytes_are_warned_of(found: Found) -> None:
    (finding,) = found(number_findings.dark_pictures, config_of("dark"))
    assert finding.level is Level.warning
    assert "declare high=1" in finding.change
    (finding,) = found(number_findings.dark_pictures, config_of("dim"))
    assert finding.level is Level.note
    assert "declare high=9" in finding.change


def test_parts_that_never_change_are_told(found: Found) -> None:
    (finding,) = found(number_findings.constant_parts, config_of("texts", drop=["text"]))
    assert finding.level is Level.note
    assert finding.change == "env.drop=[text,still] saves memory"
    (finding,) = found(number_findings.constant_parts, config_of("still"))
    assert finding.level is Level.warning


def test_pictures_read_by_dense_layers_are_warned_of(found: Found) -> None:
    (finding,) = found(number_findings.flat_pictures, config_of("first"), "network=mlp")
    assert finding.words == ("network=multi",)
    assert found(number_findings.flat_pictures, config_of("first"), "network=multi") == []


def test_large_rewards_are_to_be_scaled(found: Found) -> None:
    (finding,) = found(number_findings.rewards, config_of("rewarding"))
    assert finding.words == ("env.reward_scale=0.001",)
    assert found(number_findings.rewards, config_of("rewarding", reward_scale=0.01)) == []


def test_rewards_that_are_all_zero_are_noted(found: Found) -> None:
    (finding,) = found(number_findings.rewards, config_of("unrewarding"))
    assert finding.level is Level.note
