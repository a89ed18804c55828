"""Functions on tensors, recorded once and repeated as a plain list of PyTorch's operations.

A repetition computes the same bits as the function, without the Python around its operations:
wrappers of members, named views of parameters, autograd. It needs no compiler, so that it suits
runs that are too short for machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dqn_cli.arrays import tensor
from dqn_cli.compiling.call_inputs import flatten, leaves, nest
from dqn_cli.compiling.operations import OperationRecorder, Program, build_program
from dqn_cli.compiling.readings import ReadingRecorder


class Recording:
    """Records each function when it is first called; a `Compiler`.

    Python code of the function runs in its first two calls only: the second one checks the
    recording. A function that looks at values of tensors, or whose repetition differs from itself,
    is `refused` and runs as it is.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []  # names of functions

    def __call__(
        self,
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        structure: str | None = None,
        example: object = None,
    ) -> Callable[..., Any]:
        """Return the function of the changing arguments."""
        return _Recorded(function, fixed, lambda: self.refused.append(function.__name__))


class _Recorded:
    def __init__(
        self, function: Callable[..., Any], fixed: tuple[Any, ...], refused: Callable[[], None]
    ) -> None:
        self._function, self._fixed, self._refused = function, fixed, refused
        self._inputs: list[Tensor] | None = None  # own memory of the changing arguments
        self._arguments: tuple[Any, ...] = ()  # the fixed ones and these, as tensors
        self._program: Program | None = None
        self._is_checked = False

    def __call__(self, *changing: Any) -> Any:
        if self._inputs is None:
            return self._record(changing)
        if self._program is None or not _take(changing, self._inputs):
            return self._function(*self._fixed, *changing)
        if self._is_checked:
            return self._program()
        return self._check(self._program)

    def _record(self, changing: tuple[Any, ...]) -> Any:
        """Call the function and make a program of its operations."""
        inputs = [tensor(value).clone() for value in leaves(changing)]
        places = [*flatten(self._fixed), *inputs]
        self._arguments = nest((*self._fixed, *changing), iter(places))
        with ReadingRecorder() as reading, OperationRecorder() as recorder:
            results = self._function(*self._arguments)
        self._inputs = inputs
        if not reading.functions:
            self._program = build_program(recorder.operations, places, flatten(results))
        if self._program is None:
            self._refused()
        return results

    def _check(self, program: Program) -> Any:
        """Call the function, and keep the program if it computes the same from new values."""
        before, random = _copies(program.changed), torch.get_rng_state()
        results = self._function(*self._arguments)
        after = _copies(program.changed)
        _load(program.changed, before)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(random)
                repeated = [*program(), *program.changed]
        except (RuntimeError, TypeError):  # a Python function of PyTorch takes other arguments
            repeated = []
        self._is_checked = _same_bits(repeated, [*flatten(results), *after])
        if not self._is_checked:
            self._program = None
            self._refused()
        _load(program.changed, after)
        return results


def _take(changing: tuple[Any, ...], inputs: list[Tensor]) -> bool:
    """Copy the arguments to the inputs; return false if types or shapes are others."""
    values = [tensor(value) for value in leaves(changing)]
    if [_kind(value) for value in values] != [_kind(value) for value in inputs]:
        return False
    _load(inputs, values)
    return True


def _kind(value: Tensor) -> tuple[torch.Size, torch.dtype]:
    return value.shape, value.dtype


def _copies(values: list[Tensor]) -> list[Tensor]:
    return [value.clone() for value in values]


def _load(tensors: list[Tensor], values: list[Tensor]) -> None:
    for own, value in zip(tensors, values, strict=True):
        own.copy_(value)


def _same_bits(left: list[Tensor], right: list[Tensor]) -> bool:
    """Return whether all tensors have equal types, shapes and values; NaN equals NaN."""
    return len(left) == len(right) and all(
        _kind(one) == _kind(other) and torch.equal(_bytes(one), _bytes(other))
        for one, other in zip(left, right, strict=True)
    )


def _bytes(values: Tensor) -> Tensor:
    return values.detach().contiguous().reshape(-1).view(torch.uint8)  # [bytes]
