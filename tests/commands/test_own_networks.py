"""`network=module` from the command line: training, evaluation, resuming, and wrong words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dqn_cli
from dqn_cli.config.validation import ConfigError

Type = Callable[..., int]

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, observation_shape, width=4):
        super().__init__()
        self.layer = nn.Linear(observation_shape[0], width)

    def forward(self, obs):
        return self.layer(obs).tanh()
"""
MINE = "defaults: [module]\n\npath: my_nets:Net\nkwargs: {width: 6}\n"
SHORT = ("steps=60", "learning_starts=20", "eval.every=30", "eval.episodes=2", "tuned=none")
UNNAMED = (
    "error: the network my_nets:Net imports my_nets, which a checkpoint may not do by itself:"
    " add import=my_nets"
)


@pytest.fixture
def my_nets(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (in_folder / "my_nets.py").write_text(NET)
    (in_folder / "mine" / "network").mkdir(parents=True)
    (in_folder / "mine" / "network" / "net.yaml").write_text(MINE)
    monkeypatch.syspath_prepend(in_folder)
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    return in_folder


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_module_is_trained_evaluated_and_resumed_only_where_it_is_named(
    my_nets: Path,
    type_train: Type,
    type_eval: Type,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("--config-dir", "mine", "network=net", "hydra.run.dir=run")
    assert type_train(*words, *SHORT) == 0
    assert capsys.readouterr().out.strip().endswith("checkpoint=run import=my_nets")
    policy = dqn_cli.load_policy("run")
    assert policy(np.zeros(4, np.float32)) in (0, 1)
    monkeypatch.delitem(sys.modules, "my_nets")
    with pytest.raises(ConfigError, match=r"^the network my_nets:Net imports my_nets"):
        dqn_cli.load_policy("run")
    assert type_eval("checkpoint=run", "episodes=1") == 1
    assert last_line(capsys) == UNNAMED
    assert type_train("resume=run", "steps=70") == 1
    assert last_line(capsys) == UNNAMED
    assert "my_nets" not in sys.modules
    assert type_eval("checkpoint=run", "episodes=1", "import=my_nets") == 0
    assert type_train("resume=run", "steps=70", "import=my_nets") == 0
    assert "finished 70 steps" in capsys.readouterr().out


def test_wrong_words_say_what_would_be_right(
    my_nets: Path, type_train: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "network.path=my_nets:Net"
    for words, line in {
        (): "network.path is not set: give it a value, network.path=...",
        ("network.path=my_nets",): "network.path=my_nets is not of the form my_package:MyNet",
        (path, "network.kwargs.width=3"): (
            "unknown key network.kwargs.width: add an argument of your class with a plus,"
            " +network.kwargs.width=..."
        ),
        (path, "+network.kwargs.depth=3"): (
            f"{path}: Net(observation_shape, depth=3) raised TypeError: Net.__init__() got an"
            " unexpected keyword argument 'depth'"
        ),
    }.items():
        assert type_train("network=module", *words, *SHORT) == 1
        assert last_line(capsys) == f"error: {line}"
