from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from array_spaces import array_spaces

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.runs import startup
from dqn_cli.runs.checkpoints import expected_bytes
from dqn_cli.runs.job import Job
from dqn_cli.runs.session import Session
from dqn_cli.runs.startup import (
    check_stored_spaces,
    choose_threads,
    describe_run,
    has_bfloat16,
    make_compiler,
    settings_warnings,
    should_compile,
)
from dqn_cli.training import devices
from dqn_cli.training.settings import Device, Settings

Compose = Callable[..., Settings]
IMAGES = array_spaces((4, 84, 84), (0,), (255,), 3, frames=4)
VECTOR = array_spaces((4,), (-1,), (1,), 2)
SLOW = (
    "warning: this processor has no instructions for bfloat16 and is several times slower with it:"
    " network.bfloat16=false is faster"
)


@pytest.mark.parametrize(
    ("words", "device", "processor", "expected"),
    [
        (["network.bfloat16=true"], "cpu", {"architecture": "x86_64"}, [SLOW]),
        (["network.bfloat16=true"], "cpu", {"architecture": "x86_64", "amx_bf16": True}, []),
        (["network.bfloat16=true"], "cuda", {"architecture": "x86_64"}, []),
        ([], "cpu", {"architecture": "x86_64"}, []),
    ],
)
def test_bfloat16_on_a_processor_without_it_causes_a_warning(
    settings_of: Compose,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    device: str,
    processor: dict[str, object],
    expected: list[str],
) -> None:
    monkeypatch.setattr(startup, "CAPABILITIES", processor)
    assert (
        list(settings_warnings(settings_of("network=nature", *words), IMAGES, device)) == expected
    )


def test_bfloat16_support_follows_from_a_processors_capabilities() -> None:
    assert not has_bfloat16({"architecture": "x86_64", "avx512_bf16": False, "avx512_f": True})
    assert has_bfloat16({"architecture": "x86_64", "avx512_bf16": True})
    assert has_bfloat16({"architecture": "aarch64"})
    assert has_bfloat16({})


def test_a_run_that_never_learns_causes_a_warning(settings_of: Compose) -> None:
    (warning,) = settings_warnings(settings_of("steps=100", "learning_starts=100"), VECTOR, "cpu")
    assert warning == "warning: nothing will be learned: learning_starts=100 is not below steps=100"


def test_many_actions_cause_a_warning(settings_of: Compose) -> None:
    many = VECTOR._replace(actions=1_001)
    (warning,) = settings_warnings(settings_of(), many, "cpu")
    assert "1,001 actions" in warning
    assert list(settings_warnings(settings_of(), VECTOR._replace(actions=1_000), "cpu")) == []


@pytest.mark.parametrize(
    ("in_group", "who", "where"), [(False, "seed 7", "sweep/first"), (True, "2 members", "sweep")]
)
def test_the_summary_describes_a_run_or_a_group(
    settings_of: Compose, tmp_path: Path, in_group: bool, who: str, where: str
) -> None:
    settings = settings_of("steps=1500", "seed=7", "network.widths=[8]", "replay.capacity=2000")
    folders = [tmp_path / "sweep" / name for name in ("first", "second")][: 1 + in_group]
    for folder in folders:
        folder.mkdir(parents=True)
    session = Session([Job(settings, folder, []) for folder in folders])
    session.run.envs.close()
    line = describe_run(session.recorders[0].job, session.run, in_group)
    start = (
        "CartPole-v1: training, 1,500 steps, tuned=CartPole-v1/any, 58 parameters,"
        f" {who}; replay takes "
    )
    assert line.startswith(start)
    assert line.endswith(f" MB in {tmp_path / where}")
    sizes = line.removeprefix(start).split(" MB")
    memory = session.run.stream.nbytes + session.run.sampler.nbytes
    assert float(sizes[0]) == pytest.approx(memory / 1e6, abs=0.05)
    disk = expected_bytes(settings, session.run) * len(folders)
    assert float(sizes[1].split()[-1]) == pytest.approx(disk / 1e6, abs=0.05)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_resumed_run_is_compiled_if_it_was_before_and_the_device_allows(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    monkeypatch.setitem(devices.AVAILABLE, Device.cuda, lambda: True)
    resumed = [{"compiled": compiled}]
    assert should_compile(settings_of("compile=true"), 1, [])
    assert should_compile(settings_of("compile=true"), 1, resumed) is compiled
    assert not should_compile(settings_of("device=cuda"), 1, resumed)


def test_a_resumed_run_keeps_its_threads_unless_they_are_set(settings_of: Compose) -> None:
    assert choose_threads(settings_of(), 4, []) == 1
    assert choose_threads(settings_of(), 4, [{"threads": 3}]) == 3
    assert choose_threads(settings_of("threads=2"), 4, [{"threads": 3}]) == 2


def test_arguments_of_evaluations_are_checked_before_training(
    settings_of: Compose, tmp_path: Path
) -> None:
    words = ("network.widths=[8]", "+eval.env.kwargs.unknown=1")
    with pytest.raises(EnvironmentFailure, match=r"^env=CartPole-v1: .*argument 'unknown'"):
        Session([Job(settings_of(*words), tmp_path, [])])
    assert not (tmp_path / "result.json").exists()
    assert Session([Job(settings_of(*words, "eval.every=null"), tmp_path, [])]).run


@pytest.mark.parametrize(("shape", "fits"), [((4,), True), ((9_000, 9_000), False)])
def test_spaces_that_no_checkpoint_holds_are_refused_before_training(
    settings_of: Compose, shape: tuple[int, ...], fits: bool
) -> None:
    own = {"type": "Dict", "parts": {1: {"type": "Box", "shape": list(shape), "dtype": "uint8"}}}
    action = {"type": "Discrete", "n": 2, "start": 2**60}
    spaces = VECTOR._replace(own_observations=own, own_actions=action)
    run: Any = SimpleNamespace(envs=SimpleNamespace(spaces=spaces))
    if fits:
        check_stored_spaces(settings_of(), run)
    else:
        with pytest.raises(EnvironmentFailure, match=r"can't hold its spaces: .*1.shape has 81000"):
            check_stored_spaces(settings_of(), run)


@pytest.mark.parametrize(
    ("cores", "parent", "both"), [(2, None, True), (1, None, False), (2, "a sweep", False)]
)
def test_a_lone_run_compiles_on_a_second_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, parent: str | None, both: bool
) -> None:
    stopped: list[bool] = []
    background = SimpleNamespace(stop=lambda: stopped.append(True))
    monkeypatch.setattr(startup, "Background", lambda: background)
    monkeypatch.setattr(startup, "available_cores", lambda: cores)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
    make_compiler().close()
    assert bool(stopped) is both
