from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.commands.arguments import (
    config_dir_arguments,
    config_folders,
    split_imports,
    without_plus,
)


@pytest.mark.parametrize(
    ("argument", "modules"),
    [("import=[a,b.c]", ["a", "b.c"]), ("import=a", ["a"]), ("import=['a', 'b']", ["a", "b"])],
)
def test_imports_are_told_from_other_words(argument: str, modules: list[str]) -> None:
    assert split_imports(["steps=3", argument]) == (modules, ["steps=3"])


def test_no_import_is_no_module() -> None:
    assert split_imports(["import=[]", "steps=3"]) == ([], ["steps=3"])


@pytest.mark.parametrize("typed", ["experiment=a,b", "+experiment=a,b", "++experiment=a,b"])
def test_an_experiment_loses_its_plus(typed: str) -> None:
    assert without_plus(["-m", typed, "seed=1"]) == ["-m", "experiment=a,b", "seed=1"]


@pytest.mark.parametrize("word", ["+env.kwargs.experiment=a", "+experiments=a", "~experiment"])
def test_all_other_words_stay(word: str) -> None:
    assert without_plus([word]) == [word]


@pytest.mark.parametrize(
    "flags", [["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]]
)
def test_a_folder_of_ones_own_is_found_however_its_flag_is_spelled(
    in_folder: Path, flags: list[str]
) -> None:
    assert config_folders(["seed=1", *flags, "-m"]) == [f"file://{in_folder}/mine"]
    assert config_dir_arguments(["seed=1", *flags, "-m"]) == ["--config-dir", "mine"]


def test_folders_of_the_search_path_come_after_that_of_the_flag(in_folder: Path) -> None:
    typed = ["hydra.searchpath=[file://a,'pkg://b']", "--config-dir", "mine"]
    assert config_folders(typed) == [f"file://{in_folder}/mine", "file://a", "pkg://b"]
    assert config_folders(["seed=1"]) == []


def test_a_flag_without_its_folder_names_none() -> None:
    assert config_folders(["--config-dir"]) == []
