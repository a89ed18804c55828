from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.config import run_metadata


def test_overrides_environment_and_job_number_are_loaded(type_train: Callable[..., int]) -> None:
    words = ["steps=20", "+env.kwargs.sutton_barto_reward=true", "network.widths=[4,3]"]
    assert type_train("hydra.run.dir=run", "eval.episodes=1", *words) == 0
    run = Path("run")
    assert run_metadata.is_run(run)
    assert run_metadata.load_overrides(run) == ["eval.episodes=1", *words]
    assert run_metadata.overrides_by_key(run_metadata.load_overrides(run)) == {
        "eval.episodes": "1",
        "steps": "20",
        "env.kwargs.sutton_barto_reward": "true",
        "network.widths": "[4,3]",
    }
    assert run_metadata.load_env_id(run) == "CartPole-v1"
    assert run_metadata.load_job_number(run) == 0


def test_a_job_has_its_number_and_overrides_become_strings(tmp_path: Path) -> None:
    assert not run_metadata.is_run(tmp_path)
    folder = tmp_path / run_metadata.HYDRA_FOLDER
    folder.mkdir()
    (folder / "overrides.yaml").write_text("- seed=3\n- 7\n")
    (folder / "hydra.yaml").write_text("hydra: {job: {num: 12}}\n")
    assert run_metadata.is_run(tmp_path)
    assert run_metadata.load_overrides(tmp_path) == ["seed=3", "7"]
    assert run_metadata.load_job_number(tmp_path) == 12


@pytest.mark.parametrize(
    ("name", "number"), [("17_seed-1", 17), ("3", 3), ("run", 5), ("3rd", 5), ("_3", 5)]
)
def test_the_name_of_a_jobs_folder_begins_with_its_number(
    tmp_path: Path, name: str, number: int
) -> None:
    run = tmp_path / name
    (run / run_metadata.HYDRA_FOLDER).mkdir(parents=True)
    (run / run_metadata.HYDRA_FOLDER / "hydra.yaml").write_text("hydra: {job: {num: 5}}\n")
    assert run_metadata.load_job_number(run) == run_metadata.job_number(run, 5) == number


@pytest.mark.parametrize(
    ("name", "number"), [("12_seed-0", 12), ("3", 3), ("run", 0), ("x_4", 0), ("_5", 0)]
)
def test_a_job_is_ordered_by_its_number(name: str, number: int) -> None:
    assert run_metadata.job_number(Path("sweep") / name, 0) == number
