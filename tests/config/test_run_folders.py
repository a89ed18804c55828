from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dqn_cli.config.run_folders import (
    LONGEST_NAME,
    claim,
    job_folder,
    run_folder,
    sweep_folder,
)
from dqn_cli.config.validation import ConfigError

NASTY = [
    ["network.widths=[64,64]", "+env.kwargs.map='a b/c'"],
    ["env=my_module:My/Env-v0", "a=../../../etc/passwd"],
    ["naïve=ü", "x=\n\t\0", "y=$HOME;rm -rf ~", "z=a\\b"],
    [f"key_{number}=value_{number}" for number in range(60)],
    ["x=" + "é" * 300],
    ["..=.."],
    ["-=-"],
    [""],
    [],
]

Named = Callable[[list[str]], str]

NAMES: dict[str, Named] = {
    "run": lambda overrides: run_folder("phys2d/CartPole-v1", overrides),
    "run of a module": lambda overrides: run_folder("../my module:" + "My" * 90, overrides),
    "sweep": lambda overrides: sweep_folder("CartPole-v1", [f"{o},1" for o in overrides]),
    "job": lambda overrides: "outputs/" + job_folder(7, overrides),
}


@pytest.mark.parametrize("overrides", NASTY)
@pytest.mark.parametrize("named", NAMES.values(), ids=list(NAMES))
def test_names_are_safe_and_short(named: Named, overrides: list[str]) -> None:
    head, _, name = named(overrides).partition("/")
    assert head == "outputs"
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert name[0] not in ".-"
    assert len(f"{name}_999") <= LONGEST_NAME == 120


def test_a_run_is_named_by_its_environment_overrides_and_time() -> None:
    name = run_folder("CartPole-v1", ["env=CartPole-v1", "agent=d3qn", "optimizer.lr=3e-4"])
    expected = r"outputs/CartPole-v1_agent-d3qn_optimizer\.lr-3e-4_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
    assert re.fullmatch(expected, name)


def test_a_sweep_is_named_by_what_is_swept() -> None:
    name = sweep_folder("CartPole-v1", ["seed=1,2", "gamma=0.9", "agent=dqn,d3qn"])
    assert name.startswith("outputs/CartPole-v1_sweep_seed_agent_")


def test_a_job_is_named_by_its_number_and_overrides() -> None:
    assert job_folder(3, ["env=CartPole-v1", "seed=1"]) == "3_env-CartPole-v1_seed-1"
    assert job_folder(3, []) == "3"


def test_long_names_that_differ_only_at_the_end_still_differ() -> None:
    common = [f"key_{number}=value_{number}" for number in range(60)]
    assert job_folder(1, [*common, "seed=1"]) != job_folder(1, [*common, "seed=2"])


def test_twenty_claims_of_one_name_are_twenty_folders(tmp_path: Path) -> None:
    wanted = tmp_path / "outputs" / "run"
    with ThreadPoolExecutor(20) as pool:
        claimed = list(pool.map(lambda _: claim(wanted, typed=False), range(20)))
    assert len(set(claimed)) == 20
    assert set(wanted.parent.iterdir()) == set(claimed)
    assert {folder.name for folder in claimed} == {"run", *(f"run_{n}" for n in range(2, 21))}


@pytest.mark.parametrize("content", [".hydra", "multirun.yaml"])
def test_a_typed_folder_that_holds_a_run_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / content).mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path} holds a run already") as caught:
        claim(tmp_path, typed=True)
    assert f"resume={tmp_path}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_typed_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    assert claim(folder, typed=True) == folder
    (folder / "notes.txt").write_text("mine")
    assert claim(folder, typed=True) == folder
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("typed", [True, False])
def test_a_folder_that_can_not_be_created_is_an_error_with_its_reason(
    tmp_path: Path, typed: bool
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"can't write to .*file/run: \w+"):
        claim(file / "run", typed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        claim(tmp_path / "run", typed=False)
