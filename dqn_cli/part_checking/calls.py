"""One method of a part on made-up inputs, called in every way in which a run calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqn_cli.compiling import graph_passes
from dqn_cli.compiling.recording import Recording
from dqn_cli.text import error_text, one_line

TOLERANCE = 1e-4  # relative and absolute, of results in float32
SMALLER = 0.9  # factor of the second member's numbers
BRANCHES = ("data-dependent control flow", ".item()", "nonzero", "GuardOnDataDependent")


class Expected(NamedTuple):
    """Shape of a result, where None is any length; `is_exact` results are always float64."""

    shape: tuple[int | None, ...]
    is_exact: bool = False


class Call(NamedTuple):
    """A call of a method: `run(part, *inputs)` returns a tensor, or a tuple of tensors or None."""

    name: str
    run: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    expected: tuple[Expected, ...]
    is_mapped: bool = True  # False if members call it in turn


def find_problems(part: Any, call: Call) -> Iterator[str]:
    """Yield what is wrong with a call in Python, in one line each."""
    yield from _first_problems(part, call, (_plain, _float64, _as_tensors, _side_by_side))


def find_compiling_problems(part: Any, calls: Sequence[Call]) -> Iterator[str]:
    """Yield what is wrong with calls, right in Python, where their operations are repeated."""
    for call in calls:
        yield from _first_problems(part, call, (_recorded, _traced))


def _first_problems(
    part: Any, call: Call, checks: Sequence[Callable[[Any, Call], Iterator[str]]]
) -> Iterator[str]:
    """Yield the problems of the first check that finds any."""
    for check in checks:
        problems = list(check(part, call))
        yield from problems
        if problems:
            return


def numbers_of(part: Any) -> dict[str, float]:
    """Return the decimal fields of a part, which may differ between members."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: value for name, value in values.items() if isinstance(value, float)}


def smaller(part: Any) -> Any:
    """Return the part with smaller numbers, or as it is where they are not allowed."""
    try:
        numbers = {name: SMALLER * value for name, value in numbers_of(part).items()}
        return replace(part, **numbers)
    except ValueError:
        return part


def _plain(part: Any, call: Call) -> Iterator[str]:
    given = _copies(call.inputs)
    try:
        result = call.run(part, *given)
    except Exception as error:  # the user's code may raise anything
        yield f"{call.name} raised {error_text(error)}"
        return
    for before, after in zip(call.inputs, given, strict=True):
        if not _same(before, after):
            yield f"{call.name} changes an input in place: compute a new tensor"
            return
    yield from _misfits(call, result, torch.float32)


def _float64(part: Any, call: Call) -> Iterator[str]:
    double = tuple(x.double() if x.is_floating_point() else x for x in call.inputs)
    try:
        result = call.run(part, *double)
    except Exception as error:  # the user's code may raise anything
        yield (
            f"{call.name} in float64 raised {error_text(error)}: new tensors need the dtype of its"
            " inputs, as x.new_zeros(...) gives them"
        )
        return
    yield from _misfits(call, result, torch.float64)


def _as_tensors(part: Any, call: Call) -> Iterator[str]:
    """Call with decimal fields as tensors of one number, as every run does."""
    try:
        result = _tensors_only(part, call)(*_number_tensors(part), *_copies(call.inputs))
    except Exception as error:  # the user's code may raise anything
        yield (
            f"{call.name} needs Python numbers, and {', '.join(numbers_of(part))} may arrive as"
            f" tensors of one number: it raised {error_text(error)}"
        )
        return
    if not _close(result, _kept(call.run(part, *_copies(call.inputs)))):
        yield f"{call.name} returns something else where its numbers are tensors"


