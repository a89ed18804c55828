from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from strange_inspections import config_of, inspected

from dqn_cli.checking import findings
from dqn_cli.checking.findings import Finding, Level, Rule
from dqn_cli.checking.seen import Answer, Inspection
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]
NO = Answer(False, "reason")


@pytest.fixture
def found(settings_of: SettingsOf) -> Callable[..., list[Finding]]:
    """Returns what a rule finds in an environment."""

    def apply(
        rule: Rule, config: EnvConfig, inspection: Inspection | None = None, *words: str
    ) -> list[Finding]:
        settings = replace(settings_of(*words), env=config)
        return list(rule(inspection or inspected(config), settings))

    return apply


Found = Callable[..., list[Finding]]

RULES: list[Rule] = [
    findings.failures,
    findings.unread_parts,
    findings.many_actions,
    findings.memory,
    findings.unusable_network,
    findings.masks,
    findings.endless_episodes,
    findings.repeated_seeds,
    findings.single_copies,
    findings.other_processes,
    findings.gymnasium_messages,
    findings.info_scalars,
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["", "masked"])
def test_nothing_is_found_in_an_environment_in_order(found: Found, rule: Rule, kind: str) -> None:
    assert found(rule, config_of(kind)) == []


@pytest.mark.parametrize(
    ("kind", "text", "change"),
    [
        ("text", "which no network reads", "in a wrapper"),
        ("continuous", "actions that can be counted", "gymnasium.ActionWrapper"),
        ("bytes", "which uint8 can't hold", "correct observation_space"),
        ("short", "declared is [2]", "correct observation_space"),
        ("nan", "not a finite number", "division by zero"),
        ("late", "action_mask is in a step's info", "every reset and step"),
        ("raise", "RuntimeError: no licence", ""),
    ],
)
def test_a_failure_is_an_error_that_says_what_to_change(
    found: Found, kind: str, text: str, change: str
) -> None:
    (finding,) = found(findings.failures, config_of(kind))
    assert finding.level is Level.error
    assert finding.text.startswith("env=Strange-v0")
    assert text in finding.text
    assert change in finding.change


def test_a_hang_is_an_error_that_names_the_environment(found: Found) -> None:
    inspection = inspected(config_of())._replace(
        trial=None, failure="it did not answer within 2 s in reset"
    )
    (finding,) = found(findings.failures, config_of(), inspection)
    assert finding.text == "env=Strange-v0: it did not answer within 2 s in reset"
    assert "seconds=60" in finding.change


def test_parts_that_no_network_reads_are_dropped_beside_those_that_are(found: Found) -> None:
    (finding,) = found(findings.unread_parts, config_of("texts", drop=["still"]))
    assert finding.words == ("env.drop=[still,text]",)


def test_many_actions_are_warned_of(found: Found) -> None:
    (finding,) = found(findings.many_actions, config_of("many"))
    assert finding.text.startswith("5,000 actions")


