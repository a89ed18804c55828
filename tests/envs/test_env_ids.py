from __future__ import annotations

import subprocess
import sys

import pytest

from dqn_cli.envs import env_ids
from dqn_cli.envs.env_ids import is_ale, missing_extra


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "my_package:ALE/Pong-v5"])
def test_games_of_the_ale_are_known_with_and_without_a_module(env_id: str) -> None:
    assert is_ale(env_id)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MinAtar/Breakout-v1", "mine:Env-v0"])
def test_other_environments_are_no_games_of_the_ale(env_id: str) -> None:
    assert not is_ale(env_id)


@pytest.mark.parametrize(
    ("env_id", "extra"), [("ALE/Pong-v5", "atari"), ("MinAtar/Breakout-v1", "minatar")]
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, env_id: str, extra: str) -> None:
    monkeypatch.setattr(env_ids, "find_spec", lambda name: None)
    assert missing_extra(env_id) == f"needs an extra: pip install 'dqn-train[{extra}]'"
    assert missing_extra("CartPole-v1") is None


def test_ids_are_read_without_torch() -> None:
    code = "import sys, dqn_cli.envs.env_ids; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