def _side_by_side(part: Any, call: Call) -> Iterator[str]:
    """Call for two members at once, whose numbers differ."""
    if not call.is_mapped:
        return
    members = [part, smaller(part)]
    numbers = {name: [getattr(own, name) for own in members] for name in numbers_of(part)}
    stacked = {name: torch.tensor(own, dtype=torch.float64) for name, own in numbers.items()}

    def one_member(own: dict[str, Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
        return _kept(call.run(replace(part, **own), *inputs))

    try:
        inputs = [torch.stack([x, x]) for x in call.inputs]
        together = torch.func.vmap(one_member)(stacked, *inputs)
    except Exception as error:  # the user's code may raise anything
        yield _explained(call, error, "can't be mapped over members by torch.func.vmap")
        return
    for place, own in enumerate(members):
        alone = _kept(call.run(own, *_copies(call.inputs)))
        if not _close(tuple(x[place] for x in together), alone):
            yield f"{call.name} returns other values for members side by side than for each alone"
            return


def _recorded(part: Any, call: Call) -> Iterator[str]:
    """Call as runs too short for machine code do: operations are repeated, Python is not."""
    recording = Recording()
    repeated, numbers = recording(_tensors_only(part, call), ()), _number_tensors(part)
    for factor in (1.0, 0.5, 0.25):
        inputs = [x * factor if x.is_floating_point() else x for x in call.inputs]
        repeated(*numbers, *inputs)
    if recording.refused:
        yield (
            f"{call.name} looks at values of tensors or changes from call to call, so that its"
            " operations can't be repeated: use torch.where, clamp or a mask"
        )


def _traced(part: Any, call: Call) -> Iterator[str]:
    """Trace as the compiler does."""
    from torch.fx.experimental.proxy_tensor import make_fx

    trace = make_fx(_tensors_only(part, call), graph_passes.decompositions(), tracing_mode="fake")
    try:
        trace(*_number_tensors(part), *_copies(call.inputs))
    except Exception as error:  # the user's code may raise anything
        yield _explained(call, error, "can't be compiled")


def _explained(call: Call, error: Exception, otherwise: str) -> str:
    text = one_line(error)
    if any(word in text for word in BRANCHES):
        return (
            f"{call.name} looks at the value of a tensor (if, float(), max() of Python), which"
            " differs between members: use torch.where, clamp or a mask"
        )
    return f"{call.name} {otherwise}: {error_text(error)}"


def _misfits(call: Call, result: Any, dtype: torch.dtype) -> Iterator[str]:
    """Yield which result has another shape or precision than expected."""
    results = _as_tuple(result)
    if len(results) != len(call.expected):
        yield f"{call.name} returns {len(results)} results, and must return {len(call.expected)}"
        return
    for value, expected in zip(results, call.expected, strict=True):
        if value is None:
            continue
        if not isinstance(value, Tensor):
            yield f"{call.name} returns {type(value).__name__}, and must return a tensor"
            return
        right = torch.float64 if expected.is_exact else dtype
        lengths = zip(value.shape, expected.shape, strict=False)
        if value.dim() != len(expected.shape) or any(w not in (None, h) for h, w in lengths):
            want = str(list(expected.shape)).replace("None", "any")
            yield f"{call.name} returns shape {list(value.shape)}, and must return {want}"
        elif value.dtype != right:
            yield f"{call.name} returns {value.dtype}, and must return {right} here"
        elif not bool(torch.isfinite(value).all()):
            yield f"{call.name} returns NaN or infinity"


def _tensors_only(part: Any, call: Call) -> Callable[..., tuple[Tensor, ...]]:
    """Return the call as a function of the part's numbers, and its inputs."""
    names = [*numbers_of(part)]

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        numbers = dict(zip(names, tensors[: len(names)], strict=True))
        return _kept(call.run(replace(part, **numbers), *tensors[len(names) :]))

    return function


def _number_tensors(part: Any) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in numbers_of(part).values()]


def _kept(result: Any) -> tuple[Tensor, ...]:
    """Return the results that are not None."""
    return tuple(x for x in _as_tuple(result) if x is not None)


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)


def _copies(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [x.clone() for x in inputs]


def _same(left: Tensor, right: Tensor) -> bool:
    return torch.equal(left.nan_to_num(), right.nan_to_num())


def _close(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    """Return whether results have the same values, up to rounding."""
    return all(
        torch.allclose(one.double(), other.double(), TOLERANCE, TOLERANCE, equal_nan=True)
        for one, other in zip(left, right, strict=True)
    )
