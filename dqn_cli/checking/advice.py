"""Advice after an inspection: all findings, a verdict, and the command that trains."""

from __future__ import annotations

from collections.abc import Sequence

from dqn_cli.checking import findings, number_findings
from dqn_cli.checking.findings import Finding, Level, Rule
from dqn_cli.checking.seen import Inspection
from dqn_cli.training.settings import Settings

RULES: tuple[Rule, ...] = (
    findings.failures,
    findings.unusable_network,
    findings.unread_parts,
    number_findings.flat_pictures,
    number_findings.large_observations,
    number_findings.out_of_bounds,
    number_findings.dark_pictures,
    number_findings.rewards,
    findings.masks,
    findings.many_actions,
    findings.endless_episodes,
    findings.single_copies,
    findings.memory,
    findings.repeated_seeds,
    findings.other_processes,
    findings.gymnasium_messages,
    number_findings.constant_parts,
    findings.info_scalars,
)
ORDER = list(Level)


def find_all(inspection: Inspection, settings: Settings) -> list[Finding]:
    """Return all findings, errors first."""
    found = [finding for rule in RULES for finding in rule(inspection, settings)]
    return sorted(found, key=lambda finding: ORDER.index(finding.level))


def is_trainable(found: Sequence[Finding]) -> bool:
    """Return whether training would be right, if the words of the findings are typed."""
    return not any(finding.level is Level.error and not finding.words for finding in found)


def has_error(found: Sequence[Finding]) -> bool:
    """Return whether training as typed would be wrong."""
    return any(finding.level is Level.error for finding in found)


def verdict(found: Sequence[Finding]) -> str:
    """Return the findings in one line."""
    if not is_trainable(found):
        errors = sum(finding.level is Level.error for finding in found)
        what = "the error" if errors == 1 else f"the {errors} errors"
        return f"can't be trained yet: mend {what} above, and check again"
    if has_error(found):
        return "can't be trained as typed; this command can:"
    if any(finding.words for finding in found):
        return "can be trained, with what this command adds:"
    warnings = sum(finding.level is Level.warning for finding in found)
    if warnings:
        what = "the warning" if warnings == 1 else f"the {warnings} warnings"
        return f"can be trained, with {what} above in mind:"
    return "ready to train:"


def training_words(words: Sequence[str], found: Sequence[Finding]) -> list[str]:
    """Return the words of dqn-train: those typed, with those of the findings in their place."""
    advised = {_key(word): word for finding in found for word in finding.words}
    kept = [word for word in words if _key(word) not in advised]
    return kept + list(advised.values())


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]
