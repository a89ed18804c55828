from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from dqn_cli.agent.activations import Activation
from dqn_cli.training.build_run import build_run
from dqn_cli.training.settings import Settings

X = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation.relu, [0, 0, 3]),
        (Activation.leaky_relu, [-0.02, 0, 3]),
        (Activation.gelu, [gelu(-2), 0, gelu(3)]),
    ],
)
def test_an_activation_by_hand(activation: Activation, expected: list[float]) -> None:
    assert activation(X).tolist() == pytest.approx(expected)


PICTURES = "env=MinAtar/Breakout-v1"


@pytest.mark.parametrize(
    "network",
    ["mlp", "dueling", "gru", "minatar network.channels=[2]", "hadamax_small network.channels=[2]"],
)
def test_every_hidden_layer_has_the_activation(
    settings_of: Callable[..., Settings], network: str
) -> None:
    """With negative weights alone, layers of ReLU are silent, and leaky ones are not."""
    pytest.importorskip("minatar")
    words = (PICTURES, f"network={network}", "network.widths=[5,4]", "compile=false")
    found = {}
    for name in ("relu", "leaky_relu"):
        settings = settings_of(*" ".join(words).split(), f"network.activation={name}")
        (agent,), run = build_run([settings])
        parameters = -run.learner.state.parameters[0].abs()
        obs = torch.ones(1, *agent.spaces.observation_shape)
        state = torch.zeros(1, agent.model.state_size)
        found[name], _ = agent.act(parameters, obs, state, torch.zeros(0))
        run.envs.close()
    assert not found["relu"].equal(found["leaky_relu"])
