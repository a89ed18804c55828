"""The benchmark for GPUs: a trial on the CPU, and what it makes of parts that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.training.settings import Settings

HEADS = {"scalar", "c51", "qr", "iqn", "fqf", "expectile", "ensemble", "mixture"}
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
Compose = Callable[..., Settings]


@pytest.fixture(autouse=True)
def with_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_a_trial_on_the_cpu_measures_every_part(tmp_path: Path) -> None:
    out = tmp_path / "new" / "gpu.json"
    words = ["--small", "--device", "cpu", f"out={out}"]
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert {name: part["error"] for name, part in report.items()} == dict.fromkeys(report)
    rows = {name: part["rows"] for name, part in report.items()}
    assert rows["machine"][0]["torch"] == torch.__version__
    assert [row["agrees"] for row in rows["agreement"]] == [True] * 2 * len(HEADS)
    assert {row["head"] for row in rows["agreement"]} == HEADS
    for row in rows["eager"] + rows["inductor"]:
        assert "error" not in row
        assert all(row[key] > 0 for key in ("acting", "updates", "learning", "both"))
    experiments = {row["experiment"].partition(",")[0] for row in rows["eager"]}
    assert experiments == {"nature_dqn", "rainbow_atari", "btr", "pqn_atari"}
    assert all(f"| {row['experiment']} | {row['mode']} |" in done.stdout for row in rows["eager"])


@pytest.mark.parametrize("name", ["nature_dqn", "rainbow_atari", "btr", "pqn_atari"])
def test_the_experiments_are_those_of_the_configuration(settings_of: Compose, name: str) -> None:
    from gpu_agents import EXPERIMENTS

    agent, replay, gamma, envs, train_every, updates = EXPERIMENTS[
        "pqn_atari, 128 games" if name == "pqn_atari" else name
    ]()
    settings = settings_of(f"+experiment={name}")
    for part in ("network", "head", "update", "optimizer"):
        assert getattr(agent, part) == getattr(settings, part)
    replay.capacity = settings.replay.capacity
    assert (replay, gamma, envs) == (settings.replay, settings.gamma, settings.env.num_envs)
    assert (train_every, updates) == (settings.train_every, settings.updates_per_train)


def test_a_part_that_fails_or_hangs_keeps_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu

    def hangs(device: str, small: bool) -> Iterator[dict[str, Any]]:
        yield {"number": 1}
        time.sleep(60)

    def fails(device: str, small: bool) -> Iterator[dict[str, Any]]:
        yield {"number": 2}
        raise ValueError("no such kernel\nat line 3")

    def dies(device: str, small: bool) -> Iterator[dict[str, Any]]:
        yield {"number": 3}
        os._exit(7)

    for part, error in ((hangs, "not done after 2 s"), (fails, "ValueError: no such kernel"),
                        (dies, "ended with exit code 7")):  # fmt: skip
        monkeypatch.setitem(gpu.PARTS, "own", (part, 2))
        made = gpu.run_part("own", "cpu", True, 2)
        assert made["error"] == error
        assert len(made["rows"]) == 1
    assert gpu.run_part("own", "cpu", True, 0)["error"] == "no time was left"


def test_a_report_of_failed_parts_has_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gpu

    def fails(device: str, small: bool) -> Iterator[dict[str, Any]]:
        raise RuntimeError("out of memory")
        yield {}

    for name, (_, seconds) in list(gpu.PARTS.items()):
        monkeypatch.setitem(gpu.PARTS, name, (fails, seconds))
    report = gpu.measure("cpu", True, tmp_path / "gpu.json")
    assert gpu.table(report).count("RuntimeError: out of memory") == len(gpu.PARTS)
    assert json.loads((tmp_path / "gpu.json").read_text()) == report


def test_numbers_that_json_lacks_are_text() -> None:
    from gpu import plain

    row = plain({"loss": float("nan"), "speed": 1234.567, "count": 12345})
    assert row == {"loss": "nan", "speed": 1235.0, "count": 12345}


def test_a_difference_of_one_gradient_is_no_agreement() -> None:
    from gpu_agreement import LIMITS, Outcome, compare

    expected = Outcome(*(torch.tensor([1.0, 2.0]) for _ in Outcome._fields))
    own = expected._replace(gradient=torch.tensor([1.0, 2.1]))
    differences = compare(expected, own)
    assert differences.pop("gradient") == pytest.approx(0.05)
    assert set(differences.values()) == {0.0}
    assert max(LIMITS.values()) < 0.05
    assert not compare(expected, expected._replace(loss=torch.tensor(np.nan)))["loss"] <= 1


def test_a_traced_update_learns_the_same() -> None:
    from gpu_agents import Player, nature_dqn, shrunk
    from gpu_compilers import Inductor

    players = [Player(shrunk(nature_dqn()), "cpu", each) for each in (None, Inductor("cpu", None))]
    for player in players:
        for _ in range(3):
            player.act_and_train()
    eager, traced = (player.learner.state.parameters for player in players)
    torch.testing.assert_close(traced, eager, rtol=1e-5, atol=1e-6)
    (start,) = [Player(shrunk(nature_dqn()), "cpu").learner.state.parameters]
    assert not torch.equal(traced, start)
