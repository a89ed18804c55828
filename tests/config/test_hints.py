from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.agent.networks import Mlp
from dqn_cli.config import registry
from dqn_cli.config.hints import SYNONYMS, did_you_mean, unknown_key
from dqn_cli.training.settings import Settings, plain


def test_similar_words_are_suggested() -> None:
    assert did_you_mean("widht", ["width", "depth"]) == "; did you mean width?"
    assert did_you_mean("widht", ["width", "widths", "width"]) == "; did you mean width or widths?"
    assert did_you_mean("pong", ["ALE/Pong-v5", "CartPole-v1"]) == "; did you mean ALE/Pong-v5?"
    assert did_you_mean("zzz", ["width"]) == ""


def test_an_unknown_key_lists_the_known_keys() -> None:
    assert unknown_key("network.dualing", Mlp) == (
        "unknown key network.dualing: network is Mlp and has widths, layer_norm, spectral_norm,"
        " dueling, noisy, sigma, initialization, activation, norm_affine, skip; did you mean"
        " dueling?"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "optimizer.lr"),
        ("widths", "network.widths"),
        ("batch_size", "replay.batch_size"),
        ("alpha", "update.alpha or replay.alpha"),  # of a choice that is not the default
        ("num_envs", "env.num_envs"),
        ("learning_rate", "optimizer.lr"),
        ("step", "steps or stop.step"),
        ("experiments", "experiment"),
        ("agents", "agent or augment or target"),
    ],
)
def test_an_unknown_key_of_the_run_is_suggested_from_its_parts(key: str, meant: str) -> None:
    registry.register_schemas()  # choices are known once their modules are imported
    assert unknown_key(key, Settings).endswith(f"; did you mean {meant}?")


def test_within_a_part_only_its_own_keys_are_suggested() -> None:
    assert "did you mean" not in unknown_key("network.lr", Mlp)


@pytest.mark.parametrize("meant", sorted(set(SYNONYMS.values())))
def test_synonyms_name_existing_keys(settings_of: Callable[..., Settings], meant: str) -> None:
    found = plain(settings_of())
    for name in meant.split("."):
        found = found[name]
