from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dqn_cli.config.current_command import Command
from dqn_cli.config.run_folders import (
    LONGEST_NAME,
    claim,
    hydra_folder,
    job_folder,
    run_folder,
    sweep_folder,
)
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.locks import InUse

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


def hold_run(folder: Path, content: str) -> None:
    (folder / content).parent.mkdir(parents=True, exist_ok=True)
    (folder / content).write_text(
        '{"status": "finished", "overrides": [], "best": null, "seconds": {"total": 1.0}}'
    )


CONTENTS = [".hydra/plan", "checkpoints/last", "checkpoints/best", "result.json"]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_typed_folder_that_holds_a_run_is_refused(tmp_path: Path, content: str) -> None:
    hold_run(tmp_path, content)
    for is_sweep in (False, True):
        with pytest.raises(ConfigError, match=f"{tmp_path} holds a run already") as caught:
            claim(tmp_path, typed=True, is_sweep=is_sweep)
        assert f"resume={tmp_path}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("is_sweep", [False, True])
def test_a_typed_folder_that_holds_jobs_is_refused_whatever_began_them(
    tmp_path: Path, content: str, is_sweep: bool
) -> None:
    hold_run(tmp_path / "1_seed-1", content)
    with pytest.raises(ConfigError, match=f"{tmp_path} holds the runs of a sweep already"):
        claim(tmp_path, typed=True, is_sweep=is_sweep)


def test_a_folder_beside_other_runs_is_no_sweep(tmp_path: Path) -> None:
    hold_run(tmp_path / "first", ".hydra/plan")
    with Command.begin([]):
        assert claim(tmp_path, typed=True) == tmp_path


def test_what_a_command_left_that_never_began_refuses_none(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text("")
    empty = tmp_path / "sweep" / "1_a-2"
    empty.mkdir(parents=True)
    for run in (tmp_path / "sweep" / "0_a-1", tmp_path / "run"):
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra" / "config.yaml").write_text("")
        (run / ".hydra" / ".plan.99.tmp").write_text("")
        (run / "checkpoints").mkdir()
        (run / "mine.txt").write_text("")
    for folder, is_sweep in ((tmp_path / "sweep", True), (tmp_path / "run", False)):
        with Command.begin([]):
            assert claim(folder, typed=True, is_sweep=is_sweep) == folder
    for run in (tmp_path / "sweep" / "0_a-1", tmp_path / "run"):
        assert [file.name for file in run.iterdir()] == ["mine.txt"]
    assert not empty.exists()


def test_a_folder_is_claimed_by_one_command_at_a_time(tmp_path: Path) -> None:
    with Command.begin([]):
        claim(tmp_path / "run", typed=True)
        with pytest.raises(InUse, match="is being trained by another process"):
            claim(tmp_path / "run", typed=True)
    with Command.begin([]):
        claim(tmp_path / "run", typed=True)


@pytest.mark.parametrize(("is_sweep", "key"), [(False, "hydra.run.dir"), (True, "hydra.sweep.dir")])
def test_what_goes_on_needs_a_folder_that_stays(tmp_path: Path, is_sweep: bool, key: str) -> None:
    hold_run(tmp_path / "run" / ("0_seed-1" if is_sweep else ""), ".hydra/plan")
    with Command.begin([], continues=True):
        with pytest.raises(ConfigError, match=f"needs a folder that stays the same: add {key}="):
            claim(tmp_path / "run", typed=False, is_sweep=is_sweep)
        assert claim(tmp_path / "run", typed=True, is_sweep=is_sweep) == tmp_path / "run"


def test_hydras_files_of_a_run_stay(tmp_path: Path) -> None:
    assert hydra_folder(str(tmp_path)) == ".hydra"
    hold_run(tmp_path, ".hydra/plan")
    assert hydra_folder(str(tmp_path)) is None


def test_a_typed_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "deep"
    for _ in range(2):
        with Command.begin([]):
            assert claim(folder, typed=True) == folder
        (folder / "notes.txt").write_text("mine")
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
