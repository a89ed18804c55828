from __future__ import annotations

import warnings

import pytest
from omegaconf import OmegaConf

from dqn_cli.config.hydra_versions import (
    CREATED_OBJECTS,
    compose_config,
    is_before_1_4,
    main_arguments,
    register_resolver,
)
from dqn_cli.config.run_folders import ClaimFolders


@pytest.mark.parametrize(
    ("version", "is_before"),
    [("1.3.8", True), ("1.3.10", True), ("1.4.0rc3", False), ("1.4.0", False), ("1.30.0", False)],
)
def test_versions_are_told_apart(version: str, is_before: bool) -> None:
    assert is_before_1_4(version) is is_before


@pytest.mark.usefixtures("settings_of")
def test_a_configuration_is_composed_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compose_config(["env=CartPole-v1", "seed=7"]).seed == 7
        main_arguments()


def test_a_resolver_is_registered_again_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_resolver("hydra_versions_test", lambda: 1)
        register_resolver("hydra_versions_test", lambda: 2)
    assert OmegaConf.create({"a": "${hydra_versions_test:}"}).a == 2


def test_the_callback_of_the_configuration_may_be_created() -> None:
    assert f"{ClaimFolders.__module__}.{ClaimFolders.__name__}" in CREATED_OBJECTS