def test_a_buffer_beyond_the_memory_is_warned_of(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dqn_cli.memory.free_bytes", lambda device: 10**9)
    (finding,) = found(findings.memory, config_of("huge"))
    capacity = int(finding.words[0].removeprefix("replay.capacity="))
    assert 1_500 < capacity < 2_100


@pytest.mark.parametrize("network", ["nature", "impala", "minatar", "hadamax"])
def test_a_network_that_can_not_read_it_is_an_error(found: Found, network: str) -> None:
    config = config_of("texts", drop=["text"])
    (finding,) = found(findings.unusable_network, config, None, f"network={network}")
    assert finding.level is Level.error
    assert finding.words == ("network=multi",)


def test_bounds_that_are_missing_are_an_error_of_the_normalization(
    settings_of: SettingsOf,
) -> None:
    config = config_of("large")
    settings = settings_of("env.normalize=bounds")
    settings = replace(settings, env=replace(config, normalize=settings.env.normalize))
    (finding,) = findings.unusable_network(inspected(config), settings)
    assert finding.words == ("env.normalize=running",)


def test_a_mask_by_another_name_is_warned_of(found: Found) -> None:
    (finding,) = found(findings.masks, config_of("other_mask"))
    assert finding.level is Level.warning
    assert 'info["legal_moves"]' in finding.text


def test_a_part_of_observations_that_looks_like_a_mask_is_warned_of(found: Found) -> None:
    flags = spaces.Box(0, 1, (3,), np.int8)
    config = config_of(kwargs={"space": spaces.Dict(x=flags, valid_actions=flags)})
    (finding,) = found(findings.masks, config)
    assert finding.level is Level.warning
    assert "part valid_actions" in finding.text


def test_a_mask_that_allows_everything_is_noted(found: Found) -> None:
    inspection = inspected(config_of("masked"))
    assert inspection.trial is not None
    inspection = inspection._replace(trial=inspection.trial._replace(legal=3.0))
    (finding,) = found(findings.masks, config_of("masked"), inspection)
    assert finding.level is Level.note


def test_an_episode_without_end_or_limit_is_warned_of(found: Found) -> None:
    inspection = inspected(config_of("endless"))
    assert inspection.trial is not None
    for steps, words in ((50, ()), (5_000, ("env.max_episode_steps=1000",))):
        of_steps = inspection._replace(trial=inspection.trial._replace(steps=steps))
        (finding,) = found(findings.endless_episodes, config_of("endless"), of_steps)
        assert finding.words == words
    (finding,) = found(findings.endless_episodes, config_of("endless", "StrangeLimited-v0"))
    assert finding.level is Level.note
    assert "the limit is 100,000" in finding.text


def with_answers(**answers: Answer) -> Inspection:
    yes = Answer(True)
    all_yes = {"repeats": yes, "copies": yes, "independent": yes, "in_process": yes}
    return inspected(config_of())._replace(**all_yes | answers)


def test_a_seed_that_does_not_repeat_is_warned_of(found: Found) -> None:
    (finding,) = found(findings.repeated_seeds, config_of(), with_answers(repeats=NO))
    assert "super().reset(seed=seed)" in finding.change


def test_a_single_copy_trains_without_evaluations(found: Found) -> None:
    (finding,) = found(findings.single_copies, config_of(), with_answers(copies=NO))
    assert finding.words == ("env.num_envs=1", "eval.every=null")


@pytest.mark.parametrize(
    ("in_process", "word"),
    [(Answer(True), "env.vectorization=async"), (NO, "eval.every=null")],
)
def test_shared_state_is_warned_of(found: Found, in_process: Answer, word: str) -> None:
    inspection = with_answers(independent=NO, in_process=in_process)
    (finding,) = found(findings.single_copies, config_of(), inspection)
    assert finding.words == (word,)


def test_trouble_in_other_processes_is_an_error_only_with_async(found: Found) -> None:
    inspection = with_answers(in_process=NO)
    (finding,) = found(findings.other_processes, config_of(), inspection)
    assert (finding.level, finding.words) == (Level.note, ())
    parallel = config_of(vectorization=Vectorization["async"])
    (finding,) = found(findings.other_processes, parallel, inspection)
    assert (finding.level, finding.words) == (Level.error, ("env.vectorization=sync",))


def test_a_slow_step_is_a_reason_for_several_processes(found: Found) -> None:
    inspection = with_answers()
    assert inspection.trial is not None
    slow = inspection._replace(trial=inspection.trial._replace(steps=10, seconds=0.5))
    (finding,) = found(findings.other_processes, config_of(), slow)
    assert "50 ms" in finding.text
    assert "env.vectorization=async" in finding.change


def test_messages_of_gymnasium_are_passed_on_unless_they_are_known(found: Found) -> None:
    inspection = with_answers(repeats=NO)._replace(
        gymnasium=("the same seed and actions lead to different results", "terminated is no bool")
    )
    (finding,) = found(findings.gymnasium_messages, config_of(), inspection)
    assert finding.text == "Gymnasium's check_env: terminated is no bool"
    assert inspection.trial is not None
    failed = inspection.trial._replace(failure="step raised E: terminated is no bool (a.py:1)")
    inspection = inspection._replace(trial=failed)
    assert found(findings.gymnasium_messages, config_of(), inspection) == []


def test_numbers_in_info_are_noted(found: Found) -> None:
    (finding,) = found(findings.info_scalars, config_of("other_mask"))
    assert finding.change == "log.info=[score]"


def test_every_rule_bears_an_inspection_without_results(settings_of: Any) -> None:
    nothing = inspected(config_of("continuous"))._replace(description=None, failure="it hangs")
    for rule in RULES:
        list(rule(nothing, settings_of()))
