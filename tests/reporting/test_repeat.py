from __future__ import annotations

from pathlib import Path

from dqn_cli.reporting.repeat import commands, versions
from dqn_cli.reporting.run_rows import RunRow


def row(*words: str, env: str = "A", **fields: object) -> RunRow:
    return RunRow(Path("run"), env, "choice", words, "finished", **fields)  # type: ignore[arg-type]


def test_seeds_share_a_command() -> None:
    rows = [row("update=dqn", f"seed={seed}", "network.widths=[8,8]") for seed in (10, 2, 0)]
    (command,) = commands(rows)
    assert command.line == "dqn-train -m update=dqn 'network.widths=[8,8]' seed=0,2,10"
    assert (command.choice, command.env) == ("choice", "A")


def test_one_run_is_no_sweep() -> None:
    assert [c.line for c in commands([row("steps=5", "seed=3")])] == ["dqn-train steps=5 seed=3"]
    assert [c.line for c in commands([row("steps=5")])] == ["dqn-train steps=5"]


def test_the_last_word_counts_and_new_keys_keep_their_plus() -> None:
    (command,) = commands([row("steps=5", "+env.kwargs.size=8", "steps=9")])
    assert command.line == "dqn-train steps=9 +env.kwargs.size=8"


def test_the_module_of_an_environment_is_imported() -> None:
    (command,) = commands([row("env=mine:Walk-v0", env="mine:Walk-v0")])
    assert command.line == "dqn-train env=mine:Walk-v0 import=mine"


def test_other_settings_are_other_commands() -> None:
    assert len(commands([row("steps=5", "seed=0"), row("steps=6", "seed=1")])) == 2


def test_versions_are_counted() -> None:
    old, new = {"torch": "2.12.0"}, {"torch": "2.13.0", "numpy": "2.4.6"}
    rows = [row(versions=old), row(versions=new, commit="abc"), row(versions=new, commit="abc")]
    found = versions([*rows, row()])
    assert found == [(2, "torch 2.13.0, numpy 2.4.6", "abc"), (1, "torch 2.12.0", "unknown")]
