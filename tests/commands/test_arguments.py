from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.commands.arguments import (
    config_folders,
    flags_first,
    hydra_words,
    module_folders,
    split_config_dirs,
    split_imports,
)
from dqn_cli.storage import load_checkpoint


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
    assert hydra_words(["-m", typed, "seed=1"]) == ["-m", "experiment=a,b", "seed=1"]


@pytest.mark.parametrize("typed", ["search=dqn", "+search=dqn"])
def test_a_search_has_a_plus_however_it_is_typed(typed: str) -> None:
    assert hydra_words(["-m", typed, "seed=1"]) == ["-m", "+search=dqn", "seed=1"]


@pytest.mark.parametrize("word", ["+env.kwargs.experiment=a", "+experiments=a", "~experiment"])
def test_all_other_words_stay(word: str) -> None:
    assert hydra_words([word]) == [word]


@pytest.mark.parametrize(
    ("typed", "hydras"),
    [
        ("[{a.b:C: {k: 1}}, d:E]", r"[{a.b\:C: {k: 1}}, d:E]"),
        ("[{'a.b:C': {k: 1}}]", r"[{a.b\:C: {k: 1}}]"),
        ("[a:B,{c:D:{k: x}}],[]", r"[a:B,{c\:D:{k: x}}],[]"),
        ("[a:B, c:D]", "[a:B, c:D]"),
    ],
)
def test_a_class_with_arguments_may_be_a_key_of_wrappers(typed: str, hydras: str) -> None:
    words = [f"env.wrappers={typed}", f"+env.kwargs.x={typed}"]
    assert hydra_words(words) == [f"env.wrappers={hydras}", words[1]]


@pytest.mark.parametrize(
    "flags", [["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]]
)
def test_a_folder_of_ones_own_is_found_however_its_flag_is_spelled(
    in_folder: Path, flags: list[str]
) -> None:
    assert config_folders(["seed=1", *flags, "-m"]) == [f"file://{in_folder}/mine"]
    assert split_config_dirs(["seed=1", *flags, "-m"]) == (["mine"], ["seed=1", "-m"])


def test_folders_of_the_search_path_come_after_that_of_the_flag(in_folder: Path) -> None:
    typed = ["hydra.searchpath=[file://a,'pkg://b']", "--config-dir", "mine"]
    assert config_folders(typed) == [f"file://{in_folder}/mine", "file://a", "pkg://b"]
    assert config_folders(["seed=1"]) == []


def test_a_flag_without_its_folder_names_none() -> None:
    assert config_folders(["--config-dir"]) == []


def test_flags_may_stand_anywhere() -> None:
    words = ["seed=1,2", "-m", "gamma=1", "-cd", "mine", "steps=9"]
    assert flags_first(words) == ["-m", "--config-dir", "mine", "seed=1,2", "gamma=1", "steps=9"]
    assert flags_first(["seed=1", "--cfg", "job"]) == ["seed=1", "--cfg", "job"]


Typed = Callable[..., int]
SMALL = ("steps=40", "learning_starts=20", "eval.episodes=1", "network.widths=[4]")


@pytest.fixture
def own_files(in_folder: Path) -> Path:
    """A folder of YAML files for an environment, a network and an experiment."""
    for name, text in (
        ("env/Blackjack-v1", "# @package _global_\nenv:\n  id: Blackjack-v1\ngamma: 0.5\n"),
        ("network/tiny", "defaults: [mlp]\nwidths: [3]\n"),
        ("experiment/own", "# @package _global_\ngamma: 0.25\n"),
        ("experiment/other", "# @package _global_\ngamma: 0.75\n"),
    ):
        file = in_folder / "mine" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return in_folder / "mine"


def settings_in(run: Path) -> dict[str, object]:
    settings: dict[str, object] = load_checkpoint(run / "checkpoints" / "last")["settings"]
    return settings


FOLDER = ["--config-dir mine", "--config-dir=mine", "hydra.searchpath=[file://mine]"]


@pytest.mark.parametrize("folder", FOLDER)
def test_files_of_ones_own_and_gymnasium_ids_are_found_together(
    type_train: Typed, own_files: Path, in_folder: Path, folder: str
) -> None:
    words = [*SMALL[:-1], "network=tiny", *folder.split()]
    assert type_train("env=Blackjack-v1", *words, "hydra.run.dir=own") == 0
    assert type_train("env=FrozenLake-v1", *words, "hydra.run.dir=bare") == 0
    assert settings_in(in_folder / "own")["gamma"] == 0.5
    assert settings_in(in_folder / "bare")["gamma"] == 0.99


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=population"]], ids=["basic", "groups"])
@pytest.mark.parametrize("folder", FOLDER)
def test_jobs_of_a_sweep_find_them_too(
    type_train: Typed, own_files: Path, in_folder: Path, folder: str, launcher: list[str]
) -> None:
    words = [*SMALL, "-m", "env=Blackjack-v1,FrozenLake-v1", *folder.split(), *launcher]
    assert type_train(*words, "hydra.sweep.dir=sweep") == 0
    own, bare = sorted((in_folder / "sweep").glob("*/"))
    assert (settings_in(own)["gamma"], settings_in(bare)["gamma"]) == (0.5, 0.99)


@pytest.mark.parametrize("key", ["experiment", "+experiment"])
def test_an_experiment_is_named_with_or_without_a_plus(
    type_train: Typed, own_files: Path, in_folder: Path, key: str
) -> None:
    words = (f"{key}=own", "--config-dir", "mine", *SMALL)
    assert type_train(*words, "hydra.run.dir=run") == 0
    result = json.loads((in_folder / "run" / "result.json").read_text())
    assert "experiment=own" in result["overrides"]
    assert settings_in(in_folder / "run")["gamma"] == 0.25
    assert type_train("resume=run", "steps=60") == 0
    assert settings_in(in_folder / "run")["gamma"] == 0.25


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=population"]], ids=["basic", "groups"])
@pytest.mark.parametrize("key", ["experiment", "+experiment"])
def test_experiments_are_swept_with_or_without_a_plus(
    type_train: Typed, own_files: Path, in_folder: Path, key: str, launcher: list[str]
) -> None:
    words = ("-m", f"{key}=own,other", "--config-dir", "mine", *SMALL, *launcher)
    assert type_train(*words, "hydra.sweep.dir=sweep") == 0
    assert type_train("resume=sweep", "steps=60") == 0
    with (in_folder / "sweep" / "sweep.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["job"])
    assert [row["experiment"] for row in rows] == ["own", "other"]
    runs = sorted((in_folder / "sweep").glob("*/"))
    assert [settings_in(run)["gamma"] for run in runs] == [0.25, 0.75]
    assert [run.name.startswith(f"{n}_experiment-") for n, run in enumerate(runs)] == [True, True]


def test_the_yaml_files_of_imported_packages_are_found(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(in_folder))
    for name in ("package_with_configs", "package_without"):
        (in_folder / name).mkdir()
        (in_folder / name / "__init__.py").touch()
    (in_folder / "package_with_configs" / "configs").mkdir()
    (in_folder / "only_a_module.py").touch()
    modules = ["package_with_configs", "package_without", "only_a_module"]
    for name in modules:
        importlib.import_module(name)
    assert module_folders(modules) == [f"file://{in_folder}/package_with_configs/configs"]
