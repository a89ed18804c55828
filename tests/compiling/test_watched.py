from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.heads import Scalar
from dqn_cli.compiling.cache_keys import is_of_user
from dqn_cli.compiling.recording import Recording
from dqn_cli.compiling.watched import foreign_parts, python_state, watching

NEVER_CHANGED = """
SCALE, TABLE = 2.0, {"scale": [2.0]}
class Part:
    def scaled(self, x):
        return x * SCALE * TABLE["scale"][0] + (lambda: SCALE)()
"""
CHANGED = {
    "a counter of the object": "self.calls = getattr(self, 'calls', 0) + 1; many = self.calls > 4",
    "a counter of the class": "Part.calls += 1; many = Part.calls > 4",
    "a global counter": "global CALLS; CALLS += 1; many = CALLS > 4",
    "a list in a closure": "many = closure() > 4",
    "an iterator": "many = next(ITERATOR) > 4",
    "a random generator": "many = RANDOM.random() > 0.8",
    "an array": "ARRAY[:] += 1; many = ARRAY[0] > 4",
    "a tensor that is replaced": (
        "global MEAN; MEAN = MEAN + x.clamp(min=4) - 4; x = x + MEAN; many = False"
    ),
}
MODULE = """
import itertools, random
import numpy as np, torch
CALLS, ITERATOR, RANDOM = 0, itertools.count(), random.Random(0)
ARRAY, MEAN = np.zeros(1), torch.zeros(1)
def counting():
    calls = []
    def count():
        calls.append(0)
        return len(calls)
    return count
closure = counting()
class Part:
    calls = 0
    def scaled(self, x):
        BODY
        return x * 2 if many else x
"""


def own_module(folder: Path, name: str, text: str) -> Any:
    """A module of a user, imported from a file."""
    file = folder / f"{name}.py"
    file.write_text(text)
    module = ModuleType(name)
    module.__file__ = str(file)
    exec(compile(text, file, "exec"), vars(module))
    return module


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only modules of the test count as those of a user."""
    monkeypatch.setattr("dqn_cli.compiling.watched.is_of_user", lambda name: False)
    return monkeypatch


@pytest.mark.parametrize("body", CHANGED.values(), ids=CHANGED)
def test_a_part_that_changes_state_in_python_runs_as_python(
    body: str, tmp_path: Path, modules: pytest.MonkeyPatch
) -> None:
    results = []
    for is_recorded in (False, True):
        text = MODULE.replace("BODY", body.replace("; ", "\n        "))
        module = own_module(tmp_path, "counting_parts", text)
        modules.setitem(sys.modules, "counting_parts", module)
        part = module.Part()

        def function(x: Tensor, part: Any = part) -> tuple[Tensor]:
            return (part.scaled(x),)

        called = watching(Recording(), [part])(function, ()) if is_recorded else function
        results.append([called(torch.tensor([float(nth)]))[0].item() for nth in range(9)])
    assert results[0] == results[1]


def test_a_part_without_state_is_recorded_after_two_calls(
    tmp_path: Path, modules: pytest.MonkeyPatch
) -> None:
    module = own_module(tmp_path, "plain_parts", NEVER_CHANGED)
    modules.setitem(sys.modules, "plain_parts", module)
    part, calls = module.Part(), []

    def function(x: Tensor) -> tuple[Tensor]:
        calls.append(x)
        return (part.scaled(x),)

    called = watching(Recording(), [part])(function, ())
    results = [called(torch.tensor(float(nth)))[0].item() for nth in range(7)]
    assert results == [4 * nth + 2 for nth in range(7)]
    assert len(calls) == 4  # two of them to watch, two to record


def test_a_compiler_that_rounds_differently_is_asked_from_the_first_call_on(
    tmp_path: Path, modules: pytest.MonkeyPatch
) -> None:
    module = own_module(tmp_path, "plain_parts", NEVER_CHANGED)
    modules.setitem(sys.modules, "plain_parts", module)
    part, total, compiled = module.Part(), torch.zeros(1), []

    def compiler(function: Any, fixed: Any, *_: object) -> Any:
        def call(*changing: Any) -> Any:
            compiled.append(changing)
            return function(*fixed, *changing)

        return call

    def add(total: Tensor, x: Tensor) -> tuple[Tensor]:
        total.add_(part.scaled(x))
        return (total,)

    called = watching(compiler, [part])(add, (total,))
    assert called(torch.ones(1))[0].item() == 6
    assert len(compiled) == 1


def test_only_parts_of_others_are_foreign() -> None:
    class Own(Scalar):
        def q(self, z: Tensor) -> Tensor:
            return z.mean(-1)

    ours, own = Scalar(loss="huber"), Own(loss="huber")  # type: ignore[arg-type]
    assert foreign_parts([ours, own]) == [own]
    compiler = Recording()
    assert watching(compiler, [ours]) is compiler


def test_what_cannot_be_read_has_no_state_to_compare() -> None:
    assert python_state([iter(lambda: 0, 1)]) is None


ABSTRACT = """
from abc import ABC, abstractmethod

class Base(ABC):
    @abstractmethod
    def scaled(self, x): ...

class Part(Base):
    def scaled(self, x):
        return 3 * x
"""


def test_abstract_classes_are_read(tmp_path: Path, modules: pytest.MonkeyPatch) -> None:
    module = own_module(tmp_path, "abstract_parts", ABSTRACT)
    modules.setitem(sys.modules, "abstract_parts", module)
    before = python_state([module.Part()])
    assert before is not None
    module.Part.kept = 1
    assert python_state([module.Part()]) != before


@pytest.mark.parametrize("name", ["search", "population"])
def test_our_plugins_are_no_modules_of_a_user(name: str) -> None:
    importlib.import_module(f"hydra_plugins.dqn_train_{name}")
    assert not is_of_user(f"hydra_plugins.dqn_train_{name}")


def test_a_part_that_runs_as_python_is_named_once(
    tmp_path: Path, modules: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MODULE.replace("BODY", next(iter(CHANGED.values())).replace("; ", "\n        "))
    module = own_module(tmp_path, "told_parts", text)
    modules.setitem(sys.modules, "told_parts", module)
    part = module.Part()
    for _ in range(2):  # an update, and the choice of actions
        called = watching(Recording(), [part])(lambda x: (part.scaled(x),), ())
        for nth in range(4):
            called(torch.tensor([float(nth)]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: told_parts.Part can't be compiled")


CYCLE = """
class Base:
    def scaled(self, x):
        return 3 * x

class Part(Base):
    calls = 0
    def scaled(self, x):
        return super().scaled(x)
"""


def test_classes_that_hold_themselves_are_read(tmp_path: Path, modules: pytest.MonkeyPatch) -> None:
    module = own_module(tmp_path, "cyclic_parts", CYCLE)
    modules.setitem(sys.modules, "cyclic_parts", module)
    before = python_state([module.Part()])
    assert before is not None
    assert python_state([module.Part()]) == before
    module.Part.calls = 1
    assert python_state([module.Part()]) != before
