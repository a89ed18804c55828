from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dqn_cli.config.errors import explain
from dqn_cli.config.stored_settings import CHANGEABLE, acting_settings, stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Device, Settings, plain

Compose = Callable[..., Settings]


@pytest.mark.parametrize(
    "overrides",
    [
        ["episodes=10", "exploration.unit=episodes", "threads=2", "device=cpu", "dtype=float64"],
        ["compile=true"],
        ["compile=false", "device=cuda"],
        ["optimizer.max_grad_norm=null", "network.widths=[]", "env.vectorization=async"],
        ["network=table", "network.low=[-1,-2.5]", "network.high=[1,2]"],
        ["exploration=piecewise", "exploration.points=[[0,1],[10,0.5]]"],
        ["+env.kwargs.gravity=2", "+env.kwargs.nested={a: [1, {b: null}], c: x}"],
        ["+env.kwargs.type=strong"],
        ["+eval.env.kwargs.gravity=2", "stop.at=100", "stop.patience=3", "log.info=[a,b.c]"],
        ["eval.every=null"],
        ["+env.kwargs.motor={type: strong}"],
    ],
)
def test_every_value_comes_back_as_it_was(settings_of: Compose, overrides: list[str]) -> None:
    settings = settings_of(*overrides)
    assert stored_settings(plain(settings)) == settings


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("steps=2e5", "steps", 200_000),
        ("episodes=7", "episodes", 7),
        ("device=cpu", "device", Device.cpu),
        ("threads=2", "threads", 2),
        ("threads=auto", "threads", "auto"),
        ("eval.every=5", "eval.every", 5),
        ("log.every=6", "log.every", 6),
        ("eval.every=null", "eval.every", None),
        ("log.info=[lives]", "log.info", ["lives"]),
        ("stop.at=-3", "stop.at", -3.0),
        ("stop.patience=4", "stop.patience", 4),
        ("+eval.env.kwargs.gravity=2", "eval.env.kwargs", {"gravity": 2}),
        ("eval.env.kwargs.gravity=[1,x]", "eval.env.kwargs", {"gravity": [1, "x"]}),
        ("checkpoint.keep=3", "checkpoint.keep", 3),
        ("checkpoint.replay=false", "checkpoint.replay", False),
    ],
)
def test_only_the_overridden_keys_change(
    settings_of: Compose, override: str, key: str, value: Any
) -> None:
    data = plain(settings_of())
    expected = plain(stored_settings(data))
    changed = plain(stored_settings(data, [override]))
    *parents, name = key.split(".")
    for tree in (expected, changed):
        for parent in parents:
            tree = tree[parent]
        if tree is not None and name in tree:
            found = tree[name]
            del tree[name]
    assert found == (value.name if isinstance(value, Device) else value)
    assert changed == expected


def test_a_limit_on_episodes_can_be_lifted(settings_of: Compose) -> None:
    data = plain(settings_of("episodes=7"))
    assert stored_settings(data, ["episodes=null"]).episodes is None


@pytest.mark.parametrize(
    "override",
    [
        "gamma=0.5",
        "seed=1",
        "env.id=Acrobot-v1",
        "network.widths=[1]",
        "replay.capacity=5",
        "dtype=float64",
        "compile=true",
        "compile=auto",
        "learning_starts=1",
        "nonsense=1",
        "+steps=1",
        "~steps",
        "steps",
    ],
)
def test_other_keys_may_not_change(settings_of: Compose, override: str) -> None:
    with pytest.raises(ConfigError, match=r"only steps, episodes, .* can") as caught:
        stored_settings(plain(settings_of()), [override])
    assert str(caught.value).startswith(override.partition("=")[0])


def test_a_compiled_run_stays_on_the_cpu(settings_of: Compose) -> None:
    data = plain(settings_of("compile=true"))
    assert stored_settings(data, ["device=cpu"]).compile is True
    with pytest.raises(ConfigError, match=r"compile=true is only for the CPU: device=cuda"):
        stored_settings(data, ["device=cuda"])


def test_the_time_limit_of_an_environment_may_change(settings_of: Compose) -> None:
    data = plain(settings_of("env.timeout=5"))
    assert stored_settings(data, ["env.timeout=60"]).env.timeout == 60
    assert stored_settings(data, ["env.timeout=null"]).env.timeout is None
    with pytest.raises(ConfigError, match=r"env\.num_envs can't change"):
        stored_settings(data, ["env.num_envs=2"])


def test_only_keys_that_do_not_affect_past_steps_may_change() -> None:
    assert set(CHANGEABLE) == {
        "steps",
        "episodes",
        "device",
        "threads",
        "env.timeout",
        "eval",
        "stop",
        "log",
        "checkpoint",
        "logger",
        "data.path",
        "video",
    }


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("eval.evry=3", ["unknown key eval.evry"]),
        ("steps.x=3", ["steps"]),
        ("logger=[]", ["only their keys can change, as logger.NAME.KEY=VALUE"]),
        ("steps=0", ["steps=0", "at least 1"]),
        ("steps=", ["steps=", "at least 0"]),
        ("eval=3", ["eval=3 is not valid: eval has keys of its own, eval.every, eval.episodes"]),
        ("stop=null", ["stop=null is not valid", "stop.at"]),
        ("checkpoint=[1]", ["checkpoint has keys of its own", "checkpoint.every"]),
        ("logger=[csv]", ["logger=[csv]: a resumed run keeps its loggers, and has tensorboard"]),
        ("logger.csv.x=1", ["unknown key logger.csv.x"]),
        ("device=tpu", ["device", "auto, cpu, cuda, mps"]),
        ("threads=0", ["threads=0", "auto"]),
        ("checkpoint.keep=-1", ["checkpoint.keep=-1", "at least 0"]),
        ("steps=[1", ["steps"]),
    ],
)
def test_a_bad_change_is_explained_in_one_line(
    settings_of: Compose, override: str, words: list[str]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        stored_settings(plain(settings_of()), [override])
    line = explain(caught.value)
    assert [word for word in words if word not in line] == []
    assert "\n" not in line


def test_a_part_that_is_not_known_here_says_how_to_import_it(settings_of: Compose) -> None:
    data = plain(settings_of())
    data["network"] = {"type": "Transformer", "heads": 8}
    with pytest.raises(ConfigError, match=r"uses Transformer.*import=\[package\]"):
        stored_settings(data)


def test_acting_needs_no_package_of_parts_that_only_learn(settings_of: Compose) -> None:
    data = plain(settings_of("auxiliary=[cql,rnd]", "logger=[tensorboard,csv]"))
    data["auxiliary"]["rnd"]["type"] = "Theirs"
    data["logger"]["csv"]["type"] = "TheirLog"
    data["augment"] = {"type": "TheirNoise", "scale": 0.5}
    with pytest.raises(ConfigError, match=r"Their.* unknown here; name its package"):
        stored_settings(data)
    settings = acting_settings(data)
    assert list(settings.auxiliary) == ["cql"]
    assert list(settings.logger) == ["tensorboard"]
    assert settings.augment.numbers == 0
    data["head"]["type"] = "TheirHead"
    with pytest.raises(ConfigError, match="TheirHead, which is unknown here"):
        acting_settings(data)
