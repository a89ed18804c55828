"""Training until a return is reached: `pytest -m slow`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Typed = Callable[..., int]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("words", "enough"),
    [
        (["env=CartPole-v1", "seed=0"], 475),
        (["env=CartPole-v1", "seed=1", "agent=d3qn"], 475),
        (["env=Acrobot-v1"], -85),
        (["env=MountainCar-v0"], -115),
        (["env=LunarLander-v3"], 200),
        (["+experiment=soft-huber"], 1.09),
        (["+experiment=hard-mse-exponential"], 150),
    ],
)
def test_the_shipped_settings_learn(
    type_train: Typed, type_eval: Typed, in_folder: Path, words: list[str], enough: float
) -> None:
    assert type_train(*words, "hydra.run.dir=run") == 0
    assert type_eval("checkpoint=run") == 0
    evaluation = json.loads((in_folder / "run" / "checkpoints" / "evaluation.json").read_text())
    assert evaluation["mean"] >= enough
