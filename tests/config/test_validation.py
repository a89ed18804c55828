from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PLAIN

from dqn_cli.agent.activations import Activation
from dqn_cli.agent.convolutional import NormAxes
from dqn_cli.agent.initialization import Initialization
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Schedule, Sgd
from dqn_cli.agent.update_rules import Double, Dqn
from dqn_cli.config.paths import config_folder
from dqn_cli.config.validation import ConfigError
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.masks import MaskSource
from dqn_cli.training.settings import Device, Precision, Settings

Compose = Callable[..., Settings]


def in_file(name: str) -> Any:
    return yaml.safe_load((config_folder() / f"{name}.yaml").read_text())


def test_without_overrides_the_defaults_are_those_of_the_files(settings_of: Compose) -> None:
    settings = settings_of("env=Blackjack-v1")
    written, multi = in_file("config"), in_file("network/multi")
    assert settings.env == EnvConfig(
        "Blackjack-v1", {}, 1, Vectorization["sync"], PLAIN, MaskSource.auto
    )
    multi["initialization"] = Initialization[multi["initialization"]]
    multi["activation"] = Activation[multi["activation"]]
    multi["norm_axes"] = NormAxes[multi["norm_axes"]]
    assert settings.network == Multi(**{key: multi[key] for key in multi if key != "defaults"})
    for key in ("steps", "episodes", "train_every", "updates_per_train", "gamma", "seed"):
        assert getattr(settings, key) == written[key]
    assert (settings.dtype, settings.device) == (Precision.float32, Device.auto)
    assert (settings.threads, settings.log.every) == ("auto", written["log"]["every"])
    assert settings.compile == "auto"


@pytest.mark.parametrize("choice", ["MountainCar-v0", "Acrobot-v1", "LunarLander-v3"])
def test_the_command_line_wins_over_the_environments_file_and_that_over_the_rest(
    settings_of: Compose, choice: str
) -> None:
    assert settings_of("env=Blackjack-v1").steps == in_file("config")["steps"]
    assert settings_of(f"env={choice}").steps == in_file(f"env/{choice}")["steps"]
    assert settings_of(f"env={choice}", "steps=7").steps == 7
    assert settings_of("steps=7", f"env={choice}").steps == 7


@pytest.mark.parametrize("choice", ["MountainCar-v0", "Acrobot-v1", "LunarLander-v3"])
def test_the_command_line_wins_over_tuned_settings_and_those_over_the_rest(
    settings_of: Compose, choice: str
) -> None:
    tuned = in_file(f"tuned/{choice}/any")["train_every"]
    assert settings_of(f"env={choice}").train_every == tuned
    assert (
        settings_of(f"env={choice}", "tuned=none").train_every == in_file("config")["train_every"]
    )
    assert settings_of(f"env={choice}", "train_every=7").train_every == 7
    assert settings_of("experiment=no_replay", f"env={choice}").train_every == 1


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        ((), "set env.min_return=NUMBER and env.max_return=NUMBER"),
        (("env.max_return=1",), "set env.min_return=NUMBER, or"),
        (("head.v_min=0",), "set env.max_return=NUMBER, or"),
    ],
)
def test_an_unknown_support_of_c51_says_what_to_set(
    settings_of: Compose, words: tuple[str, ...], unknown: str
) -> None:
    with pytest.raises(ConfigError, match=unknown):
        settings_of("agent=rainbow", "env=Blackjack-v1", *words)


def test_the_support_of_c51_is_that_of_the_environment_or_the_one_typed(
    settings_of: Compose,
) -> None:
    def support(*words: str) -> tuple[Any, Any]:
        head: Any = settings_of("agent=c51", *words).head
        return head.v_min, head.v_max

    env = in_file("env/CartPole-v1")["env"]
    assert support("env=CartPole-v1") == (env["min_return"], env["max_return"])
    assert support("env=Blackjack-v1", "env.min_return=-1", "env.max_return=1") == (-1, 1)
    assert support("env=Blackjack-v1", "head.v_min=-2", "head.v_max=2") == (-2, 2)
    assert support("env=CartPole-v1", "head.v_max=7") == (env["min_return"], 7)
    assert support("experiment=rainbow_atari", "env=CartPole-v1") == (-10, 10)


