from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PRESETS

import dqn_cli
from dqn_cli.agent.agent import PARTS, Agent
from dqn_cli.compiling import cache_keys
from dqn_cli.compiling.cache_keys import describe_structure, hash_files, source_key
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.training.build_run import build_run
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Changed = Callable[[Any], Any]
ROOMS = ("agent", "replay", "training", "compiling", "envs")


@pytest.mark.parametrize("room", ROOMS)
def test_a_changed_line_of_ours_changes_the_key_of_source(tmp_path: Path, room: str) -> None:
    package = tmp_path / "dqn_cli"
    shutil.copytree(Path(dqn_cli.__file__).parent, package)
    before = key_in(tmp_path)
    for path in sorted((package / room).rglob("*.py"))[::5]:
        text = path.read_text()
        path.write_text(f"{text}\nCHANGED = 1\n")
        assert key_in(tmp_path) != before, path
        path.write_text(text)
    assert key_in(tmp_path) == before


def key_in(root: Path) -> str:
    files = sorted((root / "dqn_cli").rglob("*.py"))
    return hash_files(files, installed=[])


def test_all_of_our_source_is_in_the_key() -> None:
    ours = set(Path(dqn_cli.__file__).parent.rglob("*.py"))
    assert ours <= cache_keys.source_files()


CODE = """
import sys; sys.path.insert(0, {folder!r})
import torch, mine
from dqn_cli.compiling.cache_keys import source_key, source_is_known
print(source_key("", [], {{}}), source_is_known())
{after}
print(source_is_known())
"""


def seen_in_process(folder: Path, after: str) -> list[str]:
    for path in folder.iterdir():
        os.utime(path, times=(0, 0))  # long before the process begins
    words = [sys.executable, "-c", CODE.format(folder=str(folder), after=after)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def test_source_of_your_own_modules_is_in_the_key_and_that_of_later_ones_is_missed(
    tmp_path: Path,
) -> None:
    (tmp_path / "late.py").write_text("")
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "mine.py").write_text("import helper\n")

    key, *is_known = seen_in_process(tmp_path, "import late")
    assert is_known == ["True", "False"]
    assert seen_in_process(tmp_path, "") == [key, "True", "True"]
    (tmp_path / "helper.py").write_text("x = 2\n")
    assert seen_in_process(tmp_path, "")[0] != key


@pytest.mark.parametrize(
    "after", ["open({!r}, 'a').write('y = 1')", "__import__('os').remove({!r})"]
)
def test_source_that_changes_while_a_process_runs_is_not_what_it_runs(
    tmp_path: Path, after: str
) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    file = str(tmp_path / "mine.py")
    assert seen_in_process(tmp_path, after.format(file))[1:] == ["True", "False"]


def test_installed_files_are_known_by_size_and_time_of_change(tmp_path: Path) -> None:
    path = tmp_path / "library.py"
    path.write_text("x = 1")
    os.utime(path, ns=(0, 0))
    before = hash_files([path], installed=[path])
    path.write_text("x = 2")
    os.utime(path, ns=(0, 0))
    assert hash_files([path], installed=[path]) == before
    os.utime(path, ns=(0, 1))
    assert hash_files([path], installed=[path]) != before


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("torch.__version__", "9.9"),
        ("numpy.__version__", "9.9"),
        ("sys.version", "9.9"),
        ("platform.machine", lambda: "other"),
        ("torch.backends.cpu.get_cpu_capability", lambda: "other"),
        ("torch.get_num_threads", lambda: 99),
        ("dqn_cli.compiling.cache_keys.INSTRUCTIONS", ["other"]),
        ("dqn_cli.compiling.cache_keys.source_hash", lambda: "other"),
    ],
)
def test_another_library_machine_or_thread_count_has_another_key(
    monkeypatch: pytest.MonkeyPatch, target: str, value: Any
) -> None:
    before = source_key("structure", [], {})
    monkeypatch.setattr(target, value)
    assert source_key("structure", [], {}) != before


def test_another_structure_input_or_option_has_another_key() -> None:
    x = torch.zeros(2, 3)
    keys = [
        source_key("structure", [x], {}),
        source_key("other", [x], {}),
        source_key("structure", [x.double()], {}),
        source_key("structure", [x.view(3, 2)], {}),
        source_key("structure", [x, x], {}),
        source_key("structure", [x], {"option": True}),
    ]
    assert len(set(keys)) == len(keys)


def built(settings: list[Settings]) -> tuple[list[Agent], Sampler[Replay]]:
    agents, run = build_run(settings)
    run.envs.close()
    return agents, run.sampler


def other(value: Any) -> Any:
    """Another value of the same type; None if there is none to be found."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list) and value:
        return [*value, value[0]]
    return None


@pytest.mark.parametrize("preset", PRESETS)
def test_structure_has_every_setting_but_the_numbers_that_are_inputs(
    settings_of: Compose, preset: str
) -> None:
    (agent,), sampler = built([settings_of(f"agent={preset}")])
    before = describe_structure([agent], sampler)
    assert before is not None
    for name in PARTS:
        part = getattr(agent, name)
        for field in fields(part):
            value = other(getattr(part, field.name))
            if value is None:
                continue
            changed = shallow_change(part, field.name, value)
            after = describe_structure([replace(agent, **{name: changed})], sampler)
            assert (after == before) is (f"{name}.{field.name}" in agent.scalars), field.name
    assert describe_structure([agent, agent], sampler) != before


def shallow_change(part: Any, name: str, value: Any) -> Any:
    """The part with another value, which its own checks may not allow."""
    changed = object.__new__(type(part))
    changed.__dict__.update(part.__dict__ | {name: value})
    return changed


@pytest.mark.parametrize("words", [("gamma=0.5",), ("replay.n_step=2",), ("replay.batch_size=7",)])
def test_structure_has_what_a_sampler_depends_on(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    texts = [describe_structure(*built([settings_of(*more)])) for more in ((), words)]
    assert texts[0] != texts[1]
    assert describe_structure(*built([settings_of("seed=7")])) == texts[0]


def test_what_has_no_complete_text_has_no_structure(settings_of: Compose) -> None:
    (agent,), sampler = built([settings_of()])
    network = shallow_change(agent.network, "widths", [object()])
    assert describe_structure([replace(agent, network=network)], sampler) is None


def test_a_part_that_is_in_no_file_has_no_structure(settings_of: Compose) -> None:
    (agent,), sampler = built([settings_of()])
    own = type("Own", (type(agent.head),), {"__module__": "builtins"})
    head = own(**agent.head.__dict__)
    assert describe_structure([replace(agent, head=head)], sampler) is None


def test_a_module_of_ones_own_is_known_by_its_file(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "network=module", "network.path=own_networks:Small"
    (agent,), sampler = built([settings_of(*words)])
    before = describe_structure([agent], sampler)
    assert before is not None
    assert "own_networks:Small" in before
    monkeypatch.delattr(sys.modules["own_networks"], "__file__")
    assert describe_structure([agent], sampler) is None
