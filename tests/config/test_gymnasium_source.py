from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import pytest
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException

from dqn_cli.config.errors import explain
from dqn_cli.config.gymnasium_source import (
    ATARI,
    GymnasiumSource,
    is_known,
    register_source,
)
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


@pytest.fixture
def source() -> GymnasiumSource:
    return GymnasiumSource("main", "gymnasium://")


@pytest.fixture
def home_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "home_made_module.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('HomeMade-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "home_made_module:HomeMade-v0"
    gymnasium.registry.pop("HomeMade-v0", None)
    sys.modules.pop("home_made_module", None)


@pytest.mark.parametrize(
    "env_id",
    ["Acrobot-v1", "Blackjack-v1", "CliffWalking-v1", "LineWorld-v0", "CartPole-v0"],
)
def test_any_registered_id_is_an_environment(settings_of: Compose, env_id: str) -> None:
    assert settings_of(f"env={env_id}").env.id == env_id


def test_an_id_with_a_namespace_is_an_environment(settings_of: Compose) -> None:
    assert settings_of("env=phys2d/CartPole-v1").env.id == "phys2d/CartPole-v1"


def test_every_registered_id_is_known_and_loads(source: GymnasiumSource) -> None:
    ids = source.list("env", None)
    old = {
        env_id
        for env_id, spec in gymnasium.registry.items()
        if "ale_py" in str(spec.entry_point) and not env_id.startswith("ALE/")
    }
    assert set(ids) == set(gymnasium.registry) - old
    assert all(re.fullmatch(r"[A-Z]\w+-v[04]", env_id) for env_id in old)
    assert len(ids) > 20
    for env_id in ids:
        assert source.is_config(f"env/{env_id}")
        shared = {"defaults": [ATARI, "_self_"]} if env_id.startswith("ALE/") else {}
        for name in (env_id, f"{env_id}.yaml"):
            assert source.load_config(f"env/{name}").config == shared | {"env": {"id": env_id}}


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("PongNoFrameskip-v4", "ALE/Pong-v5"),
        ("SpaceInvaders-v0", "ALE/SpaceInvaders-v5"),
        ("BreakoutDeterministic-v4", "ALE/Breakout-v5"),
        ("NotInstalledNoFrameskip-v4", "ALE/NotInstalled-v5"),
    ],
)
def test_legacy_atari_ids_name_the_current_id(settings_of: Compose, old: str, today: str) -> None:
    with pytest.raises(Exception, match=today) as caught:
        settings_of(f"env={old}")
    reason = "is a legacy id without preprocessing"
    assert explain(caught.value) == f"env={old} {reason}; use env={today}"


def test_a_users_id_may_look_like_a_legacy_id(settings_of: Compose) -> None:
    name = "LakeDeterministic-v0"
    gymnasium.register(name, "gymnasium.envs.classic_control:CartPoleEnv")
    try:
        assert settings_of(f"env={name}").env.id == name
    finally:
        del gymnasium.registry[name]


def test_a_file_wins_over_the_bare_id(settings_of: Compose) -> None:
    settings = settings_of("env=LunarLander-v3")
    assert (settings.env.id, settings.steps) == ("LunarLander-v3", 300_000)
    assert settings_of("env=LunarLanderContinuous-v3").steps == 100_000


def test_an_environment_without_a_file_leaves_the_defaults_alone(settings_of: Compose) -> None:
    settings = settings_of("env=Blackjack-v1")
    assert (settings.steps, settings.env.num_envs, settings.env.kwargs) == (100_000, 1, {})


def test_a_module_before_the_id_is_imported(settings_of: Compose, home_made: str) -> None:
    assert "HomeMade-v0" not in gymnasium.registry
    assert settings_of(f"env={home_made}").env.id == home_made
    assert "HomeMade-v0" in gymnasium.registry
    assert gymnasium.make(home_made).reset()


def test_a_copy_in_a_new_process_knows_what_the_users_modules_register(home_made: str) -> None:
    module, _, env_id = home_made.partition(":")
    register_source(user_modules=[module])
    try:
        copied = pickle.dumps(GymnasiumSource("main", "gymnasium://"))
    finally:
        register_source()
    is_known.cache_clear()  # as in a new process
    assert not GymnasiumSource("main", "gymnasium://").is_config(f"env/{env_id}")
    is_known.cache_clear()
    assert pickle.loads(copied).is_config(f"env/{env_id}")
    is_known.cache_clear()


def test_a_module_that_is_not_there_is_named(settings_of: Compose) -> None:
    with pytest.raises(Exception, match="nowhere_at_all") as caught:
        settings_of("env=nowhere_at_all:Any-v0")
    assert explain(caught.value) == ("env=nowhere_at_all:Any-v0: No module named 'nowhere_at_all'")


def test_a_module_without_that_id_is_an_unknown_environment(
    settings_of: Compose, home_made: str
) -> None:
    with pytest.raises(MissingConfigException) as caught:
        settings_of("env=home_made_module:Other-v0")
    assert explain(caught.value).startswith("unknown environment home_made_module:Other-v0")


def test_only_environments_are_known_here(source: GymnasiumSource) -> None:
    assert source.is_group("env")
    assert not source.is_group("network")
    assert not source.is_config("network/CartPole-v1")
    assert not source.is_config("env/")
    assert source.list("network", None) == []
    assert source.list("", None) == source.list("", ObjectType.GROUP) == ["env"]
    assert source.list("", ObjectType.CONFIG) == []
    assert source.list("env", ObjectType.GROUP) == []


@pytest.fixture
def own_blackjack(tmp_path: Path) -> Iterator[str]:
    """The URL of a folder with a file for an id that Gymnasium knows."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "Blackjack-v1.yaml").write_text(
        "# @package _global_\nenv:\n  id: Blackjack-v1\nsteps: 77\n"
    )
    yield f"file://{tmp_path}"
    register_source()


def test_ids_are_found_whatever_the_search_path_is(
    settings_of: Compose, own_blackjack: str
) -> None:
    words = (f"hydra.searchpath=[{own_blackjack}]", "env=FrozenLake-v1")
    assert settings_of(*words).env.id == "FrozenLake-v1"


def test_a_file_of_ones_own_wins_over_the_bare_id(settings_of: Compose, own_blackjack: str) -> None:
    register_source([own_blackjack])
    assert settings_of("env=Blackjack-v1", f"hydra.searchpath=[{own_blackjack}]").steps == 77
