from __future__ import annotations

from collections.abc import Callable

from dqn_cli.runs.hyperparameters import EXCLUDED, hyperparameters
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_every_key_is_flat_and_every_value_a_scalar(settings_of: Compose) -> None:
    settings = settings_of("env=CartPole-v1", "auxiliary=counts", "+env.kwargs.a={b:2}", "seed=3")
    found = hyperparameters(settings)
    assert {type(value) for value in found.values()} <= {bool, int, float, str}
    wanted = {
        "env.id": "CartPole-v1",
        "env.kwargs.a.b": 2,
        "network.widths": "[256, 256]",
        "optimizer.type": "Adam",
        "reset.every": "None",
        "seed": 3,
    }
    assert wanted.items() <= found.items()
    assert "env.type" not in found  # it has no other
    assert not {key.partition(".")[0] for key in found} & set(EXCLUDED)


def test_a_choice_within_a_part_is_named_by_its_type(settings_of: Compose) -> None:
    found = hyperparameters(settings_of("env=CarRacing-v3", "protocol=image", "env.kwargs={}"))
    assert found["env.preprocess.type"] == "Images"
    assert found["env.preprocess.size"] == 84


def test_parts_that_are_as_by_default_are_left_out(settings_of: Compose) -> None:
    found = hyperparameters(settings_of("env=CartPole-v1"))
    absent = ("anneal.", "auxiliary.", "env.kwargs.")
    assert not [key for key in found if key.startswith(absent)]


def test_a_part_that_is_set_is_shown_with_all_its_numbers(settings_of: Compose) -> None:
    found = hyperparameters(settings_of("env=CartPole-v1", "anneal.n_step.start=10"))
    assert {key: value for key, value in found.items() if key.startswith("anneal.")} == {
        "anneal.n_step.start": 10,
        "anneal.n_step.duration": 1,
        "anneal.n_step.shape": "exponential",
    }