@pytest.mark.parametrize(
    ("overrides", "update", "dueling"),
    [
        ([], Dqn, False),
        (["agent=double"], Double, False),
        (["agent=dueling"], Dqn, True),
        (["agent=d3qn"], Double, True),
        (["agent=d3qn", "update=dqn"], Dqn, True),
        (["network=mlp", "agent=d3qn"], Double, True),  # the streams are the agent's choice
        (["agent=d3qn", "network.dueling=false"], Double, False),
    ],
)
def test_an_agent_is_a_choice_of_parts_and_the_command_line_wins_over_it(
    settings_of: Compose, overrides: list[str], update: type[Any], dueling: bool
) -> None:
    settings = settings_of(*overrides)
    assert type(settings.update) is update
    assert isinstance(settings.network, Mlp)
    assert settings.network.dueling is dueling


@pytest.mark.parametrize(
    ("overrides", "batch_size"),
    [
        (["env=mine"], 7),
        (["env=mine", "agent=mine"], 8),
        (["env=mine", "agent=mine", "+experiment=mine"], 9),
        (["+experiment=mine", "agent=mine", "env=mine"], 9),
        (["experiment=mine", "agent=mine", "env=mine"], 9),
        (["env=mine", "agent=mine", "+experiment=mine", "replay.batch_size=10"], 10),
    ],
)
def test_files_win_over_each_other_in_the_order_that_is_documented(
    tmp_path: Path, settings_of: Compose, overrides: list[str], batch_size: int
) -> None:
    for group, size in (("env", 7), ("agent", 8), ("experiment", 9)):
        env = "env:\n  id: CartPole-v1\n" if group == "env" else ""
        file = tmp_path / group / "mine.yaml"
        file.parent.mkdir()
        file.write_text(f"# @package _global_\n{env}replay:\n  batch_size: {size}\n")
    folder = f"hydra.searchpath=[file://{tmp_path}]"
    assert settings_of(folder, *overrides).replay.batch_size == batch_size


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("steps=1e6", "steps", 1_000_000),
        ("steps=3.0", "steps", 3),
        ("episodes=2e2", "episodes", 200),
        ("episodes=null", "episodes", None),
        ("gamma=1", "gamma", 1.0),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.max_grad_norm=null", "optimizer.max_grad_norm", None),
        ("optimizer.max_grad_norm=5", "optimizer.max_grad_norm", 5.0),
        ("network.widths=[]", "network.widths", []),
        ("network.widths=[1e2,3]", "network.widths", [100, 3]),
        ("threads=3", "threads", 3),
        ("device=cpu", "device", Device.cpu),
        ("compile=auto", "compile", "auto"),
        ("compile=true", "compile", True),
        ("compile=False", "compile", False),
        ("+env.kwargs.gravity=2", "env.kwargs", {"gravity": 2}),
        ("+env.kwargs.sizes=[1,{a: 2}]", "env.kwargs", {"sizes": [1, {"a": 2}]}),
    ],
)
def test_values_arrive_as_the_type_that_they_are_used_as(
    settings_of: Compose, override: str, key: str, value: Any
) -> None:
    found: Any = settings_of(override)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in found] == [type(item) for item in value]


@pytest.mark.parametrize("override", ["optimizer.lr=[1,2]", "steps=[1]"])
def test_a_list_is_no_number(settings_of: Compose, override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}=.*must be a"):
        settings_of(override)


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ("[[0,1],[1e3,0.5]]", [[0.0, 1.0], [1000.0, 0.5]]),
        ("[[5,0.1]]", [[5.0, 0.1]]),
    ],
)
def test_lists_of_lists_are_checked_to_the_bottom(
    settings_of: Compose, points: str, found: list[list[float]]
) -> None:
    words = ("exploration=piecewise", f"exploration.points={points}")
    exploration: Any = settings_of(*words).exploration
    assert exploration.points == found
    assert {type(number) for point in exploration.points for number in point} == {float}


def test_a_part_is_its_dataclass(settings_of: Compose) -> None:
    settings = settings_of("optimizer=sgd", "optimizer.lr=2", "optimizer.schedule=linear")
    assert settings.optimizer == Sgd(2.0, Schedule.linear, 10.0, 0.0)
